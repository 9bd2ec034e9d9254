from __future__ import annotations

from typing import Any

import yaml

from tests.unit.conversion.samples import PRODUCTION_STACK
from vllm_operator.conversion.production_stack import convert_values


def converted(**model: Any) -> tuple[dict[str, Any], dict[str, str]]:
    values = yaml.safe_load(PRODUCTION_STACK)
    values["servingEngineSpec"]["modelSpec"][0] |= model
    conversion = convert_values(values)[0]
    assert conversion.server
    return conversion.server["spec"], {item.field: item.message for item in conversion.unconverted}


def test_a_model() -> None:
    spec, lost = converted()
    assert spec["model"] == {
        "servedNames": ["meta-llama/Llama-3.1-8B-Instruct"],
        "uri": "hf://meta-llama/Llama-3.1-8B-Instruct",
        "revision": "main",
    }
    assert spec["engine"] | {"env": None} == {
        "env": None,
        "enablePrefixCaching": True,
        "enableChunkedPrefill": False,
        "maxModelLen": 4096,
        "tensorParallelSize": 2,
        "gpuMemoryUtilization": 0.8,
        "extraArgs": ['--kv-transfer-config={"kv_connector":"LMCacheConnectorV1","kv_role":"kv_both"}'],
    }
    assert {"name": "LMCACHE_MAX_LOCAL_CPU_SIZE", "value": "20"} in spec["engine"]["env"]
    assert spec["security"]["apiKeySecretRef"] == {"name": "keys", "key": "vllm"}
    assert spec["cache"] == {"size": "50Gi", "accessModes": ["ReadWriteMany"]}
    assert spec["sharedMemory"] == "20Gi"
    assert spec["resources"] == {"requests": {"cpu": 10, "memory": "16Gi"}}
    assert spec["health"] == {"startupTimeoutSeconds": 615}
    assert spec["scheduling"]["tolerations"] == [{"key": "gpu", "operator": "Exists"}]
    assert "accelerator" not in spec
    assert "routerSpec" in lost


def test_a_token_in_the_values_is_not_copied() -> None:
    spec, lost = converted()
    assert "hf_secret" not in str(spec) + str(lost)
    assert "hf_token" in lost


def test_models_that_are_off_or_on_several_nodes_have_a_reason() -> None:
    _, off, ray = convert_values(yaml.safe_load(PRODUCTION_STACK))
    assert (off.server, ray.server) == (None, None)
    assert str(off.unconverted[0]) == "enabled: the values turn it off"
    assert ray.unconverted[0].field == "raySpec"


def test_keda_becomes_autoscaling() -> None:
    spec, lost = converted(keda={"enabled": True, "minReplicaCount": 0, "maxReplicaCount": 3})
    assert spec["autoscaling"] == {"minReplicas": 1, "maxReplicas": 3}
    assert {"keda.minReplicaCount", "keda.triggers"} <= lost.keys()


def test_init_containers_tolerations_and_unknown_keys() -> None:
    spec, lost = converted(
        initContainer={"name": "i", "image": "busybox", "mountPvcStorage": True},
        tolerations=[{"key": "own"}],
        tolerationsPolicy="override",
        requestGPUMem="3000",
        vllmConfig={"v0": "1", "newKey": 1},
    )
    assert spec["podTemplate"]["spec"]["initContainers"] == [{"name": "i", "image": "busybox"}]
    assert spec["scheduling"]["tolerations"] == [{"key": "own"}]
    assert {"modelSpec.requestGPUMem", "vllmConfig.v0", "vllmConfig.newKey"} <= lost.keys()


def test_values_without_a_model_say_so() -> None:
    (conversion,) = convert_values({"servingEngineSpec": {"enableEngine": False}})
    assert str(conversion.unconverted[0]) == "servingEngineSpec.modelSpec: the values deploy no model"
