"""Check the claim of the cache against the spec and the live claim."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from vllm_operator.api.placement import Cache
from vllm_operator.api.problem import Problem
from vllm_operator.api.server import VLLMServer
from vllm_operator.api.spec import Spec, cache_is_shared, possible_replicas, surges
from vllm_operator.kube.claims import access_modes, is_exclusive, storage_class
from vllm_operator.kube.quantity import parse_quantity
from vllm_operator.kube.types import Object


@dataclass(frozen=True, slots=True)
class DesiredClaim:
    """The requirements of a spec on the existing claim of its cache.

    Attributes:
        cache: the cache of the spec.
        sharing_problem: why several pods cannot mount an exclusive claim, and what to do; empty if one pod uses it.
    """

    cache: Cache
    sharing_problem: str


def desired_claim(server: VLLMServer) -> DesiredClaim | None:
    """Return the requirements on the claim; None when the server has an existing claim or no cache."""
    cache = server.spec.cache
    if cache is None or cache.size is None or cache.per_replica:
        return None
    return DesiredClaim(cache, _sharing_remedy(server.spec) if cache_is_shared(server.spec) else "")


def claim_problems(desired: DesiredClaim | None, live: Object | None) -> tuple[Problem, ...]:
    """Return the requirements that the live claim cannot meet, since Kubernetes cannot change it."""
    if desired is None or live is None:
        return ()
    return tuple(
        problem
        for problem in (
            _changed_access_modes(desired.cache, live),
            _changed_class(desired.cache, live),
            _shrunk(desired.cache, live),
            _unshareable(desired, live),
        )
        if problem
    )


def _changed_access_modes(cache: Cache, live: Object) -> Problem | None:
    modes = access_modes(live)
    if not cache.access_modes or set(cache.access_modes) == set(modes):
        return None
    return _immutable_field("accessModes", live, ", ".join(modes))


def _changed_class(cache: Cache, live: Object) -> Problem | None:
    current = storage_class(live)
    if cache.storage_class_name is None or cache.storage_class_name == (current or ""):
        return None
    return _immutable_field("storageClassName", live, current or "none")


def _shrunk(cache: Cache, live: Object) -> Problem | None:
    """Return the problem of a size below that of the claim.

    A size between the capacity and the request of a failed expansion is left to the API server, which may allow it.
    """
    asked = (live.get("spec", {}).get("resources") or {}).get("requests", {}).get("storage")
    wanted, current = parse_quantity(cache.size), parse_quantity(asked)
    held = parse_quantity((live.get("status", {}).get("capacity") or {}).get("storage"))
    if wanted is None or current is None or wanted >= current or (held is not None and held < wanted):
        return None
    name = live["metadata"]["name"]
    return Problem(
        "ImmutableClaim",
        f"spec.cache.size: {cache.size} is less than the {asked} of PersistentVolumeClaim {name}, and a claim "
        f"cannot shrink: set it back to {asked}, delete the claim to lose the cache, or use cache.existingClaim",
    )


def _immutable_field(field: str, live: Object, current: str) -> Problem:
    name = live["metadata"]["name"]
    return Problem(
        "ImmutableClaim",
        f"spec.cache.{field}: PersistentVolumeClaim {name} has {current}, which cannot change: set it back, delete "
        "the claim to lose the cache, or use cache.existingClaim",
    )


def _unshareable(desired: DesiredClaim, live: Object) -> Problem | None:
    modes = access_modes(live)
    if not desired.sharing_problem or not is_exclusive(modes):
        return None
    name = live["metadata"]["name"]
    return Problem(
        "CacheNotShareable",
        f"spec.cache: PersistentVolumeClaim {name} is {', '.join(sorted(modes))} and {desired.sharing_problem}, "
        "use cache.existingClaim with a ReadWriteMany claim, or delete the claim to lose the cache",
    )


def _sharing_remedy(spec: Spec) -> str:
    if possible_replicas(spec) > 1:
        return "cannot serve several replicas: run one replica, set cache.perReplica: true for a cache of each replica"
    return "a new replica on another node could not mount it while the old one runs: set rollout.maxSurge: 0"


def surge_can_mount_cache(spec: Spec) -> Iterator[Problem]:
    """Refuse a surge with an exclusive cache; the CRD refuses several replicas with one."""
    modes = spec.cache.access_modes if spec.cache and not spec.cache.per_replica else None
    if modes and is_exclusive(modes) and surges(spec) and possible_replicas(spec) < 2:
        yield Problem(
            "CacheNotShareable",
            f"spec.rollout.maxSurge: the cache is {', '.join(modes)} and {_sharing_remedy(spec)} (and "
            "maxUnavailable: 1), or cache.accessModes: [ReadWriteMany] with a storage class that offers it",
        )


def scaling_notes(spec: Spec) -> tuple[str, ...]:
    """Return a note when the new claim serves one node, so that another writer of `replicas` could not scale further.

    The operator cannot see how far KEDA or a person will scale, and access modes never change.
    """
    cache = spec.cache
    if cache is None or cache.size is None or cache.access_modes or cache.per_replica or cache_is_shared(spec):
        return ()
    return (
        "spec.cache: the new claim is ReadWriteOnce, since the spec asks for one replica at most, and its access modes "
        "never change: to scale further later, set cache.accessModes: [ReadWriteMany] or cache.perReplica: true before "
        "the claim is created",
    )


def sharing_problem(spec: Spec) -> str:
    """Return why a claim that one node may mount is not enough, and what to do; empty when one pod uses it."""
    if possible_replicas(spec) > 1:
        return "replicas on several nodes cannot mount it at once: keep them on one node, or name a ReadWriteMany claim"
    if surges(spec):
        return (
            "a rollout's new replica on another node cannot mount it while the old one runs: set rollout.maxSurge: 0 "
            "(and maxUnavailable: 1), or name a ReadWriteMany claim"
        )
    return ""
