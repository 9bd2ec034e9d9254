"""The measured releases: they have the flags, metrics and endpoints that the operator needs."""

from __future__ import annotations

import pytest

from tests.helpers.specs import spec
from vllm_operator.api.engine import flag_fields
from vllm_operator.vllm.arguments import COUNT_FLAGS, DRAIN_FLAG, MODEL_FLAGS, supports_drain
from vllm_operator.vllm.cli_parser import CliParser
from vllm_operator.vllm.metric_series import metric_names
from vllm_operator.vllm.releases import ReleaseNumber, load_release, release_numbers

NEEDED = [(0, 9), (0, 11), (0, 14), (0, 18), (0, 25), (0, 32), (0, 33)]
ENDPOINTS = {"GET /health", "GET /v1/models", "GET /version", "GET /metrics", "POST /v1/completions"}


def test_supported_releases_are_measured() -> None:
    assert {number[:2] for number in release_numbers()} >= set(NEEDED)


@pytest.mark.parametrize("number", release_numbers())
def test_release_has_the_flags_that_the_operator_passes(number: ReleaseNumber) -> None:
    flags = load_release(number).flags

    assert flags.keys() >= {"--model", *flag_fields().values(), *MODEL_FLAGS, *COUNT_FLAGS}
    assert flags["--served-model-name"].nargs in {"+", "*"}
    assert flags["--enable-prefix-caching"].negatable
    assert flags["--enable-chunked-prefill"].negatable


@pytest.mark.parametrize("number", release_numbers())
def test_release_exports_the_metrics_of_the_alerts(number: ReleaseNumber) -> None:
    names = vars(metric_names(number[:2])).values()

    assert {name.removesuffix("_bucket") for name in names} <= load_release(number).metrics.keys()


@pytest.mark.parametrize("number", [number for number in release_numbers() if load_release(number).source == "server"])
def test_measured_server_has_the_probed_endpoints(number: ReleaseNumber) -> None:
    assert set(load_release(number).endpoints) >= ENDPOINTS


@pytest.mark.parametrize("number", release_numbers())
def test_running_requests_are_drained_where_the_flag_exists(number: ReleaseNumber) -> None:
    version = ".".join(map(str, number))

    assert supports_drain(spec(version=version)) == (DRAIN_FLAG in load_release(number).flags)


@pytest.mark.parametrize("written", ["--disable-lora", "--no-enable-lora"])
def test_opposite_of_a_switch_sets_it_to_false(written: str) -> None:
    """From 0.33 on, `--disable-x` negates `--enable-x`, and the older `--no-enable-x` stays but leaves the help."""
    (argument,) = CliParser(load_release((0, 33, 0)).flags).parse([written])

    assert argument.flag is not None
    assert (argument.flag.name, argument.negated) == ("--enable-lora", True)
