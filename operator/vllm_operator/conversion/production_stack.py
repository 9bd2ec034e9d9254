"""Convert the values of the Helm chart of the vLLM production stack."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from vllm_operator.conversion.pod import convert_pod
from vllm_operator.conversion.result import (
    Conversion,
    Draft,
    Unconverted,
    items,
    mapping,
    maps,
    server_object,
    shown,
    whole,
)

STARTUP_DEFAULTS = {"initialDelaySeconds": 15, "periodSeconds": 10, "failureThreshold": 60}
"""The chart's own startupProbe."""

SWITCHES = {"enableLoRA": "--enable-lora", "enableTool": "--enable-auto-tool-choice"}
CONFIG_FLAGS = {
    "maxModelLen": "--max-model-len",
    "dtype": "--dtype",
    "tensorParallelSize": "--tensor-parallel-size",
    "maxNumSeqs": "--max-num-seqs",
    "gpuMemoryUtilization": "--gpu-memory-utilization",
    "maxLoras": "--max-loras",
    "runner": "--runner",
    "convert": "--convert",
}
"""Key of `vllmConfig` -> flag, as `deployment-vllm-multi.yaml` of the chart has it."""

CONFIG_READ = frozenset({*CONFIG_FLAGS, "enablePrefixCaching", "enableChunkedPrefill", "extraArgs"})
MODEL_READ = frozenset(
    {
        *("name", "enabled", "annotations", "podAnnotations", "labels", "podLabels", "serviceAccountName"),
        *("priorityClassName", "runtimeClassName", "repository", "tag", "imagePullSecret", "modelURL", "modelRevision"),
        *("replicaCount", "resources", "requestCPU", "requestMemory", "requestGPU", "requestGPUType", "limitCPU"),
        *("limitMemory", "pvcStorage", "pvcAccessMode", "storageClass", "pvcExistingClaimName", "extraVolumes"),
        *("extraVolumeMounts", "initContainer", "vllmConfig", "lmcacheConfig", "hf_token", "envFromSecret", "env"),
        *(
            "affinity",
            "nodeSelectorTerms",
            "nodeName",
            "tolerations",
            "tolerationsPolicy",
            "shmSize",
            "keda",
            "raySpec",
        ),
        *("serviceAnnotations", "enableLoRA", "enableTool", "toolCallParser", "chatTemplate"),
    }
)
DEFAULT_SHM = "20Gi"
"""The chart's own size of /dev/shm with tensor parallelism."""

DEFAULT_MAX_REPLICAS = 5
"""The chart's own `maxReplicaCount`."""

OTHER_PARTS = {
    "routerSpec": "the router is the stack's: put a gateway or a load balancer in front of the Service",
    "cacheserverSpec": "the cache server of LMCache is not part of a VLLMServer",
    "loraController": "adapters are given by --lora-modules in engine.extraArgs",
    "sharedPvcStorage": "use spec.cache.existingClaim",
    "sharedStorage": "use spec.cache.existingClaim",
}


def convert_values(values: Mapping[str, Any]) -> list[Conversion]:
    """Return a conversion for each model of the values."""
    engine = mapping(values.get("servingEngineSpec"))
    models = maps(engine.get("modelSpec"))
    others = tuple(
        Unconverted(name, message) for name, message in OTHER_PARTS.items() if _is_used(mapping(values.get(name)))
    )
    if engine.get("enableEngine") is False or not models:
        return [Conversion("values", None, (Unconverted("servingEngineSpec.modelSpec", "the values deploy no model"),))]
    return [_convert_model(model, engine, others) for model in models]


def _is_used(part: Mapping[str, Any]) -> bool:
    return bool(part) and part.get("enabled") is not False and part.get("enableRouter") is not False


def _convert_model(model: dict[str, Any], engine: dict[str, Any], others: tuple[Unconverted, ...]) -> Conversion:
    name = str(model.get("name") or "model")
    source = f"modelSpec {name}"
    if model.get("enabled") is False:
        return Conversion(source, None, (Unconverted("enabled", "the values turn it off"),))
    if mapping(model.get("raySpec")).get("enabled"):
        reason = "a replica of a VLLMServer runs on one node, and this one is a cluster of Ray"
        return Conversion(source, None, (Unconverted("raySpec", reason),))
    if not model.get("modelURL"):
        return Conversion(source, None, (Unconverted("modelURL", "it is unset: name the model"),))
    draft = Draft()
    container = _container(model, engine, draft)
    convert_pod(_pod(model, engine, container), container, draft)
    _convert_storage(model, draft)
    _convert_replicas(model, draft)
    draft.set("metadata.labels", _texts(model.get("labels")))
    draft.set("metadata.annotations", _texts(model.get("annotations")))
    pod_metadata = {"labels": _texts(model.get("podLabels")), "annotations": _texts(model.get("podAnnotations"))}
    draft.set("podTemplate.metadata", {key: value for key, value in pod_metadata.items() if value})
    draft.set("service.annotations", _texts(model.get("serviceAnnotations")))
    for key in sorted(model.keys() - MODEL_READ):
        draft.lose(f"modelSpec.{shown(key)}", "it has no field in a VLLMServer")
    return Conversion(source, server_object(name, None, draft), (*draft.lost, *others))


def _texts(value: Any) -> dict[str, str]:
    return {str(key): str(item) for key, item in mapping(value).items()}


def _container(model: dict[str, Any], engine: dict[str, Any], draft: Draft) -> dict[str, Any]:
    """Return the container as the chart renders it."""
    probe = {**STARTUP_DEFAULTS, **mapping(engine.get("startupProbe"))}
    env = [*maps(engine.get("env")), *maps(model.get("env"))]
    env += [*_secret("HF_TOKEN", model.get("hf_token"), "hf_token", draft)]
    env += [*_secret("VLLM_API_KEY", engine.get("vllmApiKey"), "vllmApiKey", draft)]
    container: dict[str, Any] = {
        "name": "vllm",
        "image": f"{model.get('repository') or 'vllm/vllm-openai'}:{model.get('tag') or 'latest'}",
        "command": ["vllm", "serve", str(model["modelURL"])],
        "args": [*_arguments(model, draft), *_lmcache(model, env, draft)],
        "env": env,
        "resources": _resources(model),
        "startupProbe": probe,
        "volumeMounts": maps(model.get("extraVolumeMounts")),
        "securityContext": mapping(engine.get("containerSecurityContext")),
    }
    secret = mapping(model.get("envFromSecret")).get("name")
    if secret:
        container["envFrom"] = [{"secretRef": {"name": secret}}]
    if engine.get("configs"):
        draft.lose(
            "servingEngineSpec.configs", "its variables come from a ConfigMap of the chart: add them to engine.env"
        )
    return container


def _secret(name: str, value: Any, key: str, draft: Draft) -> list[dict[str, Any]]:
    if isinstance(value, str) and value:
        draft.lose(key, "its value stands in the values: put it in a Secret, and name it there")
        return []
    reference = mapping(value)
    if reference.get("secretName") and reference.get("secretKey"):
        source = {"secretKeyRef": {"name": reference["secretName"], "key": reference["secretKey"]}}
        return [{"name": name, "valueFrom": source}]
    return []


def _arguments(model: dict[str, Any], draft: Draft) -> list[str]:
    config = mapping(model.get("vllmConfig"))
    arguments = [flag for key, flag in SWITCHES.items() if model.get(key)]
    if model.get("toolCallParser"):
        arguments += ["--tool-call-parser", str(model["toolCallParser"])]
    if config:
        arguments.append(_switch("enable-prefix-caching", config.get("enablePrefixCaching")))
    if "enableChunkedPrefill" in config:
        arguments.append(_switch("enable-chunked-prefill", config["enableChunkedPrefill"]))
    for key, flag in CONFIG_FLAGS.items():
        if config.get(key) is not None:
            arguments += [flag, str(config[key])]
    arguments += [str(item) for item in items(config.get("extraArgs"))]
    if model.get("modelRevision"):
        arguments += ["--revision", str(model["modelRevision"])]
    _note_lost_arguments(model, config, draft)
    return arguments


def _switch(name: str, value: Any) -> str:
    return f"--{name}" if value else f"--no-{name}"


def _note_lost_arguments(model: dict[str, Any], config: dict[str, Any], draft: Draft) -> None:
    if model.get("chatTemplate"):
        draft.lose("chatTemplate", "the chart mounts it from a ConfigMap: set engine.chatTemplate to the template")
    if str(config.get("v0") or "") == "1":
        draft.lose("vllmConfig.v0", "vLLM no longer has its first engine")
    for key in sorted(config.keys() - CONFIG_READ - {"v0"}):
        draft.lose(f"vllmConfig.{shown(key)}", "it has no field in a VLLMServer")


def _lmcache(model: dict[str, Any], env: list[dict[str, Any]], draft: Draft) -> list[str]:
    """Return the argument for LMCache, and add its variables."""
    config = mapping(model.get("lmcacheConfig"))
    if not config.get("enabled"):
        return []
    if config.get("enablePD") or config.get("enableNixl"):
        draft.lose("lmcacheConfig", "a VLLMServer does not separate prefill from decode: NIXL is left out")
        return []
    size = config.get("cpuOffloadingBufferSize")
    env += [{"name": "LMCACHE_LOG_LEVEL", "value": str(config.get("logLevel") or "INFO")}]
    if size is not None:
        env += [
            {"name": "LMCACHE_LOCAL_CPU", "value": "True"},
            {"name": "LMCACHE_MAX_LOCAL_CPU_SIZE", "value": str(size)},
        ]
    for key in sorted(config.keys() - {"enabled", "cpuOffloadingBufferSize", "logLevel", "kvRole"}):
        draft.lose(f"lmcacheConfig.{shown(key)}", "set LMCache's own variable in engine.env")
    transfer = {"kv_connector": "LMCacheConnectorV1", "kv_role": config.get("kvRole") or "kv_both"}
    return [f"--kv-transfer-config={json.dumps(transfer, separators=(',', ':'))}"]


def _resources(model: dict[str, Any]) -> dict[str, Any]:
    if mapping(model.get("resources")):
        return mapping(model.get("resources"))
    device = model.get("requestGPUType") or "nvidia.com/gpu"
    requests: dict[str, Any] = {"cpu": model.get("requestCPU"), "memory": model.get("requestMemory")}
    limits: dict[str, Any] = {"cpu": model.get("limitCPU"), "memory": model.get("limitMemory")}
    if model.get("requestGPU"):
        requests[device] = limits[device] = model["requestGPU"]
    return {
        "requests": {key: value for key, value in requests.items() if value is not None},
        "limits": {key: value for key, value in limits.items() if value is not None},
    }


def _pod(model: dict[str, Any], engine: dict[str, Any], container: dict[str, Any]) -> dict[str, Any]:
    """Return the pod as the chart renders it."""
    global_tolerations = maps(engine.get("tolerations"))
    own = maps(model.get("tolerations"))
    terms = maps(model.get("nodeSelectorTerms"))
    affinity = mapping(model.get("affinity")) or (
        {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}
        if terms
        else {}
    )
    secret = model.get("imagePullSecret")
    init = mapping(model.get("initContainer"))
    init_container = {
        key: value for key, value in init.items() if key in {"name", "image", "command", "args", "env", "resources"}
    }
    volumes = list(maps(model.get("extraVolumes")))
    return {
        "containers": [container],
        "initContainers": [{key: value for key, value in init_container.items() if value}] if init else [],
        "volumes": volumes,
        "tolerations": own if model.get("tolerationsPolicy") == "override" else [*global_tolerations, *own],
        "affinity": affinity,
        "nodeName": model.get("nodeName"),
        "runtimeClassName": model.get("runtimeClassName") or engine.get("runtimeClassName"),
        "priorityClassName": model.get("priorityClassName"),
        "schedulerName": engine.get("schedulerName"),
        "serviceAccountName": model.get("serviceAccountName"),
        "imagePullSecrets": [{"name": secret}] if secret else [],
        "securityContext": mapping(engine.get("securityContext")),
    }


def _convert_storage(model: dict[str, Any], draft: Draft) -> None:
    if model.get("pvcExistingClaimName"):
        draft.set("cache.existingClaim", model["pvcExistingClaimName"])
    elif model.get("pvcStorage"):
        draft.set("cache.size", model["pvcStorage"])
        draft.set("cache.accessModes", items(model.get("pvcAccessMode")))
        draft.set("cache.storageClassName", model.get("storageClass"))
    if model.get("shmSize") or mapping(model.get("vllmConfig")).get("tensorParallelSize"):
        draft.set("sharedMemory", model.get("shmSize") or DEFAULT_SHM)


def _convert_replicas(model: dict[str, Any], draft: Draft) -> None:
    keda = mapping(model.get("keda"))
    replicas = model.get("replicaCount")
    if not keda.get("enabled"):
        draft.set("replicas", replicas if isinstance(replicas, int) and replicas != 1 else None)
        return
    fewest, most = whole(keda.get("minReplicaCount"), 1), whole(keda.get("maxReplicaCount"), DEFAULT_MAX_REPLICAS)
    draft.set("autoscaling", {"minReplicas": max(1, fewest), "maxReplicas": max(1, most, fewest)})
    if fewest == 0 or keda.get("idleReplicaCount") == 0:
        draft.lose("keda.minReplicaCount", "a VLLMServer keeps one replica at least: it does not scale to zero")
    draft.lose("keda.triggers", "the operator scales on running requests (autoscaling.targetRunningRequests)")
