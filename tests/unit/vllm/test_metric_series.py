"""The names of a server's series, and the pattern that selects its pods."""

from __future__ import annotations

import re

import pytest

from tests.helpers.monitored_servers import server
from vllm_operator.vllm.metric_series import metric_names, pod_name_pattern, server_series


@pytest.mark.parametrize(
    ("image", "spec", "expected"),
    [
        ("vllm/vllm-openai:v0.32.0", {}, "vllm:kv_cache_usage_perc"),
        ("vllm/vllm-openai:v0.10.0", {}, "vllm:kv_cache_usage_perc"),
        ("vllm/vllm-openai:v0.9.2", {}, "vllm:gpu_cache_usage_perc"),
        ("vllm/vllm-openai:v0.8.5", {}, "vllm:gpu_cache_usage_perc"),
        ("private/vllm:0.8.5", {}, "vllm:kv_cache_usage_perc"),
        ("private/vllm@sha256:" + "0" * 64, {}, "vllm:kv_cache_usage_perc"),
        ("private/vllm@sha256:" + "0" * 64, {"version": "0.8.5"}, "vllm:gpu_cache_usage_perc"),
    ],
)
def test_cache_metric_follows_the_version(image: str, spec: dict[str, str], expected: str) -> None:
    assert server_series(server(image=image, **spec)).names.kv_cache == expected


def test_unknown_version_is_taken_for_the_tested_release() -> None:
    assert metric_names(None) == metric_names((0, 32))


def generated(deployment: str, pod_hash: str = "5f9c6d7b84", suffix: str = "x2k7b") -> str:
    """Return the name of a pod like Kubernetes generates it: cut at 58 characters, then five more."""
    return f"{deployment}-{pod_hash}-"[:58] + suffix


@pytest.mark.parametrize("length", [1, 7, 45, 46, 47, 48, 56, 57, 58, 63])
@pytest.mark.parametrize("pod_hash", ["5f9c6d7b84", "84d9f6c5"])
def test_pod_pattern_matches_names_of_every_length(length: int, pod_hash: str) -> None:
    assert re.fullmatch(pod_name_pattern("m" * length), generated("m" * length, pod_hash))


@pytest.mark.parametrize("other", ["mistral-large", "mistral-b", "mis", "xmistral", "mistral-5f9c6d7b84"])
def test_pod_pattern_leaves_neighbours_out(other: str) -> None:
    assert not re.fullmatch(pod_name_pattern("mistral"), generated(other))


@pytest.mark.parametrize("pod", ["mistral-0", "mistral-warmup-x2k7b", "mistral-5f9c6d7b84", "mistral"])
def test_pod_pattern_leaves_pods_of_jobs_and_stateful_sets_out(pod: str) -> None:
    assert not re.fullmatch(pod_name_pattern("mistral"), pod)


def test_selector_has_namespace_pods_and_further_matchers() -> None:
    series = server_series(server("tiny", "llm"))

    assert series("up", 'job="x"') == f'up{{namespace="llm",pod=~"{series.pods}",job="x"}}'
