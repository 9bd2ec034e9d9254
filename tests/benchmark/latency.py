"""How long one server waits: apply to last child, a deleted child back, an edited field reverted."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Iterable

from tests.benchmark.loop import FastClient
from tests.benchmark.pacing import until
from tests.benchmark.subject import Subject

SAMPLES = 20
LONGEST_SECONDS = 20.0
PAUSE_SECONDS = 0.002


async def latencies(client: FastClient, subject: Subject, namespace: str) -> dict[str, dict[str, int]]:
    """Median and largest of 20 samples each, in milliseconds, in a namespace of their own."""
    await client.namespace(namespace)
    rows: dict[str, list[float]] = {"apply_to_last_child": [], "deleted_child_back": [], "edit_reverted": []}
    for index in range(SAMPLES):
        name = f"l{index}"
        rows["apply_to_last_child"].append(await _apply(client, subject, namespace, name))
        await asyncio.sleep(0.3)
        rows["deleted_child_back"].append(await _delete(client, subject, namespace, name))
        rows["edit_reverted"].append(await _edit(client, subject, namespace, name))
    return {row: spread(values) for row, values in rows.items()}


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
        return bool((await client.get(path))["spec"]["progressDeadlineSeconds"] != 77)

    started = time.monotonic()
    await client.merge(path, b'{"spec":{"progressDeadlineSeconds":77}}')
    await until(is_reverted, LONGEST_SECONDS, PAUSE_SECONDS)
    return time.monotonic() - started
