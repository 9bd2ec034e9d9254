"""The claim and the volume of the cache."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.specs import server
from vllm_operator.desired.cache_volume import CACHE_ENV, CACHE_PATH, ClaimPlan, cache_claim, cache_volume, claim_plan

SEVERAL = {"replicas": 2}
SURGE = {"rollout": {"maxSurge": 1}}
NEW = {"size": "100Gi"}

MODES: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [
    ("one replica", {"cache": NEW}, ("ReadWriteOnce",)),
    ("several replicas", {"cache": NEW, **SEVERAL}, ("ReadWriteMany",)),
    ("a surge", {"cache": NEW, **SURGE}, ("ReadWriteMany",)),
    ("the modes of the spec", {"cache": {**NEW, "accessModes": ["ReadOnlyMany"]}}, ("ReadOnlyMany",)),
]


@pytest.mark.parametrize(("fields", "modes"), [row[1:] for row in MODES], ids=[row[0] for row in MODES])
def test_access_modes_follow_the_number_of_pods(fields: dict[str, Any], modes: tuple[str, ...]) -> None:
    assert claim_plan(server(**fields)) == ClaimPlan("mistral-cache", "100Gi", None, modes)


@pytest.mark.parametrize("fields", [{}, {"cache": {"existingClaim": "models"}}], ids=["no cache", "existing claim"])
def test_no_claim_is_created_without_a_size(fields: dict[str, Any]) -> None:
    assert claim_plan(server(**fields)) is None


@pytest.mark.parametrize(
    ("fields", "claim", "source"),
    [
        ({}, None, {"emptyDir": {}}),
        ({"cache": NEW}, "mistral-cache", {"persistentVolumeClaim": {"claimName": "mistral-cache"}}),
        ({"cache": {"existingClaim": "models"}}, "models", {"persistentVolumeClaim": {"claimName": "models"}}),
    ],
    ids=["no cache", "new claim", "existing claim"],
)
def test_volume_is_the_claim_or_an_empty_dir(fields: dict[str, Any], claim: str | None, source: dict[str, Any]) -> None:
    assert cache_claim(server(**fields)) == claim
    assert cache_volume(server(**fields)) == {"name": "model-cache", **source}


def test_caches_are_below_the_volume() -> None:
    paths = [value for value in CACHE_ENV.values() if value.startswith("/")]

    assert len(paths) > 5
    assert [path for path in paths if path != CACHE_PATH and not path.startswith(f"{CACHE_PATH}/")] == []
