"""The volume for downloads and compile caches, and the variables that point to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vllm_operator.api.names import LABEL_INSTANCE, child_name
from vllm_operator.api.placement import Cache
from vllm_operator.api.server import VLLMServer
from vllm_operator.api.spec import cache_is_shared

CACHE_PATH = "/cache"
"""Path of the cache volume in the container. Not below /root, which a non-root user cannot enter."""

CACHE_ENV = {
    "HOME": CACHE_PATH,
    "USER": "vllm",
    "LOGNAME": "vllm",
    "XDG_CACHE_HOME": f"{CACHE_PATH}/xdg",
    "XDG_CONFIG_HOME": f"{CACHE_PATH}/config",
    "HF_HOME": f"{CACHE_PATH}/huggingface",
    "VLLM_CACHE_ROOT": f"{CACHE_PATH}/vllm",
    "VLLM_CONFIG_ROOT": f"{CACHE_PATH}/config/vllm",
    "TORCHINDUCTOR_CACHE_DIR": f"{CACHE_PATH}/torchinductor",
    "TRITON_CACHE_DIR": f"{CACHE_PATH}/triton",
    "FLASHINFER_WORKSPACE_BASE": CACHE_PATH,
    "NUMBA_CACHE_DIR": f"{CACHE_PATH}/numba",
}
"""Variables for each path that vLLM, torch and their libraries write to. With USER, torch does not look up the name of
a user id that has none."""


@dataclass(frozen=True)
class ClaimPlan:
    """A PersistentVolumeClaim for the cache."""

    name: str
    size: str | int
    storage_class_name: str | None
    access_modes: tuple[str, ...]


def claim_plan(server: VLLMServer) -> ClaimPlan | None:
    """Return the claim to create; None when no claim of the server's own holds the cache."""
    cache = server.spec.cache
    if cache is None or cache.size is None or cache.per_replica:
        return None
    default = "ReadWriteMany" if cache_is_shared(server.spec) else "ReadWriteOnce"
    return ClaimPlan(
        name=child_name(server.name, "cache"),
        size=cache.size,
        storage_class_name=cache.storage_class_name,
        access_modes=tuple(cache.access_modes or (default,)),
    )


def cache_claim(server: VLLMServer) -> str | None:
    """Return the name of the claim that holds the cache; None when the cache is lost with the pod."""
    cache = server.spec.cache
    if cache is None or cache.volume is not None or cache.per_replica:
        return None
    return cache.existing_claim or child_name(server.name, "cache")


def cache_volume(server: VLLMServer) -> dict[str, Any]:
    """Return the cache volume of the pod: that of the spec, a claim of each pod, a claim of all, else an emptyDir."""
    return {"name": "model-cache", **_source(server)}


def _source(server: VLLMServer) -> dict[str, Any]:
    cache = server.spec.cache
    if cache is not None and cache.volume is not None:
        return dict(cache.volume)
    if cache is not None and cache.per_replica:
        return {"ephemeral": {"volumeClaimTemplate": _claim_template(server, cache)}}
    claim = cache_claim(server)
    return {"persistentVolumeClaim": {"claimName": claim}} if claim else {"emptyDir": {}}


def _claim_template(server: VLLMServer, cache: Cache) -> dict[str, Any]:
    """Return the template of the claim that Kubernetes creates with each pod and deletes with it."""
    spec = {
        "accessModes": list(cache.access_modes or ("ReadWriteOnce",)),
        "resources": {"requests": {"storage": cache.size}},
    }
    if cache.storage_class_name is not None:
        spec["storageClassName"] = cache.storage_class_name
    # No recommended labels: they would make the claim a child of the server.
    return {"metadata": {"labels": {LABEL_INSTANCE: child_name(server.name)}}, "spec": spec}
