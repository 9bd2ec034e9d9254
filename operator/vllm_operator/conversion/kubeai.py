"""Convert KubeAI's Models (kubeai.org/v1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vllm_operator.conversion.arguments import convert_arguments
from vllm_operator.conversion.devices import convert_devices
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

DEFAULT_TARGET_REQUESTS = 100
"""KubeAI's own `targetRequests`."""

CPU_IMAGE = "public.ecr.aws/q9t5s3a7/vllm-cpu-release-repo:v0.19.0"
"""Image of vLLM for CPUs, for the profile cpu: the default image needs a GPU."""

PROFILES = {
    "nvidia-gpu": "nvidia.com/gpu",
    "amd-gpu": "amd.com/gpu",
    "google-tpu": "google.com/tpu",
    "cpu": "",
}
"""Start of the name of a resource profile of KubeAI's chart -> resource of its devices."""

CPU_REQUESTS = {"cpu": 1, "memory": 2}
"""CPUs, and GiB of memory, that the profile cpu requests for each unit."""

READ = frozenset(
    {
        *("url", "engine", "features", "args", "env", "envFrom", "image", "replicas", "minReplicas", "maxReplicas"),
        *("autoscalingDisabled", "targetRequests", "scaleDownDelaySeconds", "resourceProfile", "cacheProfile"),
        *("adapters", "files", "loadBalancing", "priorityClassName", "owner"),
    }
)


def convert_model_resource(body: Mapping[str, Any]) -> Conversion:
    """Return the conversion of a Model; one with another engine than vLLM has no server."""
    metadata, spec = mapping(body.get("metadata")), mapping(body.get("spec"))
    name = str(metadata.get("name") or "model")
    source = f"Model {name}"
    if spec.get("engine") != "VLLM":
        engine = shown(spec.get("engine"))
        return Conversion(source, None, (Unconverted("spec.engine", f"{engine} is not vLLM: keep it with KubeAI"),))
    draft = Draft()
    env = {key: str(value) for key, value in mapping(spec.get("env")).items()}
    # KubeAI gives vLLM the name of the Model (`--served-model-name`).
    draft.set("model.servedNames", [name])
    draft.set("image", spec.get("image"))
    convert_arguments([str(item) for item in items(spec.get("args"))], env, draft)
    _convert_url(str(spec.get("url") or ""), draft)
    draft.set("engine.env", [{"name": key, "value": value} for key, value in env.items()])
    _convert_profile(str(spec.get("resourceProfile") or ""), spec, draft)
    _convert_replicas(spec, draft)
    _convert_adapters(spec, draft)
    _convert_others(spec, draft)
    return Conversion(source, server_object(name, metadata.get("namespace"), draft), tuple(draft.lost))


def _convert_url(url: str, draft: Draft) -> None:
    address, _, query = url.partition("?")
    draft.set("model.uri", address)
    if query:
        draft.lose("spec.url", f"the parameters of the address are left out: {shown(query)}")


def _convert_profile(profile: str, spec: Mapping[str, Any], draft: Draft) -> None:
    """Add the devices of a resource profile, such as `nvidia-gpu-l4:2`."""
    name, _, units = profile.partition(":")
    count = int(units) if units.isdigit() else 1
    found = next((start for start in sorted(PROFILES, key=len, reverse=True) if name.startswith(start)), None)
    image = spec.get("image")
    if found is None:
        if name:
            draft.lose(
                "spec.resourceProfile", f"{shown(name)} is no profile of KubeAI's chart: set accelerator and resources"
            )
        return
    if found == "cpu":
        draft.spec["accelerator"] = {"resourceName": ""}
        draft.set("image", image or CPU_IMAGE)
        amounts = {"cpu": str(CPU_REQUESTS["cpu"] * count), "memory": f"{CPU_REQUESTS['memory'] * count}Gi"}
        draft.set("resources.requests", amounts)
        return
    convert_devices(PROFILES[found], count, draft)
    if name != found:
        draft.lose(
            "spec.resourceProfile",
            f"the node selector and the requests of {shown(name)} stand in KubeAI's values: set accelerator.product "
            "and resources",
        )


def _convert_replicas(spec: Mapping[str, Any], draft: Draft) -> None:
    fewest, most = whole(spec.get("minReplicas")), whole(spec.get("maxReplicas"))
    if fewest == 0 and not spec.get("autoscalingDisabled"):
        draft.lose("spec.minReplicas", "a VLLMServer keeps one replica at least: it does not scale to zero")
    if spec.get("autoscalingDisabled"):
        draft.set("replicas", whole(spec.get("replicas")) or None)
        return
    if most == 0:
        draft.lose(
            "spec.maxReplicas", "it is unset, and autoscaling needs an upper bound: set spec.autoscaling.maxReplicas"
        )
        draft.set("replicas", fewest if fewest > 1 else None)
        return
    if most <= 1:
        return
    target = whole(spec.get("targetRequests"), DEFAULT_TARGET_REQUESTS)
    sequences = draft.get("engine.maxNumSeqs")
    if isinstance(sequences, int) and target >= sequences > 1:
        draft.lose(
            "spec.targetRequests", f"{target} is lowered below the {sequences} requests that an engine runs at once"
        )
        target = sequences - 1
    scaling = {"minReplicas": max(1, fewest), "maxReplicas": most, "targetRunningRequests": target}
    draft.set("autoscaling", scaling)
    draft.lose("spec.targetRequests", "KubeAI counts waiting requests too; the operator scales on running ones")


def _convert_adapters(spec: Mapping[str, Any], draft: Draft) -> None:
    modules = []
    for adapter in maps(spec.get("adapters")):
        name, url = str(adapter.get("name")), str(adapter.get("url"))
        if url.startswith("hf://"):
            modules.append(f"{name}={url.removeprefix('hf://')}")
        else:
            draft.lose(
                "spec.adapters",
                f"{shown(name)} at {shown(url)} is left out: vLLM loads adapters from the hub or a folder",
            )
    if modules:
        extra = draft.get("engine.extraArgs") or []
        enable = [] if "--enable-lora" in extra else ["--enable-lora"]
        draft.set("engine.extraArgs", [*extra, *enable, "--lora-modules", *modules])


def _convert_others(spec: Mapping[str, Any], draft: Draft) -> None:
    draft.set("scheduling.priorityClassName", spec.get("priorityClassName"))
    if spec.get("envFrom"):
        draft.set("podTemplate.spec", {"containers": [{"name": "vllm", "envFrom": spec["envFrom"]}]})
    if spec.get("cacheProfile"):
        draft.lose("spec.cacheProfile", f"{shown(spec['cacheProfile'])} is a profile of KubeAI: set spec.cache.size")
    if spec.get("files"):
        draft.lose("spec.files", "put the files in a ConfigMap, and mount it by spec.podTemplate")
    if mapping(spec.get("loadBalancing")):
        draft.lose(
            "spec.loadBalancing", "the Service spreads connections evenly; put a gateway in front to follow prefixes"
        )
    if spec.get("scaleDownDelaySeconds"):
        draft.lose("spec.scaleDownDelaySeconds", "spec.autoscaling.behavior sets it; the default is 10 minutes")
    for name in sorted(spec.keys() - READ):
        draft.lose(f"spec.{shown(name)}", "it has no field in a VLLMServer")
