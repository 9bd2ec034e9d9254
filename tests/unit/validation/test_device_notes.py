"""Devices with several cores are noted when each rank requests a whole one."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.specs import spec
from vllm_operator.validation.checks import spec_warnings
from vllm_operator.validation.device_notes import device_warnings


def notes(name: str, ranks: int = 2, **fields: Any) -> tuple[str, ...]:
    accelerator = {"resourceName": name, **fields}
    return device_warnings(spec(accelerator=accelerator, engine={"tensorParallelSize": ranks}))


@pytest.mark.parametrize("name", ["aws.amazon.com/neuron", "furiosa.ai/rngd", "gpu.intel.com/xe"])
def test_device_with_several_cores_is_noted_by_name(name: str) -> None:
    (note,) = notes(name)

    assert note.startswith(f"spec.accelerator.count: each replica requests 2 of {name}")
    assert "set accelerator.count" in note


def test_cores_one_rank_and_a_set_count_are_not_noted() -> None:
    assert notes("aws.amazon.com/neuroncore") == notes("nvidia.com/gpu") == ()
    assert notes("aws.amazon.com/neuron", ranks=1) == ()
    assert notes("aws.amazon.com/neuron", count=1) == ()


def test_note_is_one_of_the_warnings_of_a_spec() -> None:
    fields = {"accelerator": {"resourceName": "aws.amazon.com/neuron"}, "engine": {"tensorParallelSize": 2}}

    assert any("several cores" in note for note in spec_warnings(spec(**fields)))
