from __future__ import annotations

import pytest

from vllm_operator.conversion.devices import convert_resources, device_of
from vllm_operator.conversion.result import Draft


@pytest.mark.parametrize(
    ("resources", "engine", "expected"),
    [
        ({}, {}, {"accelerator": {"resourceName": ""}}),
        ({"limits": {"nvidia.com/gpu": 1}}, {}, {}),
        ({"limits": {"nvidia.com/gpu": "4"}}, {"tensorParallelSize": 4}, {}),
        ({"limits": {"nvidia.com/gpu": "4"}}, {}, {"accelerator": {"count": 4}}),
        ({"requests": {"amd.com/gpu": 1}}, {}, {"accelerator": {"resourceName": "amd.com/gpu"}}),
        (
            {"limits": {"nvidia.com/mig-1g.10gb": 1, "cpu": 4}},
            {},
            {"accelerator": {"resourceName": "nvidia.com/mig-1g.10gb"}, "resources": {"limits": {"cpu": 4}}},
        ),
        (
            {"limits": {"nvidia.com/gpu": 0, "memory": "1Gi"}},
            {},
            {"accelerator": {"resourceName": ""}, "resources": {"limits": {"nvidia.com/gpu": 0, "memory": "1Gi"}}},
        ),
    ],
)
def test_devices_and_other_resources(resources: dict, engine: dict, expected: dict) -> None:
    draft = Draft({"engine": engine} if engine else {})
    convert_resources(resources, draft)
    assert draft.spec == {**({"engine": engine} if engine else {}), **expected}


def test_shares_of_a_gpu_are_no_devices() -> None:
    assert device_of({"nvidia.com/gpumem": 3000, "nvidia.com/gpu": 1}) == "nvidia.com/gpu"


def test_amounts_with_a_fraction_are_texts_and_devices_are_whole() -> None:
    draft = Draft()
    convert_resources({"requests": {"cpu": 1.5, "memory": "1Gi", "nvidia.com/gpu": 0.5}}, draft)
    assert draft.spec["resources"] == {"requests": {"cpu": "1.5", "memory": "1Gi"}}
    assert "accelerator" not in draft.spec
    assert [item.message for item in draft.lost] == ["Kubernetes gives whole devices only: 0.5 becomes 1"]
