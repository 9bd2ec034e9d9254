"""The load in `/metrics`, of recorded releases and of bodies that hold junk."""

from __future__ import annotations

import pytest

from tests.helpers.paths import DATA
from vllm_operator.probing.replica_load import RequestLoad, parse_replica_load

TWO_ENGINES = b"""\
vllm:num_requests_running{engine="0"} 3.0
vllm:num_requests_running{engine="1"} 4.0
vllm:num_requests_waiting{engine="0"} 0.0
vllm:num_requests_waiting{engine="1"} 2.0
vllm:num_requests_waiting_by_reason{engine="0",reason="capacity"} 9.0
vllm:kv_cache_usage_perc{engine="0"} 0.25
vllm:kv_cache_usage_perc{engine="1"} 0.5
vllm:request_success_total{engine="0",finished_reason="stop"} 5.0
vllm:request_success_total{engine="0",finished_reason="length"} 6.0
"""


def test_engines_are_summed_and_the_fullest_cache_counts() -> None:
    load = parse_replica_load(TWO_ENGINES)

    assert load == RequestLoad(running=7.0, waiting=2.0, kv_cache_usage=0.5, finished=11.0)
    assert load.requests == 9.0


def test_recorded_metrics_of_an_idle_engine() -> None:
    load = parse_replica_load((DATA / "vllm-0.32-metrics.txt").read_bytes())

    assert load is not None
    assert (load.running, load.waiting, load.kv_cache_usage) == (0.0, 0.0, 0.0)
    assert load.finished >= 1


def test_name_of_the_kv_cache_before_0_10() -> None:
    load = parse_replica_load(TWO_ENGINES.replace(b"kv_cache_usage_perc", b"gpu_cache_usage_perc"))

    assert load is not None
    assert load.kv_cache_usage == 0.5


def test_engine_without_a_kv_cache() -> None:
    load = parse_replica_load(b"vllm:num_requests_running 1.0\nvllm:num_requests_waiting 0.0\n")

    assert load == RequestLoad(1.0, 0.0)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"process_open_fds 30.0\n",
        b"vllm:num_requests_running 1.0\n",
        b"vllm:num_requests_running nan\nvllm:num_requests_waiting 0\n",
        b"vllm:num_requests_running inf\nvllm:num_requests_waiting 0\n",
        b"vllm:num_requests_running -1\nvllm:num_requests_waiting 0\n",
        b"vllm:num_requests_running 1e12\nvllm:num_requests_waiting 0\n",
        b"vllm:num_requests_running many\nvllm:num_requests_waiting 0\n",
    ],
)
def test_body_without_a_valid_load_has_none(body: bytes) -> None:
    assert parse_replica_load(body) is None


def test_cache_usage_above_one_is_left_out() -> None:
    load = parse_replica_load(b"vllm:num_requests_running 1\nvllm:num_requests_waiting 0\nvllm:kv_cache_usage_perc 7\n")

    assert load == RequestLoad(1.0, 0.0)
