"""The measured releases, and what follows from them for a release that was measured, lies between two, or is newer."""

from __future__ import annotations

import pytest

from tests.helpers.specs import spec
from vllm_operator.api.engine import flag_fields
from vllm_operator.vllm.arguments import COUNT_FLAGS, DRAIN_FLAG, MODEL_FLAGS, supports_drain
from vllm_operator.vllm.known_release import KnownRelease, flag_history, known_release, nearest_release
from vllm_operator.vllm.metric_series import metric_names
from vllm_operator.vllm.releases import ReleaseNumber, load_release, release_numbers
from vllm_operator.vllm.removed_flags import REPLACEMENTS

NEEDED = [(0, 9), (0, 11), (0, 14), (0, 18), (0, 25), (0, 32)]
ENDPOINTS = {"GET /health", "GET /v1/models", "GET /version", "GET /metrics", "POST /v1/completions"}


def of(version: str) -> KnownRelease:
    """What is known of a version."""
    found = known_release(spec(version=version))
    assert found
    return found


def test_supported_releases_are_measured() -> None:
    assert {number[:2] for number in release_numbers()} >= set(NEEDED)


@pytest.mark.parametrize("number", release_numbers())
def test_release_takes_what_the_operator_passes(number: ReleaseNumber) -> None:
    flags = load_release(number).flags

    assert flags.keys() >= {"--model", *flag_fields().values(), *MODEL_FLAGS, *COUNT_FLAGS}
    assert flags["--served-model-name"].nargs in {"+", "*"}
    assert flags["--enable-prefix-caching"].negatable
    assert flags["--enable-chunked-prefill"].negatable


@pytest.mark.parametrize("number", release_numbers())
def test_release_exports_what_alerts_ask_for(number: ReleaseNumber) -> None:
    names = vars(metric_names(number[:2])).values()

    assert {name.removesuffix("_bucket") for name in names} <= load_release(number).metrics.keys()


@pytest.mark.parametrize("number", [number for number in release_numbers() if load_release(number).source == "server"])
def test_server_that_was_asked_has_the_endpoints_that_are_probed(number: ReleaseNumber) -> None:
    assert set(load_release(number).endpoints) >= ENDPOINTS


@pytest.mark.parametrize("number", release_numbers())
def test_running_requests_are_drained_where_the_flag_exists(number: ReleaseNumber) -> None:
    version = ".".join(map(str, number))

    assert supports_drain(spec(version=version)) == (DRAIN_FLAG in load_release(number).flags)


def test_measured_release_is_known_for_sure() -> None:
    assert (of("0.32.0").measured, of("0.32.0").complete) == (True, True)
    assert of("0.32").measured


def test_release_between_two_takes_what_either_takes() -> None:
    between = of("0.25.0")

    assert (between.measured, between.complete) == (False, True)
    assert between.flags.keys() >= load_release((0, 25, 1)).flags.keys()
    assert between.flags.keys() >= nearest_release((0, 24)).flags.keys()
    assert "--max-model-len" in between.flags


def test_newer_release_may_take_anything() -> None:
    newer = of("0.99.0")

    assert (newer.complete, newer.newest) == (False, str(nearest_release(None)))


def test_older_release_may_take_anything() -> None:
    assert not of("0.1.0").complete
    assert nearest_release((0, 1)).number == release_numbers()[0]


def test_nothing_is_known_of_an_image_without_a_version() -> None:
    assert known_release(spec(image="private/vllm:latest")) is None


def test_metrics_follow_the_nearest_release_that_is_not_newer() -> None:
    assert nearest_release((0, 32)).number == (0, 32, 0)
    assert nearest_release((0, 99)) is nearest_release(None)


@pytest.mark.parametrize("flag", REPLACEMENTS)
def test_no_advice_is_given_on_a_flag_that_vllm_still_has(flag: str) -> None:
    assert flag not in nearest_release(None).flags


def test_tables_tell_when_a_flag_came_and_went() -> None:
    assert flag_history("--max-model-len").removed == flag_history("--max-model-len").since == ""
    assert flag_history("--use-v2-block-manager").removed.startswith(("in 0.", "between 0."))
    assert flag_history(DRAIN_FLAG).since.startswith(("in 0.", "between 0."))
    assert flag_history("--no-such-flag").since == ""
