"""The objects that a spec refers to."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.specs import MODEL, server
from vllm_operator.validation.references import Reference, references


def variable(**secret: Any) -> dict[str, Any]:
    return {"engine": {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", **secret}}}]}}


SEVERAL = "replicas on several nodes cannot mount it at once: keep them on one node, or name a ReadWriteMany claim"
SURGE = (
    "a rollout's new replica on another node cannot mount it while the old one runs: set rollout.maxSurge: 0 (and "
    "maxUnavailable: 1), or name a ReadWriteMany claim"
)

ROWS: list[tuple[str, dict[str, Any], list[Reference]]] = [
    ("nothing", {}, []),
    (
        "the token, under its usual key",
        {"model": {**MODEL, "tokenSecretRef": {"name": "hf"}}},
        [Reference("Secret", "hf", "spec.model.tokenSecretRef", "token")],
    ),
    (
        "the API key",
        {"security": {"apiKeySecretRef": {"name": "keys", "key": "a"}}},
        [Reference("Secret", "keys", "spec.security.apiKeySecretRef", "a", keep_value=True)],
    ),
    (
        "a variable",
        variable(),
        [Reference("Secret", "s", "spec.engine.env[A].valueFrom.secretKeyRef", "k")],
    ),
    ("an optional variable need not be there", variable(optional=True), []),
    (
        "the model's claim",
        {"model": {"uri": "pvc://models/a"}},
        [Reference("PersistentVolumeClaim", "models", "spec.model.uri")],
    ),
    (
        "the cache's claim",
        {"cache": {"existingClaim": "cache"}},
        [Reference("PersistentVolumeClaim", "cache", "spec.cache.existingClaim")],
    ),
    (
        "a token that the user's own variable replaces",
        {"model": {**MODEL, "tokenSecretRef": {"name": "hf"}}, "engine": {"env": [{"name": "HF_TOKEN", "value": ""}]}},
        [],
    ),
    (
        "a claim with several replicas",
        {"model": {"uri": "pvc://models/a"}, "replicas": 2},
        [Reference("PersistentVolumeClaim", "models", "spec.model.uri", sharing_problem=SEVERAL)],
    ),
    (
        "a claim with a surge",
        {"cache": {"existingClaim": "cache"}, "rollout": {"maxSurge": 1}},
        [Reference("PersistentVolumeClaim", "cache", "spec.cache.existingClaim", sharing_problem=SURGE)],
    ),
    ("a claim that the operator makes", {"cache": {"size": "1Gi"}}, []),
]


@pytest.mark.parametrize(("fields", "expected"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_references(fields: dict[str, Any], expected: list[Reference]) -> None:
    assert list(references(server(**fields))) == expected
