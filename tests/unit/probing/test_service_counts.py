"""Requests, failures and slow requests in recorded and in broken metrics."""

from __future__ import annotations

import pytest

from tests.helpers.fake_vllm import RECORDED_METRICS
from vllm_operator.probing.service_counts import ServiceCounts, parse_service_counts

METRICS = b"""\
http_requests_total{handler="/v1/completions",method="POST",status="2xx"} 90.0
http_requests_total{handler="/v1/chat/completions",method="POST",status="5xx"} 6.0
http_requests_total{handler="/v1/completions",method="POST",status="4xx"} 4.0
http_requests_total{handler="/health",method="GET",status="5xx"} 50.0
vllm:e2e_request_latency_seconds_bucket{engine="0",le="10.0",model_name="m"} 70.0
vllm:e2e_request_latency_seconds_bucket{engine="0",le="30.0",model_name="m"} 80.0
vllm:e2e_request_latency_seconds_bucket{engine="0",le="60.0",model_name="m"} 85.0
vllm:e2e_request_latency_seconds_bucket{engine="0",le="+Inf",model_name="m"} 88.0
"""


def test_post_requests_and_those_surely_above_the_limit_are_counted() -> None:
    assert parse_service_counts(METRICS, 30) == ServiceCounts(100, 6, 88, 8)
    assert parse_service_counts(METRICS, 31) == ServiceCounts(100, 6, 88, 3)
    assert parse_service_counts(METRICS, 100) == ServiceCounts(100, 6, 88, 0)


def test_recorded_metrics_of_vllm_are_read() -> None:
    counts = parse_service_counts(RECORDED_METRICS.encode(), 30)

    assert counts is not None
    assert counts.requests > 0
    assert counts.finished > 0
    assert counts.failed == counts.slow == 0


def test_engines_of_one_replica_are_summed() -> None:
    second = METRICS.replace(b'engine="0"', b'engine="1"').split(b"\n")[4:]

    assert parse_service_counts(METRICS + b"\n".join(second), 30) == ServiceCounts(100, 6, 176, 16)


@pytest.mark.parametrize("value", [b"nan", b"-1", b"inf", b"1e300", b"many", b""])
def test_junk_gives_no_counts(value: bytes) -> None:
    assert parse_service_counts(METRICS.replace(b"90.0", value), 30) is None
    assert parse_service_counts(METRICS.replace(b"88.0", value), 30) is None


def test_replica_without_requests_has_none() -> None:
    assert parse_service_counts(b"", 30) == ServiceCounts()


def test_difference_of_two_samples_starts_again_with_the_process() -> None:
    before, after = ServiceCounts(10, 1, 9, 2), ServiceCounts(15, 1, 12, 2)

    assert after.since(before) == ServiceCounts(5, 0, 3, 0)
    assert ServiceCounts(3, 1, 2, 0).since(before) == ServiceCounts(3, 1, 2, 0)
