"""Test when the API server counts as recovered, and which sleeps end then."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from vllm_operator.kube.availability import MIN_RECOVERY_INTERVAL_SECONDS, ApiServerAvailability

PODS, SERVICES, ONE = "/api/v1/pods", "/api/v1/services", "/api/v1/namespaces/llm/services/a"


@dataclass
class Scene:
    """An `ApiServerAvailability` whose clock the test sets.

    Attributes:
        now: the time in seconds.
        recoveries: the times at which a recovery was reported.
    """

    now: float = 100.0
    recoveries: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.availability = ApiServerAvailability(lambda: self.recoveries.append(self.now), lambda: self.now)


def test_api_server_that_always_answers_reports_no_recovery() -> None:
    scene = Scene()
    for _ in range(3):
        scene.availability.on_response("watch", PODS, 200)
    assert scene.recoveries == []


@pytest.mark.parametrize("first", [("get", ONE), ("patch", ONE), ("watch", PODS), ("get", "/version")])
def test_any_success_after_a_lost_connection_is_a_recovery(first: tuple[str, str]) -> None:
    scene = Scene()
    scene.availability.on_no_connection()
    scene.availability.on_response(*first, 200)
    scene.availability.on_response(*first, 200)
    assert scene.recoveries == [100.0]


@pytest.mark.parametrize("code", [401, 403, 429, 500, 503])
def test_collection_that_failed_and_works_again_is_a_recovery(code: int) -> None:
    scene = Scene()
    scene.availability.on_response("watch", PODS, code)
    scene.availability.on_response("watch", SERVICES, 200)
    assert scene.recoveries == [], "one kind that fails is not the API server"
    scene.availability.on_response("watch", PODS, 200)
    assert scene.recoveries == [100.0]


def test_any_success_after_two_collections_failed_is_a_recovery() -> None:
    scene = Scene()
    scene.availability.on_response("watch", PODS, 503)
    scene.availability.on_response("list", SERVICES, 503)
    scene.availability.on_response("patch", ONE, 200)
    assert scene.recoveries == [100.0]


@pytest.mark.parametrize("code", [404, 410])
def test_missing_kind_or_expired_version_is_no_outage(code: int) -> None:
    scene = Scene()
    for path in (PODS, SERVICES):
        scene.availability.on_response("watch", path, code)
    scene.availability.on_response("watch", PODS, 200)
    assert scene.recoveries == []


@pytest.mark.parametrize("code", [401, 403, 422, 429, 500])
def test_failures_of_single_objects_are_no_outage(code: int) -> None:
    scene = Scene()
    for verb in ("get", "patch", "delete"):
        scene.availability.on_response(verb, ONE, code)
    scene.availability.on_response("get", ONE, 200)
    assert scene.recoveries == []


def test_recoveries_in_quick_succession_are_reported_once_per_interval() -> None:
    scene = Scene()
    for _ in range(3):
        scene.availability.on_no_connection()
        scene.availability.on_response("get", ONE, 200)
        scene.now += 1
    assert scene.recoveries == [100.0]
    scene.now = 100.0 + MIN_RECOVERY_INTERVAL_SECONDS
    scene.availability.on_response("get", ONE, 200)
    assert scene.recoveries == [100.0, 100.0 + MIN_RECOVERY_INTERVAL_SECONDS]


async def test_recovery_ends_every_sleep_under_way_and_no_later_one() -> None:
    scene = Scene()
    sleeps = [asyncio.create_task(scene.availability.sleep_unless_recovered(60)) for _ in range(3)]
    await asyncio.sleep(0)
    scene.availability.on_no_connection()
    scene.availability.on_response("get", ONE, 200)
    assert await asyncio.wait_for(asyncio.gather(*sleeps), 5) == [True, True, True]
    assert await scene.availability.sleep_unless_recovered(0.0) is False


@pytest.mark.parametrize("turns", range(5))
async def test_sleep_that_ends_while_it_is_cancelled_is_cancelled(turns: int) -> None:
    scene = Scene()

    async def watch() -> None:
        while True:
            await scene.availability.sleep_unless_recovered(60)

    task = asyncio.create_task(watch())
    await asyncio.sleep(0)
    scene.availability.on_no_connection()
    scene.availability.on_response("get", ONE, 200)
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=1)
    assert done
