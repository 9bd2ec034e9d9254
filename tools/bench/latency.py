"""How long one server waits: apply to last child, a deleted child back, an edited field reverted."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence

import orjson

from tools.bench.loop import FastClient
from tools.bench.pacing import until
from tools.bench.subject import Subject

SAMPLES = 20
LONGEST_SECONDS = 20.0
PAUSE_SECONDS = 0.002
CALM_SECONDS = 0.3
"""Between the samples of repairs, for the cluster's own controllers."""
EDITED = 77
"""The edited value of `progressDeadlineSeconds`, by which `minimal_repair.py` recognizes the edit."""
NAMES = [f"l{index}" for index in range(SAMPLES)]


async def latencies(client: FastClient, subject: Subject, namespace: str) -> dict[str, dict[str, int]]:
    """Median and largest of 20 samples each, in milliseconds, in a namespace of their own."""
    await client.namespace(namespace)
    samples = []
    for name in NAMES:
        applied = {"apply_to_last_child": await _apply(client, subject, namespace, name)}
        samples.append(applied | await _repair(client, subject, namespace, name))
    return spreads(samples)


async def repairs(client: FastClient, subject: Subject, namespace: str) -> dict[str, dict[str, int]]:
    """Measure deletion and edit alone, with the servers that `latencies` left."""
    return spreads([await _repair(client, subject, namespace, name) for name in NAMES])


def spreads(samples: Sequence[Mapping[str, float]]) -> dict[str, dict[str, int]]:
    """Median and largest in milliseconds of each row of the samples."""
    return {row: spread(sample[row] for sample in samples) for row in samples[0]}


def spread(seconds: Iterable[float]) -> dict[str, int]:
    """Median and largest in milliseconds."""
    ordered = sorted(1000 * value for value in seconds)
    return {"p50": round(statistics.median(ordered)), "max": round(ordered[-1])}


async def _apply(client: FastClient, subject: Subject, namespace: str, name: str) -> float:
    names = {plural: f"{name}-cache" if plural == "persistentvolumeclaims" else name for plural in subject.children}

    async def is_complete() -> bool:
        paths = (f"{subject.path(namespace, plural)}/{child}" for plural, child in names.items())
        return None not in [await client.find(path) for path in paths]

    started = time.monotonic()
    await client.post(subject.path(namespace), subject.resource(namespace, name))
    await until(is_complete, LONGEST_SECONDS, PAUSE_SECONDS)
    return time.monotonic() - started


async def _repair(client: FastClient, subject: Subject, namespace: str, name: str) -> dict[str, float]:
    await asyncio.sleep(CALM_SECONDS)
    back = await _delete(client, subject, namespace, name)
    return {"deleted_child_back": back, "edit_reverted": await _edit(client, subject, namespace, name)}


async def _delete(client: FastClient, subject: Subject, namespace: str, name: str) -> float:
    path = f"{subject.path(namespace, 'services')}/{name}"
    uid = (await client.get(path))["metadata"]["uid"]

    async def is_back() -> bool:
        found = await client.find(path)
        return found is not None and found["metadata"]["uid"] != uid

    started = time.monotonic()
    await client.delete(path)
    await until(is_back, LONGEST_SECONDS, PAUSE_SECONDS)
    return time.monotonic() - started


async def _edit(client: FastClient, subject: Subject, namespace: str, name: str) -> float:
    path = f"{subject.path(namespace, 'deployments')}/{name}"

    async def is_reverted() -> bool:
        return bool((await client.get(path))["spec"]["progressDeadlineSeconds"] != EDITED)

    started = time.monotonic()
    await client.merge(path, orjson.dumps({"spec": {"progressDeadlineSeconds": EDITED}}))
    await until(is_reverted, LONGEST_SECONDS, PAUSE_SECONDS)
    return time.monotonic() - started
