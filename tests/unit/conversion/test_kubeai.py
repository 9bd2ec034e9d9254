from __future__ import annotations

from typing import Any

import yaml

from tests.unit.conversion.samples import KUBEAI
from vllm_operator.conversion.kubeai import convert_model_resource


def converted(**spec: Any) -> tuple[dict[str, Any], dict[str, str]]:
    body = yaml.safe_load(KUBEAI)
    body["spec"] = {key: value for key, value in {**body["spec"], **spec}.items() if value is not None}
    conversion = convert_model_resource(body)
    assert conversion.server
    return conversion.server["spec"], {item.field: item.message for item in conversion.unconverted}


def test_a_model() -> None:
    spec, lost = converted()
    assert spec["model"] == {"servedNames": ["llama-3.1-8b"], "uri": "hf://meta-llama/Llama-3.1-8B-Instruct"}
    assert spec["accelerator"] == {"count": 2}
    assert spec["engine"]["extraArgs"] == ["--enable-lora", "--lora-modules", "colorist=org/colorist"]
    assert spec["engine"]["env"] == [{"name": "VLLM_USE_V1", "value": "1"}]
    assert spec["autoscaling"] == {"minReplicas": 1, "maxReplicas": 4, "targetRunningRequests": 63}
    assert {
        "argument --disable-log-requests",
        "argument --num-scheduler-steps",
        "metadata.name",
        "spec.adapters",
        "spec.cacheProfile",
        "spec.minReplicas",
        "spec.resourceProfile",
        "spec.targetRequests",
    } == lost.keys()


def test_profiles_name_the_devices() -> None:
    assert converted(resourceProfile="amd-gpu-mi300x:8", args=["-tp=8"])[0]["accelerator"] == {
        "resourceName": "amd.com/gpu"
    }
    cpu, _ = converted(resourceProfile="cpu:2", args=[])
    assert cpu["accelerator"] == {"resourceName": ""}
    assert cpu["resources"] == {"requests": {"cpu": "2", "memory": "4Gi"}}
    assert "cpu" in cpu["image"]
    _, lost = converted(resourceProfile="own:1")
    assert "own is no profile of KubeAI's chart" in lost["spec.resourceProfile"]


def test_replicas_without_an_upper_bound_do_not_scale() -> None:
    spec, lost = converted(maxReplicas=None, minReplicas=3)
    assert spec["replicas"] == 3
    assert "autoscaling" not in spec
    assert "spec.maxReplicas" in lost
    assert converted(autoscalingDisabled=True, replicas=2)[0]["replicas"] == 2


def test_other_engines_stay_with_kubeai() -> None:
    body = yaml.safe_load(KUBEAI.replace("engine: VLLM", "engine: OLlama"))
    conversion = convert_model_resource(body)
    assert conversion.server is None
    assert str(conversion.unconverted[0]) == "spec.engine: OLlama is not vLLM: keep it with KubeAI"


def test_unknown_fields_are_named() -> None:
    _, lost = converted(files=[{"path": "/a", "content": "b"}], novelty=1, loadBalancing={"strategy": "PrefixHash"})
    assert {"spec.files", "spec.novelty", "spec.loadBalancing"} <= lost.keys()
