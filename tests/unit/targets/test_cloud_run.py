from __future__ import annotations

import pytest

from tests.helpers.cloud_schemas import google_errors
from tests.helpers.target_files import HARD, L4, lost, object_of, render
from vllm_operator.targets.target import TargetError

GPU = {"accelerator": {"product": L4}}
CASES = {
    "gpu": GPU,
    "rtx": {"accelerator": {"product": "NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition"}},
    "cpu": HARD["cpu"],
    "scaled": {**GPU, "autoscaling": {"minReplicas": 2, "maxReplicas": 6, "targetRunningRequests": 80}},
    "quotes": {**GPU, **HARD["quotes"]},
    "secrets": {**GPU, **HARD["secrets"]},
    "command": {**GPU, "engine": {"command": ["vllm", "serve"]}, "metadata": {"labels": {"team": "a"}}},
}


@pytest.mark.parametrize("fields", CASES.values(), ids=CASES)
def test_googles_discovery_document_has_the_service(fields: dict) -> None:
    service = object_of(render("cloud-run", **fields), "service.yaml")
    assert google_errors("run.v1", "Service", service) == []


def test_a_wrong_field_would_be_found() -> None:
    service = object_of(render("cloud-run", **GPU), "service.yaml")
    service["spec"]["template"]["spec"]["hostNetwork"] = True
    assert google_errors("run.v1", "Service", service) == ["Service.spec.template.spec.hostNetwork: unknown field"]


def test_an_instance_has_one_l4_and_what_cloud_run_asks_for_it() -> None:
    spec = object_of(render("cloud-run", **GPU), "service.yaml")["spec"]["template"]["spec"]
    assert spec["nodeSelector"] == {"run.googleapis.com/accelerator": "nvidia-l4"}
    assert spec["containers"][0]["resources"]["limits"] == {"cpu": "8", "memory": "32Gi", "nvidia.com/gpu": "1"}


def test_a_start_is_bounded_by_cloud_run() -> None:
    result = render("cloud-run", **GPU, health={"startupTimeoutSeconds": 7200})
    probe = object_of(result, "service.yaml")["spec"]["template"]["spec"]["containers"][0]["startupProbe"]
    assert probe["failureThreshold"] * probe["periodSeconds"] == 1800
    assert "Cloud Run waits 1800 s" in lost(result)["spec.health.startupTimeoutSeconds"]


def test_autoscaling_is_by_requests_per_instance_and_that_is_said() -> None:
    result = render("cloud-run", **CASES["scaled"])
    template = object_of(result, "service.yaml")["spec"]["template"]
    assert template["metadata"]["annotations"]["autoscaling.knative.dev/maxScale"] == "6"
    assert template["spec"]["containerConcurrency"] == 80
    assert "not by vLLM's running requests or its KV cache" in lost(result)["spec.autoscaling"]


def test_secrets_are_references() -> None:
    env = object_of(render("cloud-run", **CASES["secrets"]), "service.yaml")["spec"]["template"]["spec"]["containers"][
        0
    ]["env"]
    found = {item["name"]: item["valueFrom"]["secretKeyRef"] for item in env if "valueFrom" in item}
    assert found["VLLM_API_KEY"] == {"name": "keys-llm", "key": "latest"}


def test_a_claim_needs_a_bucket() -> None:
    with pytest.raises(TargetError, match="--set model-bucket"):
        render("cloud-run", **GPU, model={"uri": "pvc://models/llama"})
    result = render("cloud-run", **GPU, model={"uri": "pvc://models/llama"}, settings={"model-bucket": "weights"})
    service = object_of(result, "service.yaml")
    assert google_errors("run.v1", "Service", service) == []
    volume = service["spec"]["template"]["spec"]["volumes"][-1]
    assert volume["csi"]["volumeAttributes"] == {"bucketName": "weights"}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"accelerator": {"product": "NVIDIA-H200"}}, "Cloud Run has no H200"),
        (
            {**GPU, "engine": {"tensorParallelSize": 2}},
            "an instance of Cloud Run has one GPU, and a replica asks for 2",
        ),
    ],
)
def test_what_cloud_run_does_not_have_is_refused(fields: dict, words: str) -> None:
    with pytest.raises(TargetError, match=words):
        render("cloud-run", **fields)
