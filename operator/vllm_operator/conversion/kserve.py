"""Convert KServe's LLMInferenceServices (serving.kserve.io/v1alpha1 and v1alpha2)."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from vllm_operator.conversion.arguments import convert_arguments
from vllm_operator.conversion.pod import convert_pod
from vllm_operator.conversion.result import Conversion, Draft, Unconverted, mapping, maps, server_object, shown, whole

ADDITIONAL_ARGS = "VLLM_ADDITIONAL_ARGS"
"""Variable with further arguments, which the commands of KServe's presets append."""

CONTAINER = "main"
LOST = {
    "router": "routes, gateways and the endpoint picker are KServe's: add a route to the Service",
    "baseRefs": "the LLMInferenceServiceConfigs that it names are not in the file: their settings are left out",
    "storageInitializer": "vLLM downloads the model itself",
    "tracing": "set --otlp-traces-endpoint in engine.extraArgs",
    "labels": "use spec.metadata.labels",
    "annotations": "use spec.metadata.annotations",
    "kvCacheOffloading": "set --kv-transfer-config in engine.extraArgs",
}
READ = frozenset({"model", "replicas", "parallelism", "template", "worker", "prefill", "scaling", "autoscaling", *LOST})
PARALLELISM = {"tensor": "tensorParallelSize", "pipeline": "pipelineParallelSize", "data": "dataParallelSize"}


def convert_inference_service(body: Mapping[str, Any]) -> Conversion:
    """Return the conversion of an LLMInferenceService; one over several nodes or roles has no server."""
    metadata, spec = mapping(body.get("metadata")), mapping(body.get("spec"))
    name = str(metadata.get("name") or "llm")
    source = f"LLMInferenceService {name}"
    if reasons := _reasons_against(spec):
        return Conversion(source, None, reasons)
    draft = Draft()
    model = mapping(spec.get("model"))
    uri = str(model.get("uri") or "")
    draft.set("model.servedNames", [str(model.get("name") or name)])
    pod = mapping(spec.get("template"))
    container = _container(pod)
    _convert_pod(pod, container, uri, draft)
    draft.set("model.uri", uri)
    _convert_parallelism(spec, draft)
    _convert_replicas(spec, draft)
    _convert_lora(model, draft)
    for field, message in LOST.items():
        if field in spec:
            draft.lose(f"spec.{field}", message)
    for field in sorted(spec.keys() - READ):
        draft.lose(f"spec.{shown(field)}", "it has no field in a VLLMServer")
    return Conversion(source, server_object(name, metadata.get("namespace"), draft), tuple(draft.lost))


def _reasons_against(spec: Mapping[str, Any]) -> tuple[Unconverted, ...]:
    reasons = []
    if not mapping(spec.get("model")).get("uri"):
        reasons.append(
            Unconverted("spec.model.uri", "it is unset here; add it, or the object that it is inherited from")
        )
    if spec.get("worker") is not None:
        reasons.append(
            Unconverted("spec.worker", "a replica of a VLLMServer runs on one node, and this one on several")
        )
    if spec.get("prefill") is not None:
        reasons.append(Unconverted("spec.prefill", "a VLLMServer does not separate prefill from decode"))
    return tuple(reasons)


def _container(pod: Mapping[str, Any]) -> dict[str, Any]:
    containers = maps(pod.get("containers"))
    return next((item for item in containers if item.get("name") == CONTAINER), containers[0] if containers else {})


def _convert_pod(pod: dict[str, Any], container: dict[str, Any], uri: str, draft: Draft) -> None:
    """Add the template; KServe's presets give the command, so that only its arguments and variables count."""
    env = maps(container.get("env"))
    kept = {**container, "env": [item for item in env if item.get("name") != ADDITIONAL_ARGS]}
    if kept.get("command") and "vllm" not in str(kept["command"]):
        draft.lose("spec.template", f"the command is left out: {shown(kept['command'])}")
        kept = {key: value for key, value in kept.items() if key not in {"command", "args"}}
    others = [item for item in maps(pod.get("containers")) if item is not container]
    convert_pod({**pod, "containers": [kept, *others]}, kept, draft, model=uri)
    if not container.get("image"):
        draft.lose(
            "spec.template", "it names no image, which KServe's presets give: the operator's default image is used"
        )
    _convert_additional(env, draft)


def _convert_additional(env: list[dict[str, Any]], draft: Draft) -> None:
    """Add the arguments of VLLM_ADDITIONAL_ARGS."""
    text = next((str(item.get("value") or "") for item in env if item.get("name") == ADDITIONAL_ARGS), "")
    try:
        words = shlex.split(text)
    except ValueError:
        draft.lose(f"variable {ADDITIONAL_ARGS}", "its quotes are not closed: add the arguments to engine.extraArgs")
        return
    plain = {str(item.get("name")): str(item["value"]) for item in env if isinstance(item.get("value"), str)}
    convert_arguments(words, plain, draft)


def _convert_parallelism(spec: Mapping[str, Any], draft: Draft) -> None:
    parallelism = mapping(spec.get("parallelism"))
    for source, target in PARALLELISM.items():
        draft.set(f"engine.{target}", whole(parallelism.get(source)) or draft.get(f"engine.{target}"))
    if parallelism.get("expert"):
        draft.set("engine.extraArgs", [*(draft.get("engine.extraArgs") or []), "--enable-expert-parallel"])
    for field in sorted(parallelism.keys() - PARALLELISM.keys() - {"expert"}):
        draft.lose(f"spec.parallelism.{shown(field)}", "a replica of a VLLMServer runs on one node")
    ranks = 1
    for target in PARALLELISM.values():
        ranks *= draft.get(f"engine.{target}") or 1
    accelerator = draft.spec.get("accelerator", {})
    if accelerator.get("count") == ranks:
        accelerator.pop("count")
    if not accelerator:
        draft.spec.pop("accelerator", None)


def _convert_replicas(spec: Mapping[str, Any], draft: Draft) -> None:
    replicas = whole(spec.get("replicas"), 1)
    draft.set("replicas", replicas if replicas != 1 else None)
    scaling = mapping(spec.get("scaling") or spec.get("autoscaling"))
    if not scaling:
        return
    most = whole(scaling.get("maxReplicas"))
    if most:
        draft.set("autoscaling", {"minReplicas": max(1, whole(scaling.get("minReplicas"), 1)), "maxReplicas": most})
    draft.lose("spec.scaling", "its metrics and its engine are left out: the operator scales on running requests")


def _convert_lora(model: Mapping[str, Any], draft: Draft) -> None:
    modules = []
    for adapter in maps(mapping(model.get("lora")).get("adapters")):
        uri = str(adapter.get("uri") or "")
        if uri.startswith("hf://"):
            modules.append(f"{adapter.get('name')}={uri.removeprefix('hf://')}")
        else:
            draft.lose("spec.model.lora", f"{shown(uri)} is left out: vLLM loads adapters from the hub or a folder")
    if modules:
        extra = draft.get("engine.extraArgs") or []
        enable = [] if "--enable-lora" in extra else ["--enable-lora"]
        draft.set("engine.extraArgs", [*extra, *enable, "--lora-modules", *modules])
    if model.get("criticality"):
        draft.lose("spec.model.criticality", "it belongs to KServe's router")
