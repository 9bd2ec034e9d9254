from __future__ import annotations

import json
from typing import Any

import pytest

from vllm_operator.api.gateway_access import Limit
from vllm_operator.gateway.limits import limiter as module
from vllm_operator.gateway.limits.limiter import MAX_REQUEST_SECONDS, Limiter


def limiter(*limits: dict[str, Any]) -> Limiter:
    return Limiter([Limit.model_validate(limit) for limit in limits])


def test_without_a_matching_rule_everything_is_allowed_without_headers() -> None:
    decision = limiter({"key": "bob", "requestsPerMinute": 1}).start("alice", "m", "r", 0)
    assert (decision.allowed, decision.headers) == (True, ())


def test_requests_are_counted_in_a_sliding_minute() -> None:
    found = limiter({"requestsPerMinute": 2})
    assert [found.start("a", "m", str(n), float(n)).allowed for n in range(4)] == [True, True, False, False]
    assert found.start("b", "m", "r", 4).allowed
    assert not found.start("a", "m", "r", 60).allowed
    assert found.start("a", "m", "r", 61).allowed
    assert not found.start("a", "m", "s", 61.5).allowed


def test_a_refused_request_counts_for_no_rule() -> None:
    found = limiter({"requestsPerMinute": 1}, {"model": "m", "requestsPerMinute": 10})
    found.start("a", "m", "1", 0)
    for number in range(20):
        assert not found.start("a", "m", f"x{number}", 1).allowed
    assert found.start("a", "m", "2", 61.5).allowed


def test_a_refusal_names_limit_and_delay() -> None:
    found = limiter({"requestsPerMinute": 1, "tokensPerMinute": 10})
    found.start("a", "m", "1", 0.0)
    decision = found.start("a", "m", "2", 30.0)
    headers = dict(decision.headers)
    assert headers["retry-after"] == "31"
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert headers["x-ratelimit-remaining-tokens"] == "10"
    error = json.loads(decision.body)["error"]
    assert error["message"] == "the limit of 1 requests a minute for this key is reached: try again in 31 s"


def test_tokens_are_charged_at_the_end() -> None:
    found = limiter({"tokensPerMinute": 100})
    assert found.start("a", "m", "1", 0).allowed
    found.end("a", "m", "1", 150, 1)
    assert not found.start("a", "m", "2", 2).allowed
    assert found.start("a", "m", "3", 62).allowed


def test_places_are_given_back_once_and_lost_ones_after_two_hours() -> None:
    found = limiter({"concurrent": 2})
    assert [found.start("a", "m", request, 0).allowed for request in ("1", "2", "3")] == [True, True, False]
    found.end("a", "m", "3", 0, 1)
    assert not found.start("a", "m", "4", 1).allowed
    found.end("a", "m", "1", 0, 1)
    found.end("a", "m", "1", 0, 1)
    assert [found.start("a", "m", request, 2).allowed for request in ("5", "6")] == [True, False]
    assert found.start("a", "m", "7", MAX_REQUEST_SECONDS + 1).allowed


def test_a_share_of_a_limit_may_be_used() -> None:
    found = limiter({"requestsPerMinute": 10})
    assert sum(found.start("a", "m", str(n), 0, 0.5).allowed for n in range(20)) == 5


def test_a_change_of_the_limits_keeps_what_was_counted() -> None:
    found = limiter({"requestsPerMinute": 2})
    found.start("a", "m", "1", 0)
    found.start("a", "m", "2", 0)
    found.configure([Limit.model_validate({"requestsPerMinute": 3})])
    assert [found.start("a", "m", str(n), 1).allowed for n in range(3, 6)] == [True, False, False]


def test_two_entries_for_one_place_count_a_request_once() -> None:
    limits = limiter({"requestsPerMinute": 3}, {"requestsPerMinute": 600})
    assert [limits.start("a", "m", str(i), 0.0).allowed for i in range(4)] == [True, True, True, False]
    limits = limiter({"tokensPerMinute": 100}, {"tokensPerMinute": 1000})
    limits.end("a", "m", "0", 60, 0.0)
    assert limits.start("a", "m", "1", 1.0).allowed


def test_many_other_keys_give_an_active_one_no_new_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_COUNTERS", 3)
    found = limiter({"requestsPerMinute": 1})
    assert found.start("a", "m", "r", 0).allowed
    for number in range(10):
        assert found.start(f"other-{number}", "m", "r", 1).allowed
        assert not found.start("a", "m", "r", 1).allowed
