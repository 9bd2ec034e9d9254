"""The flags of a release that was measured, that lies between two measured ones, or that is newer or older."""

from __future__ import annotations

from tests.helpers.specs import spec
from vllm_operator.vllm.arguments import DRAIN_FLAG
from vllm_operator.vllm.known_release import (
    KNOWN_RELEASES,
    KnownRelease,
    _release_of_number,
    flag_history,
    known_release,
    nearest_release,
)
from vllm_operator.vllm.releases import load_release, release_numbers


def of(version: str) -> KnownRelease:
    """Return the known release of a version."""
    found = known_release(spec(version=version))
    assert found
    return found


def test_measured_release_is_complete() -> None:
    assert (of("0.32.0").measured, of("0.32.0").complete) == (True, True)
    assert of("0.32").measured


def test_release_between_two_has_the_flags_of_both() -> None:
    between = of("0.25.0")

    assert (between.measured, between.complete) == (False, True)
    assert between.flags.keys() >= load_release((0, 25, 1)).flags.keys()
    assert between.flags.keys() >= nearest_release((0, 24)).flags.keys()
    assert "--max-model-len" in between.flags


def test_newer_release_may_have_any_flag() -> None:
    newer = of("0.99.0")

    assert (newer.complete, newer.newest) == (False, str(nearest_release(None)))


def test_older_release_may_have_any_flag() -> None:
    assert not of("0.1.0").complete
    assert nearest_release((0, 1)).number == release_numbers()[0]


def test_image_without_a_version_has_no_known_release() -> None:
    assert known_release(spec(image="private/vllm:latest")) is None


def test_nearest_release_is_not_newer() -> None:
    assert nearest_release((0, 32)).number == (0, 32, 0)
    assert nearest_release((0, 99)) is nearest_release(None)


def test_history_names_the_releases_in_which_a_flag_came_and_went() -> None:
    assert flag_history("--max-model-len").removed == flag_history("--max-model-len").since == ""
    assert flag_history("--use-v2-block-manager").removed.startswith(("in 0.", "between 0."))
    assert flag_history(DRAIN_FLAG).since.startswith(("in 0.", "between 0."))
    assert flag_history("--no-such-flag").since == ""


def test_releases_with_one_number_share_a_parser() -> None:
    assert of("0.32.0").cli_parser is of("0.32.0").cli_parser


def test_memory_of_releases_is_bounded() -> None:
    for patch in range(2 * KNOWN_RELEASES):
        assert of(f"0.99.{patch}")
    assert _release_of_number.cache_info().currsize == KNOWN_RELEASES
