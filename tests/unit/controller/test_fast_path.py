"""The fast path: when it raises the floor of an autoscaler, how far, and when it gives that back."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.helpers.fakes import FakeClock
from tests.helpers.pods import condition
from vllm_operator.api.autoscaling import Autoscaling
from vllm_operator.controller import fast_path
from vllm_operator.controller.fast_path import ASKED_SECONDS, HELD_LOOK_SECONDS, FastPath
from vllm_operator.controller.floor import ANNOTATION_RAISED
from vllm_operator.desired.server_summary import ServerSummary
from vllm_operator.informers.snapshot import Snapshot
from vllm_operator.kube.key import Key
from vllm_operator.metrics_api.readings import ServerLoad
from vllm_operator.probing.load_sampler import RequestLoadSample
from vllm_operator.probing.replica_load import RequestLoad

KEY = Key("llm", "mistral")
NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
SINCE = "2026-03-02T08:00:00Z"


class Scene:
    """One server with `fastPath`, its load, its Deployment and its autoscaler."""

    def __init__(self, **fields: Any) -> None:
        self.clock = FakeClock()
        self.began = self.clock.now
        self.fields = {"maxReplicas": 10, "fastPath": True, **fields}
        self.replicas = 1
        self.asks = "DesiredWithinRange"
        self.autoscaler: dict[str, Any] = {"spec": {"minReplicas": 1}}
        self.loads: list[list[float]] = []
        self.now_loads: list[float] = [0.0]
        self.changed: list[Key] = []
        self.scaled: list[Key] = []
        self.leads = True
        self.path = FastPath(self, self.scale, lambda: self.leads, self.changed.append, self.clock, lambda: self.now)

    @property
    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.clock.now - self.began)

    async def load(self, key: Key, max_age: float = 1.0) -> ServerLoad:
        """Return the next of `loads`; then, again and again, `now_loads`."""
        numbers = self.loads.pop(0) if self.loads else self.now_loads
        samples = tuple(RequestLoadSample(RequestLoad(number, 0.0), 0.0, 0.0) for number in numbers)
        return ServerLoad(samples, len(samples))

    async def peek(self, key: Key, turn: int, count: int, max_age: float) -> ServerLoad:
        load = await self.load(key, max_age)
        return ServerLoad(load.samples[:count], min(load.serving, count))

    async def scale(self, key: Key) -> None:
        self.scaled.append(key)

    def observe(self, **summary: Any) -> None:
        scaling = Autoscaling.model_validate(self.fields)
        server = ServerSummary("llm", "mistral", "uid", autoscaling=True, scaling=scaling, **summary)
        status = {"conditions": [condition("ScalingLimited", "False", SINCE, self.asks, "")]}
        deployment = {"spec": {"replicas": self.replicas}}
        self.path.observe(
            KEY, server, Snapshot(deployment=deployment, autoscaler={**self.autoscaler, "status": status})
        )

    async def look(self, seconds: float = 1.0, *, until: float | None = None) -> int | None:
        """Pass some seconds, or all until a time, and look; return the floor."""
        end = self.clock.now + seconds if until is None else self.began + until
        while self.clock.now < end:
            self.clock.now = min(self.clock.now + HELD_LOOK_SECONDS, end)
            self.observe()
            self.path.look_due()
            while pending := [one for one in asyncio.all_tasks() if one is not asyncio.current_task()]:
                await asyncio.wait(pending)
        floor = self.path.floor(KEY)
        return floor.replicas if floor else None


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_path, "CONFIRM_SECONDS", 0.0)


async def test_queue_raises_the_floor_to_what_the_load_needs() -> None:
    scene = Scene()
    assert await scene.look() is None

    scene.now_loads = [195.0]

    assert await scene.look() == 4
    assert scene.changed == [KEY]
    floor = scene.path.floor(KEY)
    assert floor is not None
    assert floor.cause == "195 requests at 1 replica"


async def test_floor_above_lowered_bounds_is_told_as_it_is_written() -> None:
    scene = Scene()
    scene.now_loads = [195.0]
    assert await scene.look() == 4

    scene.fields["maxReplicas"] = 3
    assert await scene.look() == 3
    scene.fields["minReplicas"] = 3
    scene.observe()

    assert scene.path.floor(KEY) is None


async def test_replicas_that_load_are_not_asked_for_again() -> None:
    scene = Scene()
    scene.now_loads = [195.0]
    await scene.look()
    scene.replicas = 4

    for _ in range(20):
        assert await scene.look() == 4
    assert scene.changed == [KEY]


async def test_requests_that_end_at_once_are_no_queue() -> None:
    scene = Scene()
    scene.loads = [[195.0], [195.0], [20.0]]

    assert await scene.look() is None


async def test_smaller_of_two_readings_counts() -> None:
    scene = Scene()
    scene.loads = [[195.0], [195.0], [120.0]]

    assert await scene.look() == 3


async def test_floor_keeps_to_the_maximum_and_to_the_behavior() -> None:
    assert await _raised(900.0, maxReplicas=3) == 3
    assert await _raised(900.0) == 5, "four pods a minute"
    policies = [{"type": "Pods", "value": 2, "periodSeconds": 60}]
    assert await _raised(900.0, behavior={"scaleUp": {"policies": policies}}) == 3
    assert await _raised(900.0, behavior={"scaleUp": {"selectPolicy": "Disabled"}}) is None


async def _raised(requests: float, **fields: Any) -> int | None:
    scene = Scene(**fields)
    scene.now_loads = [requests]
    return await scene.look()


async def test_more_is_asked_for_when_the_policy_allows_it() -> None:
    scene = Scene()
    scene.now_loads = [900.0]
    assert await scene.look() == 5
    scene.replicas, scene.asks = 5, "TooFewReplicas"

    assert await scene.look(until=59) == 5
    assert await scene.look(until=70) == 10


async def test_tolerance_of_the_behavior_counts() -> None:
    assert await _raised(70.0) == 2
    assert await _raised(70.0, behavior={"scaleUp": {"tolerance": "0.5"}}) is None


async def test_stabilization_window_upwards_counts() -> None:
    scene = Scene(behavior={"scaleUp": {"stabilizationWindowSeconds": 30}})
    await scene.look()
    scene.now_loads = [195.0]

    assert await scene.look(until=25) is None
    assert await scene.look(until=40) == 4


async def test_floor_is_given_back_when_the_autoscaler_asks_for_as_many() -> None:
    scene = Scene()
    scene.now_loads = [195.0]
    await scene.look()
    scene.replicas = 4

    assert await scene.look(until=ASKED_SECONDS - 5) == 4, "the autoscaler has not looked for sure"
    assert await scene.look(until=ASKED_SECONDS + 10) is None
    assert scene.changed == [KEY, KEY]
    scene.observe()
    assert await scene.look(60) is None, "and nothing raises it again"


async def test_floor_stays_while_the_autoscaler_asks_for_fewer_and_the_load_needs_it() -> None:
    scene = Scene()
    scene.now_loads = [195.0]
    await scene.look()
    scene.replicas, scene.asks = 4, "TooFewReplicas"

    assert await scene.look(1000) == 4


async def test_floor_is_given_back_when_the_load_is_gone_for_the_stabilization_window() -> None:
    scene = Scene()
    scene.now_loads = [195.0]
    await scene.look()
    scene.replicas, scene.asks, scene.now_loads = 4, "TooFewReplicas", [0.0] * 4

    assert await scene.look(until=595) == 4, "as long as the autoscaler waits itself"
    assert await scene.look(until=615) is None


async def test_short_window_holds_the_floor_for_a_minute() -> None:
    scene = Scene(behavior={"scaleDown": {"stabilizationWindowSeconds": 0}})
    scene.now_loads = [195.0]
    await scene.look()
    scene.replicas, scene.asks, scene.now_loads = 4, "TooFewReplicas", [0.0] * 4

    assert await scene.look(until=55) == 4
    assert await scene.look(until=75) is None


async def test_floor_of_an_earlier_process_is_taken_over_and_given_back() -> None:
    scene = Scene()
    scene.autoscaler = {"metadata": {"annotations": {ANNOTATION_RAISED: SINCE}}, "spec": {"minReplicas": 4}}
    scene.replicas, scene.asks, scene.now_loads = 4, "TooFewReplicas", [0.0] * 4
    scene.clock.now += 590

    assert await scene.look(1) == 4
    assert await scene.look(20) is None, "the time since it was raised counts, not that since the start"


async def test_server_that_is_paused_asleep_or_without_fast_path_is_left_alone() -> None:
    for summary in ({"paused": True}, {"asleep": True}):
        scene = Scene()
        scene.now_loads = [195.0]
        await scene.look()
        scene.observe(**summary)
        assert scene.path.floor(KEY) is None
    assert await _raised(195.0, fastPath=False) is None
    assert await _raised(195.0, paused=True) is None


async def test_with_source_operator_the_operator_scales_at_once() -> None:
    scene = Scene(source="operator")
    scene.now_loads = [195.0]

    assert await scene.look() is None
    assert scene.scaled == [KEY]


async def test_silent_replicas_and_a_server_without_replicas_raise_nothing() -> None:
    scene = Scene()
    scene.now_loads = []
    assert await scene.look() is None
    scene.now_loads, scene.replicas = [195.0], 0
    assert await scene.look() is None


async def test_full_kv_cache_needs_more_replicas() -> None:
    load = ServerLoad((RequestLoadSample(RequestLoad(5.0, 0.0, 0.95), 0.0, 0.0),), 1)
    scaling = Autoscaling.model_validate({"maxReplicas": 4, "targetKVCacheUsage": 0.5})

    assert fast_path.is_above_target(load, scaling)
    assert not fast_path.is_above_target(load, Autoscaling.model_validate({"maxReplicas": 4}))


async def test_looks_are_rarer_with_many_servers() -> None:
    scene = Scene()
    scaling = Autoscaling.model_validate(scene.fields)
    for index in range(600):
        server = ServerSummary("llm", f"s{index}", f"uid{index}", autoscaling=True, scaling=scaling)
        scene.path.observe(
            Key("llm", f"s{index}"), server, Snapshot(deployment={"spec": {"replicas": 1 + index % 2 * 9}})
        )

    assert scene.path._interval() == pytest.approx(3.0)
