from __future__ import annotations

import pytest

from vllm_operator.client import CircuitBreakerConfig, CircuitOpen, InvalidRequest, RateLimitExceeded, ServerFailed
from vllm_operator.client.endpoints import EndpointPool

CONFIG = CircuitBreakerConfig(failure_threshold=2, recovery_timeout=30)


class FakeClock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def pool(clock: FakeClock) -> EndpointPool:
    return EndpointPool(["http://a", "http://b", "http://c"], CONFIG, clock=clock)


def fail(pool: EndpointPool, times: int = 1) -> str:
    url = ""
    for _ in range(times):
        lease = pool.acquire()
        url = lease.endpoint.url
        lease.failed(ServerFailed("x"))
        lease.close()
    return url


def test_least_busy_endpoint_is_chosen(pool: EndpointPool) -> None:
    urls = [pool.acquire().endpoint.url for _ in range(6)]

    assert sorted(urls) == ["http://a", "http://a", "http://b", "http://b", "http://c", "http://c"]


def test_idle_endpoints_take_turns(pool: EndpointPool) -> None:
    urls = set()
    for _ in range(3):
        lease = pool.acquire()
        urls.add(lease.endpoint.url)
        lease.succeeded()
        lease.close()

    assert len(urls) == 3


def test_closing_twice_counts_once(pool: EndpointPool) -> None:
    lease = pool.acquire()
    lease.close()
    lease.close()

    assert lease.endpoint.in_flight == 0


def test_endpoint_that_fails_fast_does_not_draw_the_requests(pool: EndpointPool, clock: FakeClock) -> None:
    failed = fail(pool)
    busy = [pool.acquire() for _ in range(8)]

    assert failed not in {lease.endpoint.url for lease in busy}
    clock.now += 1
    assert pool.acquire().endpoint.url == failed


def test_tried_and_unhealthy_endpoints_come_last(pool: EndpointPool) -> None:
    a, b, c = pool.endpoints
    a.healthy = False

    assert pool.acquire([b]).endpoint is c
    assert pool.acquire([b, c]).endpoint is a
    assert pool.has_other([b])
    assert not pool.has_other([b, c])


def test_all_breakers_open_is_an_error_with_the_time(clock: FakeClock) -> None:
    pool = EndpointPool(["http://a"], CONFIG, clock=clock)
    fail(pool, 2)

    with pytest.raises(CircuitOpen, match=r"http://a.*in 30\.0 s") as caught:
        pool.acquire()
    assert caught.value.retry_after == 30


def test_errors_of_the_caller_do_not_speak_against_the_endpoint(clock: FakeClock) -> None:
    changes: list[str] = []
    pool = EndpointPool(["http://a"], CONFIG, clock=clock, on_change=lambda url, old, new: changes.append(url))
    for error in (InvalidRequest("x"), RateLimitExceeded("x"), InvalidRequest("x")):
        lease = pool.acquire()
        lease.failed(error)
        lease.close()
    assert changes == []

    for _ in range(2):
        pool.acquire().broke()
    assert changes == ["http://a"]
