from __future__ import annotations

import pytest

from tests.helpers.sizing import model, options
from vllm_operator.sizing.engine import Batch
from vllm_operator.sizing.gpus import cpu_device, find_device
from vllm_operator.sizing.overheads import cuda_graphs, graph_count, non_torch
from vllm_operator.sizing.units import GIB


@pytest.mark.parametrize(
    ("gpu", "vllm", "tp", "gib"),
    [
        ("H100", "0.10.2", 1, 0.07),
        ("H200", "0.10.2", 2, 1.38),
        ("L40S", "0.10.2", 8, 0.21),
        ("RTX-PRO-6000", "0.26.0", 1, 0.26),
        ("H100", "0.11.0", 1, 0.13),
        ("H100", "0.11.0", 2, 0.54),
        ("H100", "0.17.0", 1, 0.13),
        ("H100", "0.19.0", 1, 0.25),
        ("H100", "0.19.0", 2, 2.07),
        ("H100", "0.19.0", 4, 2.17),
        ("GB200", "0.28.0", 4, 0.95),
    ],
)
def test_non_torch_memory_is_near_the_log(gpu: str, vllm: str, tp: int, gib: float) -> None:
    assert non_torch(options(vllm, tp), find_device(gpu)) / GIB == pytest.approx(gib, abs=0.05)


def test_cpu_has_none() -> None:
    assert non_torch(options(), cpu_device(4)) == 0


@pytest.mark.parametrize(
    ("batch", "graphs"),
    [(Batch(8192, 1024), 51 + 51), (Batch(2048, 256), 51 + 35), (Batch(2048, 32), 11 + 7), (Batch(2048, 2), 3 + 2)],
)
def test_number_of_graphs_is_that_of_the_log(batch: Batch, graphs: int) -> None:
    # "Profiling CUDA graph memory: PIECEWISE=51 (largest=512), FULL=35 (largest=256)", and so on.
    assert graph_count(batch) == graphs


def test_eager_mode_has_no_graphs() -> None:
    assert cuda_graphs(model("Qwen3-8B"), Batch(2048, 256), options(enforce_eager=True), False) == 0


def test_graphs_are_near_the_log() -> None:
    hybrid = cuda_graphs(model("Qwen3.5-27B"), Batch(2048, 256), options("0.26.0"), False)
    assert hybrid / GIB == pytest.approx(1.11, abs=0.05)


def test_stages_capture_their_own_layers() -> None:
    one = cuda_graphs(model("Qwen3-32B"), Batch(2048, 256), options("0.26.0"), False)
    two = cuda_graphs(model("Qwen3-32B"), Batch(2048, 256), options("0.26.0", pp=2), False)
    assert two < 0.6 * one


def test_inner_stages_load_no_kernels_for_sampling() -> None:
    assert non_torch(options("0.19.0", pp=2), find_device("H100"), is_last_stage=False) / GIB == pytest.approx(0.07)


@pytest.mark.parametrize(
    ("gpu", "more"), [("A100", {}), ("H100", {"enforce_eager": True}), ("MI300X", {}), ("H100", {"pp": 2})]
)
def test_all_reduce_is_fused_on_hopper_with_graphs_only(gpu: str, more: dict[str, int]) -> None:
    assert non_torch(options("0.19.0", 2, **more), find_device(gpu)) < 1 * GIB
