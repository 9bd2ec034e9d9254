"""What the serving replicas say of themselves: version, models, capacity."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from vllm_operator.diagnosis.log_text import one_line
from vllm_operator.probing.health import ReplicaHealth
from vllm_operator.status.assessment import Assessment

_MAX_MODELS = 64
_FIELDS = ("version", "servedModels", "capacity")
_CAPACITY: tuple[tuple[str, Callable[[ReplicaHealth], int | None]], ...] = (
    ("kvCacheTokens", lambda health: health.kv_cache_tokens),
    ("maxModelLen", lambda health: health.max_model_len),
    ("concurrency", lambda health: health.concurrency),
)


def engine_info(assessment: Assessment) -> dict[str, Any]:
    """`version`, `servedModels` and `capacity` of the status, None where no serving replica tells.

    While one of the serving replicas has not been asked since the operator started, what was known before stands.
    """
    healths = [assessment.inputs.health.get(replica.pod) for replica in assessment.serving]
    told = [health for health in healths if health is not None and health.healthy]
    previous = assessment.inputs.previous
    if len(told) < len(healths) and any(previous.get(field) for field in _FIELDS):
        return {field: previous.get(field) for field in _FIELDS}
    return {
        "version": _versions({health.version for health in told if health.version}) or None,
        "servedModels": _models(told) or None,
        "capacity": _capacity(told) or None,
    }


def _versions(versions: set[str]) -> str:
    """The versions in ascending order: two of them during a rollout."""

    def order(version: str) -> tuple[list[int], str]:
        return [int(part) for part in re.findall(r"\d{1,9}", version)], version

    return one_line(", ".join(sorted(versions, key=order)))


def _models(told: Iterable[ReplicaHealth]) -> list[str]:
    return sorted({one_line(name, 253) for health in told for name in health.served_models})[:_MAX_MODELS]


def _capacity(told: list[ReplicaHealth]) -> dict[str, int]:
    """The least that any serving replica holds."""
    least = {}
    for field, read in _CAPACITY:
        values = [value for health in told if (value := read(health)) is not None]
        if values:
            least[field] = min(values)
    return least
