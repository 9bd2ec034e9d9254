"""A bucket gives its tokens at once, and then one after each interval."""

from __future__ import annotations

from tests.helpers.fakes import FakeClock
from vllm_operator.kube.token_bucket import TokenBucket


def test_tokens_come_back_one_by_one_up_to_the_capacity() -> None:
    clock = FakeClock()
    bucket = TokenBucket(2, 10.0, clock)
    assert bucket.is_full
    assert [bucket.take(), bucket.take(), bucket.take()] == [True, True, False]
    assert not bucket.is_full

    clock.now += 9.9
    assert not bucket.has_token()
    clock.now += 0.2
    assert bucket.has_token()
    assert [bucket.take(), bucket.take()] == [True, False]

    clock.now += 1000
    assert bucket.is_full
    assert [bucket.take(), bucket.take(), bucket.take()] == [True, True, False]
