"""Parse vLLM's answers."""

from __future__ import annotations

import pytest

from tests.helpers.fake_vllm import RECORDED_METRICS
from vllm_operator.probing.responses import ReplicaCapacity, parse_capacity, parse_models, parse_version


def test_recorded_metrics_hold_tokens_and_concurrency():
    assert parse_capacity(RECORDED_METRICS.encode()) == ReplicaCapacity(kv_cache_tokens=2_097_152, concurrency=2048)


def test_engines_of_a_data_parallel_replica_add_up():
    series = 'vllm:cache_config_info{{engine="{}",kv_cache_max_concurrency="4.5",kv_cache_size_tokens="1000"}} 1.0\n'
    assert parse_capacity((series.format(0) + series.format(1)).encode()) == ReplicaCapacity(2000, 8)


def test_older_version_without_tokens_counts_blocks():
    assert parse_capacity(b'vllm:cache_config_info{block_size="16",num_gpu_blocks="100"} 1.0\n') == ReplicaCapacity(
        1600, None
    )


def test_blocks_of_an_older_version_are_those_of_all_engines():
    """It writes the sum into the series of each engine."""
    series = 'vllm:cache_config_info{{block_size="16",engine="{}",num_gpu_blocks="100"}} 1.0\n'
    assert parse_capacity((series.format(0) + series.format(1)).encode()) == ReplicaCapacity(1600, None)


def test_model_without_a_kv_cache_has_no_capacity():
    """An encoder has one block for no tokens; the labels are those of vLLM 0.32."""
    labels = 'block_size="128",kv_cache_max_concurrency="None",kv_cache_size_tokens="None",num_gpu_blocks="1"'
    assert parse_capacity(f"vllm:cache_config_info{{{labels}}} 1.0\n".encode()) == ReplicaCapacity(None, None)


@pytest.mark.parametrize("value", ["None", "", "nan", "inf", "-1", "1e300", "many"])
def test_junk_labels_are_no_capacity(value: str):
    body = f'vllm:cache_config_info{{kv_cache_size_tokens="{value}",kv_cache_max_concurrency="{value}"}} 1.0\n'
    assert parse_capacity(body.encode()) == ReplicaCapacity(None, None)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"7",
        b"null",
        b'{"data": {}}',
        b'{"data": "x"}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"data": [' * 9000,
    ],
)
def test_body_that_is_no_list_of_models_is_none(body: bytes):
    assert parse_models(body) is None


def test_entries_that_are_no_models_are_left_out():
    models = parse_models(
        b'{"data": [7, {}, {"id": 3}, {"id": "a", "max_model_len": true}, {"id": "b", "max_model_len": 9}]}'
    )
    assert models is not None
    assert models.names == ("a", "b")
    assert models.max_model_lens == {"b": 9}


@pytest.mark.parametrize(
    "body", [b'{"version": 3}', b"[]", b"junk", b'{"version": "a b"}', b'{"version": "' + b"9" * 999 + b'"}']
)
def test_odd_version_is_none(body: bytes):
    assert parse_version(body) is None


def test_version_of_a_development_build_is_read():
    assert parse_version(b'{"version": "0.32.1.dev12+g1a2b3c4.cpu"}') == "0.32.1.dev12+g1a2b3c4.cpu"


@pytest.mark.parametrize("item", [b"{}", b"[]", b"[[]]", b'{"a":{}}', b'{"id":"m"}'])
def test_body_of_many_parts_is_not_parsed(item: bytes):
    assert parse_models(b'{"data":[' + b",".join([item] * 100_000) + b"]}") is None


def test_thousands_of_adapters_are_listed():
    adapter = b'{"id":"adapter-%d","object":"model","created":1,"owned_by":"vllm","permission":[{"id":"p","a":1}]}'
    models = parse_models(b'{"data":[' + b",".join(adapter % index for index in range(4000)) + b"]}")
    assert models is not None
    assert len(models.names) == 4000


@pytest.mark.parametrize("number", [2**63, 2**64 - 1, 10**400, -1, 0])
def test_length_that_no_status_can_hold_is_unknown(number: int):
    models = parse_models(b'{"data":[{"id":"m","max_model_len":%d}]}' % number)
    assert models is None or models.max_model_lens == {}


def test_largest_length_that_a_status_can_hold_is_read():
    models = parse_models(b'{"data":[{"id":"m","max_model_len":%d}]}' % (2**63 - 1))
    assert models is not None
    assert models.max_model_lens == {"m": 2**63 - 1}


@pytest.mark.parametrize(
    "labels",
    [
        'kv_cache_size_tokens="9007199254740991",kv_cache_max_concurrency="9007199254740991"',
        'num_gpu_blocks="9007199254740991",block_size="9007199254740991"',
    ],
)
def test_sum_that_no_status_can_hold_is_unknown(labels: str):
    body = "".join(f'vllm:cache_config_info{{engine="{engine}",{labels}}} 1.0\n' for engine in range(1024))
    capacity = parse_capacity(body.encode())
    for number in (capacity.kv_cache_tokens, capacity.concurrency):
        assert number is None or number < 2**63


def test_product_that_no_status_can_hold_is_unknown():
    labels = b'num_gpu_blocks="9007199254740991",block_size="9007199254740991"'
    assert parse_capacity(b"vllm:cache_config_info{%b} 1.0\n" % labels) == ReplicaCapacity(None, None)
