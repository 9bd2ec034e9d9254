"""What the caches hold of one namespace is bounded, and so are the log lines about it."""

from __future__ import annotations

import logging

import pytest

from tests.helpers.fakes import FakeClock
from vllm_operator.informers import cache_budget as module
from vllm_operator.informers.cache_budget import (
    ENTRY_BYTES,
    LOG_INTERVAL_SECONDS,
    MAX_CACHE_BYTES,
    MAX_LOGGED_NAMESPACES,
    MAX_NAMESPACE_BYTES,
    CacheBudget,
    UnreadLog,
)


def test_number_of_objects_is_bounded_by_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_NAMESPACE_OBJECTS", 2)
    budget = CacheBudget()
    budget.add("a", 1)
    assert not budget.lack_of_place("a")
    budget.add("a", 1)
    assert "objects of a namespace" in budget.lack_of_place("a")
    assert not budget.lack_of_place("b")
    budget.remove("a", 1)
    assert not budget.lack_of_place("a")


def test_bytes_are_bounded_by_namespace() -> None:
    budget = CacheBudget()
    budget.add("a", MAX_NAMESPACE_BYTES - 10)
    assert not budget.lack_of_bytes("a", 10)
    assert "objects of its namespace" in budget.lack_of_bytes("a", 11)
    assert not budget.lack_of_bytes("b", 11)
    budget.remove("a", MAX_NAMESPACE_BYTES - 10)
    assert not budget.lack_of_bytes("a", 11)


def fill(budget: CacheBudget, namespace: str, size: int) -> int:
    """Add objects of a size until one is refused; return the bytes that they need."""
    count = 0
    while not budget.lack_of_place(namespace) and not budget.lack_of_bytes(namespace, size):
        budget.add(namespace, size)
        count += 1
    return count * (size + ENTRY_BYTES)


@pytest.mark.parametrize("size", [300, 3000, 100_000])
@pytest.mark.parametrize("namespaces", [1, 8, 40])
def test_all_namespaces_together_are_bounded_and_each_gets_a_share(size: int, namespaces: int) -> None:
    budget = CacheBudget()
    held = [fill(budget, f"hostile-{number}", size) for number in range(namespaces)]

    assert sum(held) <= MAX_CACHE_BYTES
    share = fill(budget, "late", 300)
    assert share >= min(50 * 1024**2, (MAX_CACHE_BYTES - sum(held)) / 4 - 4 * ENTRY_BYTES)
    if namespaces <= 8:
        assert share > 5 * 1024**2


def test_share_that_is_given_back_can_be_taken_again() -> None:
    budget = CacheBudget()
    for number in range(40):
        fill(budget, f"hostile-{number}", 100_000)
    assert "share of that" in budget.lack_of_bytes("late", 300_000)
    for _ in range(int(MAX_CACHE_BYTES / 8 / 101_024)):
        budget.remove("hostile-0", 100_000)
    assert not budget.lack_of_bytes("late", 300_000)


def test_objects_are_logged_by_name_and_then_counted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    clock = FakeClock()
    log = UnreadLog(clock)
    for number in range(5):
        log.log("Pod", "llm", f"p{number}", "it is too large")
    log.log("Pod", "other", "q", "it is too large")
    clock.now += LOG_INTERVAL_SECONDS
    log.log("Pod", "llm", "p5", "it is too large")

    assert caplog.messages == [
        "Pod llm/p0 is not read: it is too large",
        "Pod other/q is not read: it is too large",
        "Pod llm/p5 is not read: it is too large (4 more in this namespace since the last line)",
    ]


def test_memory_of_the_log_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    log = UnreadLog(FakeClock())
    for number in range(2 * MAX_LOGGED_NAMESPACES):
        log.log("Pod", str(number), "p", "r")
        log.log("Pod", str(number), "p", "r")
    assert len(log._last) == len(log._since) == MAX_LOGGED_NAMESPACES
