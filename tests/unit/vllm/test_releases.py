"""The measured releases, and what follows from them for a release that was measured, lies between two, or is newer."""

from __future__ import annotations

import pytest

from tests.helpers.specs import spec
from vllm_operator.api.engine import flag_fields
from vllm_operator.vllm.arguments import COUNTS, DRAIN_FLAG, MODEL_FLAGS, drains
from vllm_operator.vllm.known_release import KnownRelease, history, known, nearest
from vllm_operator.vllm.metric_series import metric_names
from vllm_operator.vllm.releases import Number, numbers, release
from vllm_operator.vllm.removed_flags import INSTEAD

NEEDED = [(0, 9), (0, 11), (0, 14), (0, 18), (0, 25), (0, 32)]
ENDPOINTS = {"GET /health", "GET /v1/models", "GET /version", "GET /metrics", "POST /v1/completions"}


def of(version: str) -> KnownRelease:
    """What is known of a version."""
    found = known(spec(version=version))
    assert found
    return found


def test_supported_releases_are_measured() -> None:
    assert {number[:2] for number in numbers()} >= set(NEEDED)


@pytest.mark.parametrize("number", numbers())
def test_release_takes_what_the_operator_passes(number: Number) -> None:
    flags = release(number).flags

    assert flags.keys() >= {"--model", *flag_fields().values(), *MODEL_FLAGS, *COUNTS}
    assert flags["--served-model-name"].takes in {"+", "*"}
    assert flags["--enable-prefix-caching"].negatable
    assert flags["--enable-chunked-prefill"].negatable


@pytest.mark.parametrize("number", numbers())
def test_release_exports_what_alerts_ask_for(number: Number) -> None:
    names = vars(metric_names(number[:2])).values()

    assert {name.removesuffix("_bucket") for name in names} <= release(number).metrics.keys()


@pytest.mark.parametrize("number", [number for number in numbers() if release(number).source == "server"])
def test_server_that_was_asked_has_the_endpoints_that_are_probed(number: Number) -> None:
    assert set(release(number).endpoints) >= ENDPOINTS


@pytest.mark.parametrize("number", numbers())
def test_running_requests_are_drained_where_the_flag_exists(number: Number) -> None:
    version = ".".join(map(str, number))

    assert drains(spec(version=version)) == (DRAIN_FLAG in release(number).flags)


def test_measured_release_is_known_for_sure() -> None:
    assert (of("0.32.0").measured, of("0.32.0").complete) == (True, True)
    assert of("0.32").measured


def test_release_between_two_takes_what_either_takes() -> None:
    between = of("0.25.0")

    assert (between.measured, between.complete) == (False, True)
    assert between.flags.keys() >= release((0, 25, 1)).flags.keys()
    assert between.flags.keys() >= nearest((0, 24)).flags.keys()
    assert "--max-model-len" in between.flags


def test_newer_release_may_take_anything() -> None:
    newer = of("0.99.0")

    assert (newer.complete, newer.newest) == (False, str(nearest(None)))


def test_older_release_may_take_anything() -> None:
    assert not of("0.1.0").complete
    assert nearest((0, 1)).number == numbers()[0]


def test_nothing_is_known_of_an_image_without_a_version() -> None:
    assert known(spec(image="private/vllm:latest")) is None


def test_metrics_follow_the_nearest_release_that_is_not_newer() -> None:
    assert nearest((0, 32)).number == (0, 32, 0)
    assert nearest((0, 99)) is nearest(None)


@pytest.mark.parametrize("flag", INSTEAD)
def test_no_advice_is_given_on_a_flag_that_vllm_still_has(flag: str) -> None:
    assert flag not in nearest(None).flags


def test_tables_tell_when_a_flag_came_and_went() -> None:
    assert history("--max-model-len").dropped == history("--max-model-len").since == ""
    assert history("--use-v2-block-manager").dropped.startswith(("in 0.", "between 0."))
    assert history(DRAIN_FLAG).since.startswith(("in 0.", "between 0."))
    assert history("--no-such-flag").since == ""
