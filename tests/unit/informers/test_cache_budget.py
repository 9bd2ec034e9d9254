"""What the caches hold of one namespace is bounded, and so are the log lines about it."""

from __future__ import annotations

import logging

import pytest

from tests.helpers.fakes import FakeClock
from vllm_operator.informers import cache_budget as module
from vllm_operator.informers.cache_budget import (
    LOG_INTERVAL_SECONDS,
    MAX_LOGGED_NAMESPACES,
    MAX_NAMESPACE_BYTES,
    CacheBudget,
    UnreadLog,
)


def test_number_of_objects_is_bounded_by_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_NAMESPACE_OBJECTS", 2)
    budget = CacheBudget()
    budget.add("a", 1)
    assert budget.has_place("a")
    budget.add("a", 1)
    assert not budget.has_place("a")
    assert budget.has_place("b")
    budget.remove("a", 1)
    assert budget.has_place("a")


def test_bytes_are_bounded_by_namespace() -> None:
    budget = CacheBudget()
    budget.add("a", MAX_NAMESPACE_BYTES - 10)
    assert budget.has_bytes("a", 10)
    assert not budget.has_bytes("a", 11)
    assert budget.has_bytes("b", 11)
    budget.remove("a", MAX_NAMESPACE_BYTES - 10)
    assert budget.has_bytes("a", 11)


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
