"""When the API server counts as away and back, and which pauses end then."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from vllm_operator.kube.availability import BETWEEN_SECONDS, ApiServerAvailability

PODS, SERVICES, ONE = "/api/v1/pods", "/api/v1/services", "/api/v1/namespaces/llm/services/a"


@dataclass
class Scene:
    """A recovery on a clock that is set by hand.

    Attributes:
        now: the time in seconds.
        told: at what times the API server was back.
    """

    now: float = 100.0
    told: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.recovery = ApiServerAvailability(lambda: self.told.append(self.now), lambda: self.now)


def test_api_server_that_always_answers_has_not_recovered() -> None:
    scene = Scene()
    for _ in range(3):
        scene.recovery.answered("watch", PODS, 200)
    assert scene.told == []


@pytest.mark.parametrize("first", [("get", ONE), ("patch", ONE), ("watch", PODS), ("get", "/version")])
def test_any_success_after_a_lost_connection_is_a_recovery(first: tuple[str, str]) -> None:
    scene = Scene()
    scene.recovery.unreached()
    scene.recovery.answered(*first, 200)
    scene.recovery.answered(*first, 200)
    assert scene.told == [100.0]


@pytest.mark.parametrize("code", [401, 403, 429, 500, 503])
def test_collection_that_failed_and_works_again_is_a_recovery(code: int) -> None:
    scene = Scene()
    scene.recovery.answered("watch", PODS, code)
    scene.recovery.answered("watch", SERVICES, 200)
    assert scene.told == [], "one kind that fails is not the API server"
    scene.recovery.answered("watch", PODS, 200)
    assert scene.told == [100.0]


def test_any_success_after_two_collections_failed_is_a_recovery() -> None:
    scene = Scene()
    scene.recovery.answered("watch", PODS, 503)
    scene.recovery.answered("list", SERVICES, 503)
    scene.recovery.answered("patch", ONE, 200)
    assert scene.told == [100.0]


@pytest.mark.parametrize("code", [404, 410])
def test_kind_or_a_version_that_is_gone_is_no_failure(code: int) -> None:
    scene = Scene()
    for path in (PODS, SERVICES):
        scene.recovery.answered("watch", path, code)
    scene.recovery.answered("watch", PODS, 200)
    assert scene.told == []


@pytest.mark.parametrize("code", [401, 403, 422, 429, 500])
def test_failures_of_single_objects_say_nothing(code: int) -> None:
    scene = Scene()
    for verb in ("get", "patch", "delete"):
        scene.recovery.answered(verb, ONE, code)
    scene.recovery.answered("get", ONE, 200)
    assert scene.told == []


def test_what_comes_and_goes_is_told_once_and_not_forgotten() -> None:
    scene = Scene()
    for _ in range(3):
        scene.recovery.unreached()
        scene.recovery.answered("get", ONE, 200)
        scene.now += 1
    assert scene.told == [100.0]
    scene.now = 100.0 + BETWEEN_SECONDS
    scene.recovery.answered("get", ONE, 200)
    assert scene.told == [100.0, 100.0 + BETWEEN_SECONDS]


async def test_recovery_ends_every_pause_and_no_later_one() -> None:
    scene = Scene()
    pauses = [asyncio.create_task(scene.recovery.pause(60)) for _ in range(3)]
    await asyncio.sleep(0)
    scene.recovery.unreached()
    scene.recovery.answered("get", ONE, 200)
    assert await asyncio.wait_for(asyncio.gather(*pauses), 5) == [True, True, True]
    assert await scene.recovery.pause(0.0) is False


@pytest.mark.parametrize("turns", range(5))
async def test_pause_that_ends_while_it_is_cancelled_is_cancelled(turns: int) -> None:
    scene = Scene()

    async def watch() -> None:
        while True:
            await scene.recovery.pause(60)

    task = asyncio.create_task(watch())
    await asyncio.sleep(0)
    scene.recovery.unreached()
    scene.recovery.answered("get", ONE, 200)
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=1)
    assert done
