"""The operator's probes and its judgement of stalls, for each kind of server that a CPU can run.

Real servers of vLLM on loopback, with tiny random models. The intervals and deadlines are those of the operator, but
for the deadline of a synthetic completion where a test waits for it.
"""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from collections import Counter
from collections.abc import Callable

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.engine_kinds.conftest import Served
from tests.stalled_engine.observer import observing
from tools.localcluster import settings
from vllm_operator.probing.engine_counters import EngineCounters
from vllm_operator.probing.http import Content, ReplicaClient, UnexpectedStatusError, new_session
from vllm_operator.probing.responses import METRICS_LIMIT
from vllm_operator.probing.smallest_requests import NOT_SERVED, smallest_requests
from vllm_operator.probing.synthetic_completion import CompletionResult, SyntheticCompletion, read_counters

WATCHED_SECONDS = 32.0
"""Seconds for which each server is watched while it is idle: a completion with `Always`, and samples after it."""
DEADLINE_SECONDS = 8.0
"""Seconds without an answer after which these tests call a suspended engine stalled. A tiny model answers in one."""
ANSWER_SECONDS = 60.0
"""Seconds for an answer on a busy machine: the first one of a model compiles."""

Record = Callable[[str, object], None]


async def complete(
    served: Served, deadline: float = ANSWER_SECONDS, engine: str | None = None
) -> tuple[CompletionResult, EngineCounters]:
    """Return the result of a synthetic completion, and the counters before it."""
    session = new_session()
    try:
        client = ReplicaClient(session, served.engine.url, ANSWER_SECONDS)
        before = await read_counters(client)
        assert before is not None
        completion = SyntheticCompletion(client, served.kind.names[0], before, engine, deadline, poll=1.0)
        return await completion.request(), before
    finally:
        await session.close()


async def test_replica_serves_under_each_name_and_is_never_called_stalled(
    replica: Served, record_property: Record
) -> None:
    kind, engine = replica.kind, replica.engine
    async with observing(engine.url, "Always", interval=5.0, names=kind.names) as observer:
        await asyncio.sleep(WATCHED_SECONDS)
        health, reasons, verdicts = observer.health, observer.reasons, Counter(observer.verdicts)
    report(record_property, served=health.served_models, verdicts=dict(verdicts), tokens=health.kv_cache_tokens)
    assert reasons == ["Serving"]
    assert set(verdicts) == {"Answered"}
    assert set(health.served_models) == {*kind.names, *kind.listed}
    assert health.version == settings.VLLM


async def test_smallest_request_is_served_by_the_path_of_its_kind(replica: Served, record_property: Record) -> None:
    statuses = await answers(replica)
    first = next(path for path, status in statuses.items() if status not in NOT_SERVED)
    report(record_property, statuses=statuses)
    assert (first, statuses[first]) == (replica.kind.path, 200)


async def answers(replica: Served) -> dict[str, int]:
    """Return the status of each of the smallest requests."""
    session = new_session()
    try:
        client = ReplicaClient(session, replica.engine.url, ANSWER_SECONDS)
        requests = smallest_requests(replica.kind.names[0])
        return {path: await status(client, path, content) for path, content in requests}
    finally:
        await session.close()


async def status(client: ReplicaClient, path: str, content: Content) -> int:
    try:
        await client.post(path, content, METRICS_LIMIT, ANSWER_SECONDS)
    except UnexpectedStatusError as error:
        return error.status
    return 200


def test_request_of_a_client_moves_the_counters(replica: Served) -> None:
    path, body = replica.kind.request
    before = replica.engine.metric("vllm:prompt_tokens_total")
    content = Content(json.dumps(body).encode()) if body else dict(smallest_requests("m"))[path]
    request = urllib.request.Request(replica.engine.url + path, content.data, {"content-type": content.type})
    with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:
        assert answer.status == 200
    deadline = time.monotonic() + ANSWER_SECONDS
    while replica.engine.metric("vllm:prompt_tokens_total") <= before:
        assert time.monotonic() < deadline
        time.sleep(0.2)


async def test_suspended_engine_is_stalled_and_works_again_when_resumed(
    replica: Served, record_property: Record
) -> None:
    replica.engine.suspend()
    stalled, _ = await complete(replica, DEADLINE_SECONDS)
    replica.engine.resume()
    resumed, _ = await complete(replica)
    report(record_property, suspended=stalled.verdict, resumed=resumed.verdict)
    assert (stalled.verdict, resumed.verdict) == ("Stalled", "Answered")


async def test_each_engine_is_counted_and_tested_alone(replica: Served, record_property: Record) -> None:
    if replica.kind.engines == 1:
        pytest.skip("one engine")
    moved = {}
    for engine in map(str, range(replica.kind.engines)):
        result, before = await complete(replica, engine=engine)
        assert result.verdict == "Answered"
        after = await settled(replica, before)
        moved[engine] = [name for name in after.progress if after.progress[name] != before.progress[name]]
    report(record_property, moved=moved)
    assert moved == {name: [name] for name in map(str, range(replica.kind.engines))}


async def settled(replica: Served, before: EngineCounters) -> EngineCounters:
    """Return the counters once those of an engine have moved."""
    session = new_session()
    try:
        client = ReplicaClient(session, replica.engine.url, ANSWER_SECONDS)
        async with asyncio.timeout(ANSWER_SECONDS):
            while True:
                after = await read_counters(client)
                if after is not None and after.progress != before.progress:
                    return after
                await asyncio.sleep(0.2)
    finally:
        await session.close()


async def test_capacity_is_the_sum_over_the_engines(replica: Served, record_property: Record) -> None:
    async with observing(replica.engine.url, names=replica.kind.names) as observer:
        health = observer.health
    series = [
        sample.labels
        for family in text_string_to_metric_families(replica.engine.get("/metrics"))
        for sample in family.samples
        if sample.name == "vllm:cache_config_info"
    ]
    tokens = sum(int(float(labels["kv_cache_size_tokens"])) for labels in series if is_number(labels))
    report(record_property, tokens=health.kv_cache_tokens, engines=len(series))
    assert len(series) == replica.kind.engines
    assert health.kv_cache_tokens == (tokens or None), "an encoder has no KV cache"


def is_number(labels: dict[str, str]) -> bool:
    return labels.get("kv_cache_size_tokens", "None") != "None"


def report(record_property: Record, **figures: object) -> None:
    """Write figures to the test's report, and print them."""
    for name, value in figures.items():
        record_property(name, value)
        print(f"{name}: {value}")
