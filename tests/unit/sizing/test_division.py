from __future__ import annotations

import pytest

from vllm_operator.sizing.division import Division


@pytest.mark.parametrize(
    ("layers", "stages", "sizes"),
    [(80, 4, [20, 20, 20, 20]), (61, 4, [15, 15, 16, 15]), (61, 2, [31, 30]), (62, 4, [15, 16, 16, 15]), (5, 1, [5])],
)
def test_left_over_layers_go_to_stages_before_the_last(layers: int, stages: int, sizes: list[int]) -> None:
    parts = Division(pipeline=stages).stages(layers)
    assert [len(part) for part in parts] == sizes
    assert [index for part in parts for index in part] == list(range(layers))


def test_expert_parallelism_distributes_whole_experts_over_all_engines() -> None:
    division = Division(tensor=4, data=2, experts=True)
    assert (division.gpus, division.expert_ranks, division.expert_tensor) == (8, 8, 1)


def test_without_it_each_expert_is_divided() -> None:
    division = Division(tensor=4, data=2)
    assert (division.expert_ranks, division.expert_tensor) == (1, 4)
