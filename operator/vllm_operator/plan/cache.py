"""The volume that keeps downloads and compile caches, and the variables that point to it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any

from vllm_operator.api.codec import squeezed
from vllm_operator.api.names import child_name
from vllm_operator.api.observed import Object, Problem
from vllm_operator.api.placement import Cache
from vllm_operator.api.quantity import quantity
from vllm_operator.api.server import VLLMServer
from vllm_operator.api.spec import Spec
from vllm_operator.plan.manifest import Manifest

CACHE_PATH = "/cache"
"""Where the cache volume is mounted. Not below /root, which a non-root user cannot enter."""

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
"""Every place that vLLM, torch and their helpers write to. USER spares torch the look-up of a nameless uid."""


@dataclass(frozen=True)
class ClaimPlan:
    """A PersistentVolumeClaim for the cache."""

    name: str
    size: str | int
    storage_class_name: str | None
    access_modes: tuple[str, ...]


def possible_replicas(spec: Spec) -> int:
    """The most replicas that the spec allows."""
    return spec.autoscaling.max_replicas if spec.autoscaling else spec.replicas


def surges(spec: Spec) -> bool:
    """True when a rollout starts a new replica beside the old ones."""
    return spec.rollout.max_surge not in (0, "0", "0%")


def _shared(spec: Spec) -> bool:
    """True when several pods may mount the cache at once."""
    return possible_replicas(spec) > 1 or surges(spec)


def claim_plan(server: VLLMServer) -> ClaimPlan | None:
    """The claim to create; None when the server brings its own or has no cache."""
    cache = server.spec.cache
    if cache is None or cache.size is None:
        return None
    default = "ReadWriteMany" if _shared(server.spec) else "ReadWriteOnce"
    return ClaimPlan(
        name=child_name(server.name, "cache"),
        size=cache.size,
        storage_class_name=cache.storage_class_name,
        access_modes=tuple(cache.access_modes or (default,)),
    )


def beside(manifest: Manifest, live: Object) -> Manifest:
    """The manifest of a claim with what the live one can never change: its class, its access modes and their order.

    The hash stays that of the spec alone: a claim that was given the default class needs no second write.
    """
    body = manifest.body
    kept = {"accessModes": list(_access_modes(live)) or None, "storageClassName": _class(live)}
    # An empty class is one, too: it asks for a volume without any.
    spec = {**body["spec"], **{name: value for name, value in kept.items() if value is not None}}
    return replace(manifest, raw=squeezed({**body, "spec": spec}))


@dataclass(frozen=True, slots=True)
class ClaimWish:
    """What a spec asks of the claim that is there already.

    Attributes:
        cache: the spec's cache.
        sharing: who mounts it together, and the way out; empty where one pod uses it.
    """

    cache: Cache
    sharing: str


def claim_wish(server: VLLMServer) -> ClaimWish | None:
    """What `server` asks of its claim; None when it brings its own or has no cache."""
    cache = server.spec.cache
    if cache is None or cache.size is None:
        return None
    return ClaimWish(cache, _who_shares(server.spec) if _shared(server.spec) else "")


def claim_problems(wish: ClaimWish | None, live: Object | None) -> tuple[Problem, ...]:
    """What is asked of the live claim and Kubernetes cannot give."""
    if wish is None or live is None:
        return ()
    return tuple(
        problem
        for problem in (
            _changed_modes(wish.cache, live),
            _changed_class(wish.cache, live),
            _shrunk(wish.cache, live),
            _unshareable(wish, live),
        )
        if problem
    )


def _changed_modes(cache: Cache, live: Object) -> Problem | None:
    modes = _access_modes(live)
    if not cache.access_modes or set(cache.access_modes) == set(modes):
        return None
    return _immutable("accessModes", live, ", ".join(modes))


def _changed_class(cache: Cache, live: Object) -> Problem | None:
    current = _class(live)
    if cache.storage_class_name is None or cache.storage_class_name == (current or ""):
        return None
    return _immutable("storageClassName", live, current or "none")


def _shrunk(cache: Cache, live: Object) -> Problem | None:
    """A smaller size than the claim has; less than what a failed expansion asked for is the API server's to judge."""
    asked = (live.get("spec", {}).get("resources") or {}).get("requests", {}).get("storage")
    wanted, current = quantity(cache.size), quantity(asked)
    held = quantity((live.get("status", {}).get("capacity") or {}).get("storage"))
    if wanted is None or current is None or wanted >= current or (held is not None and held < wanted):
        return None
    name = live["metadata"]["name"]
    return Problem(
        "ImmutableClaim",
        f"spec.cache.size: {cache.size} is less than the {asked} that PersistentVolumeClaim {name} has, and a claim "
        f"cannot shrink: set it back to {asked}, delete the claim to lose the cache, or use cache.existingClaim",
    )


def _immutable(field: str, live: Object, current: str) -> Problem:
    name = live["metadata"]["name"]
    return Problem(
        "ImmutableClaim",
        f"spec.cache.{field}: PersistentVolumeClaim {name} has {current}, which cannot change: set it back, delete "
        "the claim to lose the cache, or use cache.existingClaim",
    )


def _unshareable(wish: ClaimWish, live: Object) -> Problem | None:
    modes = _access_modes(live)
    if not wish.sharing or not is_exclusive(modes):
        return None
    name = live["metadata"]["name"]
    return Problem(
        "CacheNotShareable",
        f"spec.cache: PersistentVolumeClaim {name} is {', '.join(sorted(modes))} and {wish.sharing}, "
        "use cache.existingClaim with a ReadWriteMany claim, or delete the claim to lose the cache",
    )


def is_exclusive(modes: Collection[str]) -> bool:
    """Whether one node at most may mount a claim with these access modes."""
    return bool(modes) and not set(modes) & {"ReadWriteMany", "ReadOnlyMany"}


def _who_shares(spec: Spec) -> str:
    if possible_replicas(spec) > 1:
        return "cannot serve several replicas: run one replica"
    return "a new replica on another node could not mount it beside the old one: set rollout.maxSurge: 0"


def surge_can_mount_the_cache(spec: Spec) -> Iterator[Problem]:
    """Refuse a surge beside an exclusive cache; several replicas beside one are refused by the CRD."""
    modes = spec.cache.access_modes if spec.cache else None
    if modes and is_exclusive(modes) and surges(spec) and possible_replicas(spec) < 2:
        yield Problem(
            "CacheNotShareable",
            f"spec.rollout.maxSurge: the cache is {', '.join(modes)} and {_who_shares(spec)} (and maxUnavailable: 1), "
            "or cache.accessModes: [ReadWriteMany] with a storage class that offers it",
        )


def _class(live: Object | None) -> str | None:
    name: str | None = (live or {}).get("spec", {}).get("storageClassName")
    return name


def sharing(spec: Spec) -> str:
    """What goes wrong with a claim that only one node may mount, and the way out; empty where one pod uses it."""
    if possible_replicas(spec) > 1:
        return "replicas on several nodes cannot mount it at once: keep them on one node, or name a ReadWriteMany claim"
    if surges(spec):
        return (
            "a rollout's new replica cannot mount it on another node beside the old one: set rollout.maxSurge: 0 (and "
            "maxUnavailable: 1), or name a ReadWriteMany claim"
        )
    return ""


def _access_modes(live: Object | None) -> tuple[str, ...]:
    return tuple((live or {}).get("spec", {}).get("accessModes") or ())


def cache_claim(server: VLLMServer) -> str | None:
    """Name of the claim that holds the cache; None when the cache is as short-lived as the pod."""
    cache = server.spec.cache
    if cache is None:
        return None
    return cache.existing_claim or child_name(server.name, "cache")


def cache_volume(server: VLLMServer) -> dict[str, Any]:
    """The pod's cache volume: the claim, else an emptyDir."""
    claim = cache_claim(server)
    source = {"persistentVolumeClaim": {"claimName": claim}} if claim else {"emptyDir": {}}
    return {"name": "model-cache", **source}
