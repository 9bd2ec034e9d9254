"""Collect what the serving engines report: version, models, capacity."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from vllm_operator.diagnosis.log_text import one_line
from vllm_operator.probing.health import ReplicaHealth
from vllm_operator.status.assessment import Assessment

_MAX_MODELS = 64
_MODEL_NAME_LENGTH = 256
_FIELDS = ("version", "servedModels", "capacity")
_CAPACITY: tuple[tuple[str, Callable[[ReplicaHealth], int | None]], ...] = (
    ("kvCacheTokens", lambda health: health.kv_cache_tokens),
    ("maxModelLen", lambda health: health.max_model_len),
    ("concurrency", lambda health: health.concurrency),
)


def engine_info(assessment: Assessment) -> dict[str, Any]:
    """Return `version`, `servedModels` and `capacity` of the status, None where no serving engine reports them.

    The values of the previous status stay until this operator process has probed every serving replica.
    """
    inputs = assessment.inputs
    answering = _answering(assessment)
    if len(answering) < len(assessment.serving) and any(inputs.previous.get(field) for field in _FIELDS):
        return {field: inputs.previous.get(field) for field in _FIELDS}
    return {
        "version": _versions(answering) or None,
        "servedModels": _models(answering) or None,
        "capacity": _capacity(answering) or None,
    }


def _answering(assessment: Assessment) -> list[ReplicaHealth]:
    """Return the healthy probe results of the serving replicas."""
    results = (assessment.inputs.health.get(replica.pod) for replica in assessment.serving)
    return [health for health in results if health is not None and health.is_healthy]


def _versions(answering: Iterable[ReplicaHealth]) -> str:
    """Return the versions in ascending order: during a rollout there are two."""

    def order(version: str) -> tuple[list[int], str]:
        return [int(part) for part in re.findall(r"\d{1,9}", version)], version

    versions = {health.version for health in answering if health.version}
    return one_line(", ".join(sorted(versions, key=order)))


def _models(answering: Iterable[ReplicaHealth]) -> list[str]:
    names = {one_line(name, _MODEL_NAME_LENGTH) for health in answering for name in health.served_models}
    return sorted(names)[:_MAX_MODELS]


def _capacity(answering: list[ReplicaHealth]) -> dict[str, int]:
    """Return the smallest value of any serving engine for each field."""
    smallest = {}
    for field, read in _CAPACITY:
        values = [value for health in answering if (value := read(health)) is not None]
        if values:
            smallest[field] = min(values)
    return smallest
