from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext

import pytest

from vllm_operator.client import BreakerState, Observer, RequestInfo, RequestOutcome, ServerFailed
from vllm_operator.client.hooks import Observers

REQUEST = RequestInfo("chat", "m", False, 0.0)
OUTCOME = RequestOutcome("ok", None, None, 1.0, None, 1, "http://a")


class Recorder(Observer):
    def __init__(self) -> None:
        self.seen: list[str] = []

    def request_started(self, request: RequestInfo) -> None:
        self.seen.append("started")

    def request_headers(self, request: RequestInfo) -> Mapping[str, str]:
        return {"traceparent": "x"}

    def request_finished(self, request: RequestInfo, outcome: RequestOutcome) -> None:
        self.seen.append(outcome.status)


class Broken(Observer):
    def request_started(self, request: RequestInfo) -> None:
        raise RuntimeError("bug")


def test_all_observers_receive_everything_even_if_one_raises(caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder()
    observers = Observers([Broken(), recorder])

    observers.request_started(REQUEST)
    observers.first_token(REQUEST, 0.1)
    observers.request_retried(REQUEST, ServerFailed("x"), 1, 0.5)
    observers.breaker_changed("http://a", BreakerState.CLOSED, BreakerState.OPEN)
    observers.request_finished(REQUEST, OUTCOME)

    assert recorder.seen == ["started", "ok"]
    assert observers.request_headers(REQUEST) == {"traceparent": "x"}
    assert "the observer Broken raised" in caplog.text


def test_no_observers_are_false() -> None:
    assert not Observers()


def test_observer_is_included_while_the_block_runs() -> None:
    seen: list[str] = []

    class Noting(Observer):
        def request_started(self, request: RequestInfo) -> None:
            seen.append(request.model)

    observers, noting = Observers(), Noting()
    for model, included in (("before", False), ("within", True), ("after", False)):
        with observers.including(noting) if included else nullcontext():
            observers.request_started(RequestInfo("chat", model, False, 0.0))

    assert seen == ["within"]
    assert not observers
