"""The claim of the cache, and the fields of it that cannot change."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.specs import children, named, pod_template, server, spec
from vllm_operator.api.problem import Problem
from vllm_operator.desired.cache_volume import CACHE_ENV, CACHE_PATH, claim_plan
from vllm_operator.kube.claims import with_immutable_claim_fields
from vllm_operator.kube.codec import compress_json
from vllm_operator.kube.manifest import Manifest
from vllm_operator.validation.checks import spec_warnings
from vllm_operator.validation.claim_checks import claim_problems, desired_claim


def live(*modes: str, storage_class: str | None = "standard", name: str = "mistral-cache") -> dict[str, Any]:
    """Return a live claim."""
    return {"metadata": {"name": name}, "spec": {"accessModes": list(modes), "storageClassName": storage_class}}


def sized(asked: str, held: str | None = None) -> dict[str, Any]:
    """Return a live claim with its request and its capacity."""
    claim = live("ReadWriteOnce")
    claim["spec"]["resources"] = {"requests": {"storage": asked}}
    return {**claim, "status": {"capacity": {"storage": held}} if held else {}}


def modes(claim: dict[str, Any] | None = None, **fields: Any) -> tuple[str, ...]:
    found = manifest(**fields)
    return tuple((with_immutable_claim_fields(found, claim) if claim else found).body["spec"]["accessModes"])


def manifest(**fields: Any) -> Manifest:
    """Return the manifest of the claim, as rendered from the spec."""
    return Manifest(
        "PersistentVolumeClaim", "mistral-cache", "1", compress_json(children(**fields)["PersistentVolumeClaim"])
    )


def problems(claim: dict[str, Any] | None, **fields: Any) -> tuple[Problem, ...]:
    return claim_problems(desired_claim(server(**fields)), claim)


SIZED = {"cache": {"size": "10Gi"}}
SCALED = {"autoscaling": {"maxReplicas": 3}}
MODES: list[tuple[str, dict[str, Any], dict[str, Any] | None, tuple[str, ...]]] = [
    ("one replica", SIZED, None, ("ReadWriteOnce",)),
    ("several replicas", {**SIZED, "replicas": 2}, None, ("ReadWriteMany",)),
    ("several possible replicas", {**SIZED, **SCALED}, None, ("ReadWriteMany",)),
    (
        "replicas ignored while scaled",
        {**SIZED, "replicas": 5, "autoscaling": {"maxReplicas": 1}},
        None,
        ("ReadWriteOnce",),
    ),
    ("a surge", {**SIZED, "rollout": {"maxSurge": "25%"}}, None, ("ReadWriteMany",)),
    ("no surge", {**SIZED, "rollout": {"maxSurge": "0%"}}, None, ("ReadWriteOnce",)),
    ("the user's", {"cache": {"size": "1Gi", "accessModes": ["ReadOnlyMany"]}}, None, ("ReadOnlyMany",)),
    ("the live claim's", SIZED, live("ReadWriteOncePod"), ("ReadWriteOncePod",)),
    (
        "the live claim's order",
        {"cache": {"size": "1Gi", "accessModes": ["ReadWriteOnce", "ReadWriteMany"]}},
        live("ReadWriteMany", "ReadWriteOnce"),
        ("ReadWriteMany", "ReadWriteOnce"),
    ),
]


@pytest.mark.parametrize(("fields", "claim", "expected"), [row[1:] for row in MODES], ids=[row[0] for row in MODES])
def test_access_modes(fields: dict[str, Any], claim: dict[str, Any] | None, expected: tuple[str, ...]) -> None:
    assert modes(claim, **fields) == expected


PROBLEMS: list[tuple[str, dict[str, Any], dict[str, Any], str, str]] = [
    (
        "other access modes",
        {"cache": {"size": "1Gi", "accessModes": ["ReadWriteMany"]}},
        live("ReadWriteOnce"),
        *("ImmutableClaim", "spec.cache.accessModes: PersistentVolumeClaim mistral-cache has ReadWriteOnce"),
    ),
    (
        "another class",
        {"cache": {"size": "1Gi", "storageClassName": "efs"}},
        live("ReadWriteOnce"),
        *("ImmutableClaim", "spec.cache.storageClassName: PersistentVolumeClaim mistral-cache has standard"),
    ),
    (
        "a class where there is none",
        {"cache": {"size": "1Gi", "storageClassName": "efs"}},
        live("ReadWriteOnce", storage_class=None),
        *("ImmutableClaim", "spec.cache.storageClassName: PersistentVolumeClaim mistral-cache has none"),
    ),
    (
        "several replicas on a claim for one",
        {**SIZED, "replicas": 2},
        live("ReadWriteOnce"),
        *("CacheNotShareable", "spec.cache: PersistentVolumeClaim mistral-cache is ReadWriteOnce"),
    ),
    (
        "several possible replicas on a claim for one",
        {**SIZED, **SCALED},
        live("ReadWriteOncePod"),
        *("CacheNotShareable", "spec.cache: PersistentVolumeClaim mistral-cache is ReadWriteOncePod"),
    ),
    (
        "a surge on a claim for one",
        {**SIZED, "rollout": {"maxSurge": 1}},
        live("ReadWriteOnce"),
        "CacheNotShareable",
        "spec.cache: PersistentVolumeClaim mistral-cache is ReadWriteOnce and a new replica on another node could not "
        "mount it while the old one runs: set rollout.maxSurge: 0",
    ),
    (
        "a smaller size",
        {"cache": {"size": "50Gi"}},
        sized("100Gi", "100Gi"),
        "ImmutableClaim",
        "spec.cache.size: 50Gi is less than the 100Gi of PersistentVolumeClaim mistral-cache, and a claim cannot "
        "shrink: set it back to 100Gi",
    ),
    (
        "a smaller size of a claim without a volume",
        {"cache": {"size": "50Gi"}},
        sized("100Gi"),
        *("ImmutableClaim", "spec.cache.size: 50Gi is less than the 100Gi"),
    ),
]


@pytest.mark.parametrize(
    ("fields", "claim", "reason", "start"), [row[1:] for row in PROBLEMS], ids=[row[0] for row in PROBLEMS]
)
def test_change_that_a_claim_cannot_make_is_refused(
    fields: dict[str, Any], claim: dict[str, Any], reason: str, start: str
) -> None:
    (problem,) = problems(claim, **fields)

    assert problem.reason == reason
    assert problem.message.startswith(start)
    assert "cache.existingClaim" in problem.message


FINE: list[tuple[str, dict[str, Any], dict[str, Any] | None]] = [
    ("no claim yet", SIZED, None),
    ("no cache", {}, live("ReadWriteOnce")),
    (
        "the same modes in another order",
        {"cache": {"size": "1Gi", "accessModes": ["ReadWriteMany", "ReadOnlyMany"]}},
        live("ReadOnlyMany", "ReadWriteMany"),
    ),
    (
        "no class for no class",
        {"cache": {"size": "1Gi", "storageClassName": ""}},
        live("ReadWriteOnce", storage_class=None),
    ),
    ("the same size in another unit", {"cache": {"size": "1024Mi"}}, sized("1Gi", "1Gi")),
    ("a larger size", {"cache": {"size": "2Gi"}}, sized("1Gi", "1Gi")),
    ("less than an expansion that failed, and more than there is", {"cache": {"size": "2Gi"}}, sized("9Gi", "1Gi")),
    ("a surge on a shared claim", {**SIZED, "rollout": {"maxSurge": 1}}, live("ReadWriteMany")),
    ("several replicas on a shared claim", {**SIZED, "replicas": 2}, live("ReadWriteMany")),
    (
        "a former claim and an existing one",
        {"cache": {"existingClaim": "models"}, "replicas": 2},
        live("ReadWriteOnce"),
    ),
]


@pytest.mark.parametrize(("fields", "claim"), [row[1:] for row in FINE], ids=[row[0] for row in FINE])
def test_what_a_claim_can_be_is_accepted(fields: dict[str, Any], claim: dict[str, Any] | None) -> None:
    assert problems(claim, **fields) == ()


def test_existing_claim_is_mounted_and_not_made() -> None:
    fields = {"cache": {"existingClaim": "models"}}

    assert claim_plan(server(**fields)) is None
    volume = named(pod_template(**fields)["spec"]["volumes"], "model-cache")
    assert volume["persistentVolumeClaim"] == {"claimName": "models"}


def test_without_a_cache_the_volume_lives_as_long_as_the_pod() -> None:
    assert named(pod_template()["spec"]["volumes"], "model-cache") == {"name": "model-cache", "emptyDir": {}}


def test_kept_claim_has_no_owner_and_a_passing_one_has() -> None:
    kept = children(cache={"size": "1Gi"})["PersistentVolumeClaim"]
    passing = children(cache={"size": "1Gi", "retain": False})["PersistentVolumeClaim"]

    assert "ownerReferences" not in kept["metadata"]
    assert passing["metadata"]["ownerReferences"][0]["name"] == "mistral"


def test_claim_of_a_long_name_is_the_one_that_is_mounted() -> None:
    name = "m" * 61
    found = children(name, cache={"size": "1Gi"})
    volume = named(found["Deployment"]["spec"]["template"]["spec"]["volumes"], "model-cache")

    assert volume["persistentVolumeClaim"]["claimName"] == found["PersistentVolumeClaim"]["metadata"]["name"]


def test_every_cache_variable_points_into_the_volume() -> None:
    paths = {name: value for name, value in CACHE_ENV.items() if name not in {"USER", "LOGNAME"}}

    assert [name for name, path in paths.items() if not path.startswith(CACHE_PATH)] == []


CLASSES = [({}, "fast", "fast"), ({}, "", ""), ({}, None, None), ({"storageClassName": "fast"}, "fast", "fast")]


@pytest.mark.parametrize(("asked", "held", "kept"), CLASSES)
def test_claim_keeps_the_class_that_it_has(asked: dict[str, Any], held: str | None, kept: str | None) -> None:
    found = with_immutable_claim_fields(
        manifest(cache={"size": "10Gi", **asked}), live("ReadWriteOnce", storage_class=held)
    )

    assert found.body["spec"].get("storageClassName") == kept
    # Values that the cluster added do not change the manifest: otherwise it would be written again.
    assert found.hash == "1"


@pytest.mark.parametrize(("replicas", "noted"), [(0, True), (1, False)])
def test_server_without_replicas_has_a_note_on_its_claim_for_one_node(replicas: int, noted: bool) -> None:
    notes = spec_warnings(spec(replicas=replicas, cache={"size": "1Gi"}))

    assert any("the new claim is ReadWriteOnce" in note for note in notes) == noted
