"""The devices, node selector and tolerations of a replica."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.specs import container, pod_template

VENDORS = [
    ("nvidia.com/gpu", "nvidia.com/gpu.product"),
    ("amd.com/gpu", "amd.com/gpu.product-name"),
    ("google.com/tpu", "cloud.google.com/gke-tpu-accelerator"),
    ("gpu.intel.com/i915", "gpu.intel.com/product"),
    ("gpu.intel.com/xe", "gpu.intel.com/product"),
    ("nvidia.com/mig-1g.10gb", "nvidia.com/gpu.product"),
    ("habana.ai/gaudi", "habana.ai/gpu.product"),
]


@pytest.mark.parametrize(("resource", "label"), VENDORS)
def test_vendors_device_is_asked_for_selected_and_tolerated(resource: str, label: str) -> None:
    fields = {"accelerator": {"resourceName": resource, "product": "X1"}}

    assert container(**fields)["resources"] == {"limits": {resource: 1}, "requests": {resource: 1}}
    template = pod_template(**fields)["spec"]
    assert template["nodeSelector"] == {label: "X1"}
    assert {"key": resource, "operator": "Exists", "effect": "NoSchedule"} in template["tolerations"]


def test_slices_of_a_gpu_stand_behind_the_taint_of_the_whole() -> None:
    template = pod_template(accelerator={"resourceName": "nvidia.com/mig-1g.10gb"})["spec"]

    assert [item["key"] for item in template["tolerations"]] == ["nvidia.com/mig-1g.10gb", "nvidia.com/gpu"]


COUNTS: list[tuple[str, dict[str, Any], int]] = [
    ("one by default", {}, 1),
    ("one for every rank", {"engine": {"tensorParallelSize": 4, "pipelineParallelSize": 2}}, 8),
    ("copies of the engine too", {"engine": {"tensorParallelSize": 2, "dataParallelSize": 3}}, 6),
    ("ranks from plain arguments", {"engine": {"extraArgs": ["-tp", "4", "--pipeline_parallel_size=2"]}}, 8),
    ("the count wins", {"accelerator": {"count": 8}, "engine": {"tensorParallelSize": 2}}, 8),
    ("the user's limit wins", {"resources": {"limits": {"nvidia.com/gpu": 3}}}, 3),
    ("the user's request wins", {"resources": {"requests": {"nvidia.com/gpu": 3}}}, 3),
]


@pytest.mark.parametrize(("fields", "count"), [row[1:] for row in COUNTS], ids=[row[0] for row in COUNTS])
def test_number_of_devices(fields: dict[str, Any], count: int) -> None:
    found = container(**fields)["resources"]

    assert found["limits"]["nvidia.com/gpu"] == found["requests"]["nvidia.com/gpu"] == count


@pytest.mark.parametrize("accelerator", [{"resourceName": ""}, {"count": 0}])
def test_without_devices_nothing_is_asked_for(accelerator: dict[str, Any]) -> None:
    assert container(accelerator=accelerator).get("resources", {}) == {}
    assert "tolerations" not in pod_template(accelerator=accelerator)["spec"]


def test_other_resources_stay_the_users() -> None:
    found = container(resources={"limits": {"memory": "32Gi"}, "requests": {"cpu": 2}})["resources"]

    assert found["limits"] == {"memory": "32Gi", "nvidia.com/gpu": 1}
    assert found["requests"] == {"cpu": 2, "nvidia.com/gpu": 1}


def test_users_node_selector_wins_over_the_product() -> None:
    fields = {
        "accelerator": {"product": "X1"},
        "scheduling": {"nodeSelector": {"nvidia.com/gpu.product": "X2", "pool": "a"}},
    }

    assert pod_template(**fields)["spec"]["nodeSelector"] == {"nvidia.com/gpu.product": "X2", "pool": "a"}


def test_toleration_that_the_user_repeats_stands_once() -> None:
    same = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    other = {"key": "team", "operator": "Equal", "value": "ml"}

    found = pod_template(scheduling={"tolerations": [same, other]})["spec"]["tolerations"]

    assert found == [same, other]
