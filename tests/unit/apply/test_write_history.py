"""Test what one server remembers of its writes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.fakes import FakeClock
from tests.helpers.specs import body
from vllm_operator.api.names import ANNOTATION_HASH
from vllm_operator.apply.repair_limiter import CONFLICT_REPAIRS, MAX_REPAIRS, WINDOW_SECONDS, RepairLimiter
from vllm_operator.apply.write_history import WriteHistory, was_applied_from
from vllm_operator.desired.state import desired_state
from vllm_operator.errors import ApiError, NotLeaderError

MANIFEST = next(iter(desired_state(body(), frozenset()).manifests))
LIVE = {"metadata": {"uid": "u1", "annotations": {ANNOTATION_HASH: MANIFEST.hash}}}
FAILURE = ApiError(503, "ServiceUnavailable", "later")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def history(clock: FakeClock) -> WriteHistory:
    return WriteHistory(RepairLimiter(clock), clock)


async def write(error: ApiError | None) -> str:
    if error is not None:
        raise error
    return "written"


async def test_failed_write_is_remembered_until_a_success(history: WriteHistory) -> None:
    with pytest.raises(ApiError, match="later"):
        await history.attempt(MANIFEST, "u1", write(FAILURE))
    assert (history.recent_error(MANIFEST, "u1"), history.failure_count(MANIFEST)) == (FAILURE, 1)

    assert await history.attempt(MANIFEST, "u1", write(None)) == "written"
    assert (history.recent_error(MANIFEST, "u1"), history.failure_count(MANIFEST)) == (None, 0)


async def test_write_that_was_not_sent_is_no_failure(history: WriteHistory) -> None:
    with pytest.raises(NotLeaderError):
        await history.attempt(MANIFEST, "u1", write(NotLeaderError()))

    assert history.failure_count(MANIFEST) == 0


def test_retry_failed_forgets_failures_of_children_and_namespace(history: WriteHistory) -> None:
    history.record_namespace_error("server", FAILURE)
    assert history.namespace_error("server") is FAILURE
    assert history.namespace_error("another server") is None
    history.retry_failed()

    assert history.namespace_error("server") is None


def test_server_was_complete_by_its_uid(history: WriteHistory) -> None:
    history.set_complete("server")

    assert history.was_complete("server")
    assert not history.was_complete("another server")


def test_taken_name_is_remembered_until_it_is_free(history: WriteHistory) -> None:
    history.set_name_taken("Service", "mistral", taken=True)
    assert history.is_name_taken("Service", "mistral")
    assert not history.is_name_taken("Deployment", "mistral")
    history.set_name_taken("Service", "mistral", taken=False)

    assert not history.is_name_taken("Service", "mistral")


@pytest.mark.parametrize("live", [None, {"metadata": {}}], ids=["deleted", "without hash"])
def test_write_of_something_new_is_no_repair(history: WriteHistory, live: dict[str, Any] | None) -> None:
    delays = [history.repair_delay(MANIFEST, live, "name") for _ in range(2 * MAX_REPAIRS)]

    assert set(delays) == {0.0}


@pytest.mark.parametrize("live", [LIVE, None, {"metadata": {}}], ids=["drifted", "deleted", "without hash"])
def test_repairs_are_limited(history: WriteHistory, live: dict[str, Any] | None) -> None:
    history.record_repair("name", MANIFEST)
    delays = [history.repair_delay(MANIFEST, live, "name") for _ in range(MAX_REPAIRS + 1)]

    assert delays == [0.0] * MAX_REPAIRS + [WINDOW_SECONDS]


def test_child_that_the_operator_deleted_is_created_without_a_limit(history: WriteHistory) -> None:
    for _ in range(2 * MAX_REPAIRS):
        history.record_repair("name", MANIFEST)
        history.record_delete("name", "u1")
        assert history.repair_delay(MANIFEST, None, "name") == 0.0


def test_conflict_is_reported_until_it_ends(history: WriteHistory, clock: FakeClock) -> None:
    for number in range(1, CONFLICT_REPAIRS + 1):
        history.repair_delay(MANIFEST, LIVE, "u1")
        assert len(history.conflicts()) == (number == CONFLICT_REPAIRS)
    clock.now += WINDOW_SECONDS

    assert history.conflicts() == ()


def test_object_is_applied_from_the_manifest_whose_hash_it_carries() -> None:
    assert was_applied_from(LIVE, MANIFEST)
    assert not was_applied_from({"metadata": {"annotations": None}}, MANIFEST)
