"""Revisions that serve worse than the one before, and evidence that is too weak for that."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.helpers.fake_vllm import FakeVLLM
from tests.unit.probing.bench import KEY, Bench, target
from vllm_operator.probing.service_counts import ServiceCounts
from vllm_operator.probing.service_quality import (
    MAX_REVISIONS,
    RevisionRecord,
    ServiceLimits,
    service_failure,
)
from vllm_operator.probing.targets import ProbeTarget

LIMITS = ServiceLimits(error_ratio=0.05, latency_seconds=30)
GOOD = ServiceCounts(requests=200, finished=200)


def record(counts: ServiceCounts, *, first: float = 0.0, last: float = 120.0) -> RevisionRecord:
    one = RevisionRecord(first, first)
    one.add(counts, last)
    return one


def failure(new: ServiceCounts, old: ServiceCounts = GOOD, *, seconds: float = 120.0, now: float = 130.0) -> str:
    return service_failure(record(new, last=seconds), record(old), LIMITS, now)


def test_errors_of_the_new_revision_alone_are_a_failure() -> None:
    text = failure(ServiceCounts(requests=40, failed=12, finished=28))

    assert "12 of 40 requests to the new replicas failed with a server error (limit 5%)" in text
    assert "0 of 200 to those before" in text


def test_latency_of_the_new_revision_alone_is_a_failure() -> None:
    text = failure(ServiceCounts(requests=100, finished=100, slow=9))

    assert "9 of 100 requests to the new replicas took longer than 30 s (limit 1%)" in text


@pytest.mark.parametrize(
    ("new", "old"),
    [
        (ServiceCounts(requests=4, failed=4), GOOD),
        (ServiceCounts(requests=200, failed=9), GOOD),
        (ServiceCounts(requests=40, failed=12), ServiceCounts(requests=100, failed=10)),
        (ServiceCounts(requests=40, failed=12), ServiceCounts()),
        (ServiceCounts(requests=40, failed=12), ServiceCounts(requests=6)),
        (ServiceCounts(requests=100, finished=100, slow=9), ServiceCounts(requests=99, finished=99, slow=2)),
        (ServiceCounts(requests=100, finished=100, slow=9), ServiceCounts(requests=20, finished=20)),
    ],
    ids=["few", "within the limit", "bad before", "unknown before", "few before", "slow before", "few to compare"],
)
def test_weak_evidence_is_no_failure(new: ServiceCounts, old: ServiceCounts) -> None:
    assert failure(new, old) == ""


def test_revision_is_judged_from_its_first_minute_to_its_tenth() -> None:
    bad = ServiceCounts(requests=40, failed=12)

    assert failure(bad, seconds=50, now=55) == ""
    assert failure(bad, seconds=590, now=595)
    assert failure(bad, seconds=590, now=601) == ""


def test_requests_older_than_five_minutes_do_not_count() -> None:
    one = RevisionRecord(0.0, 0.0)
    for second in range(0, 660, 10):
        one.add(ServiceCounts(requests=1), float(second))

    assert one.counts.requests == 30
    assert len(one.slots) == 10


def metrics(answered: int, failed: int = 0) -> bytes:
    line = 'http_requests_total{handler="/v1/completions",method="POST",status="%s"} %d.0\n'
    return (line % ("2xx", answered) + line % ("5xx", failed)).encode()


def judged(server: FakeVLLM, revision: str) -> ProbeTarget:
    return replace(target(server, f"pod-{revision}"), revision=revision, limits=LIMITS)


async def test_server_is_reported_when_a_new_revision_turns_bad(bench: Bench, vllm: FakeVLLM) -> None:
    async with FakeVLLM() as new:
        for minute in range(6):
            vllm.body["/metrics"] = metrics(50 * minute)
            bench.manager.sync(KEY, [judged(vllm, "old")])
            await bench.pass_time(30)
        bench.changes.clear()
        for minute in range(12):
            new.body["/metrics"] = metrics(10 * minute, 5 * minute)
            bench.manager.sync(KEY, [judged(new, "new")])
            await bench.pass_time(10)

        assert KEY in bench.changes
        assert "server error" in bench.manager.service_failure(KEY, "new")
        assert bench.manager.service_failure(KEY, "old") == ""
        assert bench.manager.service_failure(KEY, "") == ""
        bench.manager.forget(KEY)
        assert bench.manager.service_failure(KEY, "new") == ""


async def test_only_servers_with_limits_are_sampled(bench: Bench, vllm: FakeVLLM) -> None:
    bench.manager.sync(KEY, [replace(judged(vllm, "one"), limits=None)])
    await bench.pass_time(40)
    first = vllm.requests["/metrics"]
    bench.manager.sync(KEY, [judged(vllm, "one")])
    await bench.pass_time(40)

    assert first == 1  # the capacity
    assert vllm.requests["/metrics"] == 5


async def test_old_revisions_are_forgotten(bench: Bench, vllm: FakeVLLM) -> None:
    for number in range(MAX_REVISIONS + 3):
        bench.manager.sync(KEY, [judged(vllm, str(number))])
        await bench.pass_time(20)

    assert len(bench.manager._services._servers[KEY]) == MAX_REVISIONS
