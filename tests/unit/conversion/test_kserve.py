from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.unit.conversion.samples import KSERVE
from vllm_operator.conversion.kserve import convert_inference_service
from vllm_operator.conversion.result import Conversion


def converted(**spec: Any) -> Conversion:
    body = yaml.safe_load(KSERVE)
    body["spec"] |= spec
    return convert_inference_service(body)


def test_an_inference_service() -> None:
    conversion = converted()
    assert conversion.server
    spec = conversion.server["spec"]
    assert conversion.server["metadata"] == {"name": "qwen", "namespace": "llm"}
    assert spec["model"] == {
        "servedNames": ["Qwen/Qwen3-8B"],
        "tokenSecretRef": {"name": "hf", "key": "HF_TOKEN"},
        "uri": "hf://Qwen/Qwen3-8B",
    }
    assert spec["engine"] == {
        "enableAutoToolChoice": True,
        "toolCallParser": "hermes",
        "extraArgs": ['--hf-overrides={"a": 1}'],
        "tensorParallelSize": 2,
    }
    assert "accelerator" not in spec
    assert spec["replicas"] == 2
    assert {"spec.router", "spec.baseRefs", "spec.template"} <= {item.field for item in conversion.unconverted}


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"worker": {"containers": []}}, "spec.worker"),
        ({"prefill": {"replicas": 1}}, "spec.prefill"),
        ({"model": {"name": "x"}}, "spec.model.uri"),
    ],
)
def test_several_nodes_and_roles_have_no_server(spec: dict, field: str) -> None:
    conversion = converted(**spec)
    assert conversion.server is None
    assert [item.field for item in conversion.unconverted] == [field]


def test_adapters_scaling_and_experts() -> None:
    lora = {"adapters": [{"name": "a", "uri": "hf://org/a"}, {"name": "b", "uri": "s3://b/a"}]}
    conversion = converted(
        model={"uri": "hf://org/m", "lora": lora, "criticality": "High"},
        parallelism={"data": 2, "expert": True, "dataLocal": 2},
        scaling={"minReplicas": 0, "maxReplicas": 3},
    )
    assert conversion.server
    spec = conversion.server["spec"]
    assert spec["engine"]["extraArgs"][-4:] == [
        "--enable-expert-parallel",
        "--enable-lora",
        "--lora-modules",
        "a=org/a",
    ]
    assert spec["autoscaling"] == {"minReplicas": 1, "maxReplicas": 3}
    lost = {item.field for item in conversion.unconverted}
    assert {"spec.parallelism.dataLocal", "spec.model.lora", "spec.model.criticality", "spec.scaling"} <= lost


def test_unclosed_quotes_are_named() -> None:
    body = yaml.safe_load(KSERVE.replace("--hf-overrides '{\"a\": 1}'", "--hf-overrides 'x"))
    lost = {item.field for item in convert_inference_service(body).unconverted}
    assert "variable VLLM_ADDITIONAL_ARGS" in lost
