"""Servers that the operator scales by itself: on their load, to zero, and from it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.helpers.fakes import FakeClock
from vllm_operator.api.autoscaling import Autoscaling
from vllm_operator.api.replica_bounds import bounds_in_force
from vllm_operator.controller.scaler import NO_LOAD, SYNC_SECONDS, WAKE_ANNOTATION, Scaler
from vllm_operator.desired.server_summary import ServerSummary
from vllm_operator.errors import ApiError
from vllm_operator.kube.key import Key
from vllm_operator.metrics_api.readings import ServerLoad
from vllm_operator.probing.load_sampler import RequestLoadSample
from vllm_operator.probing.replica_load import RequestLoad

KEY = Key("llm", "mistral")
NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)


class Scene:
    """One server, its load, and what was written to its `/scale`."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.leads = True
        self.replicas = 1
        self.load_now: list[RequestLoad | None] = []
        self.annotations: dict[str, str] = {}
        self.written: list[int] = []
        self.changed: list[Key] = []
        self.error: ApiError | None = None
        self.scaler = Scaler(self, self.write, lambda: self.leads, self.changed.append, self.clock, lambda: self.now)
        self.fields: dict[str, Any] = {}
        self.load_error: Exception | None = None
        self.began = self.clock.now

    @property
    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.clock.now - self.began)

    async def load(self, key: Key, max_age: float = 1.0) -> ServerLoad:
        await asyncio.sleep(0)
        if self.load_error:
            raise self.load_error
        samples = tuple(RequestLoadSample(load, 0.0, 0.0) for load in self.load_now)
        return ServerLoad(samples, len(samples))

    async def write(self, server: ServerSummary, replicas: int) -> None:
        await asyncio.sleep(0)
        if self.error:
            raise self.error
        self.written.append(replicas)
        self.replicas = replicas

    def observe(self, **summary: Any) -> None:
        scaling = Autoscaling.model_validate({"maxReplicas": 10, **self.fields})
        bounds = bounds_in_force(scaling, self.now)
        server = ServerSummary("llm", "mistral", "uid", autoscaling=True, scaling=scaling, bounds=bounds, **summary)
        body = {"metadata": {"annotations": self.annotations}, "spec": {"replicas": self.replicas}}
        self.scaler.observe(KEY, server, body)

    async def pass_seconds(self, seconds: float) -> None:
        for _ in range(int(seconds / SYNC_SECONDS)):
            self.observe()
            self.clock.now += SYNC_SECONDS
            await self.scaler.scale_due()


def busy(requests: float, finished: float = 0.0) -> RequestLoad:
    return RequestLoad(running=requests, waiting=0.0, kv_cache_usage=0.5, finished=finished)


@pytest.fixture
def scene() -> Scene:
    made = Scene()
    made.fields = {"source": "operator"}
    return made


@pytest.fixture
def sleepy() -> Scene:
    made = Scene()
    made.fields = {"minReplicas": 0, "idleSeconds": 60}
    return made


async def test_step_of_load_is_followed_at_once_and_once(scene: Scene) -> None:
    scene.load_now = [busy(200)]

    await scene.pass_seconds(60)

    assert scene.written == [4]


async def test_cache_usage_counts_too(scene: Scene) -> None:
    scene.fields["targetKVCacheUsage"] = 0.25
    scene.load_now = [busy(10)]

    await scene.pass_seconds(10)

    assert scene.written == [2]


async def test_bounds_hold(scene: Scene) -> None:
    scene.fields |= {"minReplicas": 2, "maxReplicas": 3}
    scene.load_now = [busy(900)]
    await scene.pass_seconds(10)
    scene.load_now = [busy(0)] * 3
    await scene.pass_seconds(1500)

    assert scene.written == [3, 2]


async def test_new_leader_waits_for_the_window_before_it_removes_replicas(scene: Scene) -> None:
    scene.replicas, scene.load_now = 4, [busy(0)] * 4
    await scene.pass_seconds(590)
    assert scene.written == []

    await scene.pass_seconds(30)
    assert scene.written == [3]


async def test_leader_that_returns_waits_for_the_window_too(scene: Scene) -> None:
    scene.replicas, scene.load_now = 4, [busy(50)] * 4
    await scene.pass_seconds(60)
    scene.clock.now += 3600
    scene.load_now = [busy(0)] * 4
    await scene.pass_seconds(590)

    assert scene.written == []


async def test_server_without_a_ready_replica_is_left_alone(scene: Scene) -> None:
    await scene.pass_seconds(30)

    assert (scene.written, scene.scaler.problem(KEY)) == ([], "")


async def test_replicas_without_metrics_are_reported(scene: Scene) -> None:
    scene.load_now = [None]
    await scene.pass_seconds(10)

    assert scene.scaler.problem(KEY) == NO_LOAD
    assert scene.changed == [KEY]

    scene.load_now = [busy(1)]
    await scene.pass_seconds(10)
    assert scene.scaler.problem(KEY) == ""


async def test_refused_write_is_tried_again(scene: Scene) -> None:
    scene.load_now = [busy(200)]
    scene.error = ApiError(403, "Forbidden", "no")
    await scene.pass_seconds(5)
    scene.error = None
    await scene.pass_seconds(5)

    assert scene.written == [4]


@pytest.mark.parametrize("fields", [{"source": "builtin"}, {"source": "operator", "paused": True}])
async def test_servers_of_others_are_left_alone(scene: Scene, fields: dict[str, Any]) -> None:
    scene.fields, scene.load_now = fields, [busy(200)]

    await scene.pass_seconds(30)

    assert scene.written == []


async def test_paused_server_is_left_alone(scene: Scene) -> None:
    scene.load_now = [busy(200)]
    scene.observe(paused=True)
    await scene.scaler.scale_due()

    assert scene.written == []


async def test_idle_server_goes_to_sleep(sleepy: Scene) -> None:
    sleepy.load_now = [busy(0, finished=7)]

    await sleepy.pass_seconds(55)
    assert sleepy.written == []
    await sleepy.pass_seconds(20)

    assert sleepy.written == [0]


async def test_request_between_two_looks_counts(sleepy: Scene) -> None:
    for finished in range(20):
        sleepy.load_now = [busy(0, finished)]
        await sleepy.pass_seconds(10)

    assert sleepy.written == []


@pytest.mark.parametrize(
    "load", [[busy(1)], [None], [busy(0), None], []], ids=["busy", "silent", "one silent", "loads"]
)
async def test_server_that_may_have_requests_stays_awake(sleepy: Scene, load: list[RequestLoad | None]) -> None:
    sleepy.load_now = load

    await sleepy.pass_seconds(300)

    assert sleepy.written == []


async def test_annotation_wakes_and_keeps_awake(sleepy: Scene) -> None:
    sleepy.replicas, sleepy.load_now = 0, []
    await sleepy.pass_seconds(100)
    assert sleepy.written == []

    sleepy.annotations = {WAKE_ANNOTATION: sleepy.now.isoformat()}
    await sleepy.pass_seconds(5)
    assert sleepy.written == [1]

    sleepy.load_now = [busy(0)]
    await sleepy.pass_seconds(90)
    assert sleepy.written == [1, 0]
    await sleepy.pass_seconds(90)
    assert sleepy.written == [1, 0]


async def test_wake_up_of_the_future_counts_as_the_present(sleepy: Scene) -> None:
    sleepy.replicas, sleepy.load_now = 0, []
    sleepy.annotations = {WAKE_ANNOTATION: "2199-01-01T00:00:00Z"}
    await sleepy.pass_seconds(5)
    assert sleepy.written == [1]

    sleepy.load_now = [busy(0)]
    await sleepy.pass_seconds(90)

    assert sleepy.written == [1, 0]


@pytest.mark.parametrize("value", ["true", "", "2020-01-01T00:00:00Z"])
async def test_annotation_without_a_recent_time_wakes_nobody(sleepy: Scene, value: str) -> None:
    sleepy.replicas, sleepy.annotations = 0, {WAKE_ANNOTATION: value}

    await sleepy.pass_seconds(30)

    assert sleepy.written == []


async def test_kubectl_scale_wakes_for_the_idle_time(sleepy: Scene) -> None:
    sleepy.replicas = 0
    await sleepy.pass_seconds(300)
    sleepy.replicas, sleepy.load_now = 1, [busy(0)]

    await sleepy.pass_seconds(50)
    assert sleepy.written == []
    await sleepy.pass_seconds(30)

    assert sleepy.written == [0]


async def test_standby_scales_nothing(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    from vllm_operator.controller import scaler as module

    monkeypatch.setattr(module, "TICK_SECONDS", 0.001)
    scene.leads, scene.load_now = False, [busy(200)]
    scene.observe()
    task = asyncio.create_task(scene.scaler.run())
    await asyncio.sleep(0.05)
    assert scene.written == []
    scene.leads = True
    await asyncio.sleep(0.05)
    task.cancel()

    assert scene.written == [4]


EARLY = {"start": "10 8 * * *", "end": "20 8 * * *", "minReplicas": 3, "maxReplicas": 4}


async def test_schedule_bounds_what_the_operator_sets(scene: Scene) -> None:
    scene.fields = {"source": "operator", "schedule": [EARLY]}
    scene.load_now = [busy(50.0)]
    await scene.pass_seconds(595)
    assert scene.written == []

    await scene.pass_seconds(20)
    assert scene.written == [3]
    scene.load_now = [busy(400.0)] * 3
    await scene.pass_seconds(60)
    assert scene.written == [3, 4]


async def test_sleeping_server_is_woken_by_its_schedule(sleepy: Scene) -> None:
    sleepy.fields = {**sleepy.fields, "schedule": [EARLY]}
    sleepy.replicas = 0
    await sleepy.pass_seconds(595)
    assert sleepy.written == []

    await sleepy.pass_seconds(20)
    assert sleepy.written == [3]


async def test_server_may_sleep_in_a_window_only(sleepy: Scene) -> None:
    sleepy.fields = {"minReplicas": 1, "maxReplicas": 4, "idleSeconds": 60, "schedule": [{**EARLY, "minReplicas": 0}]}
    sleepy.load_now = [busy(0.0)]
    await sleepy.pass_seconds(590)
    assert sleepy.written == []

    await sleepy.pass_seconds(120)
    assert sleepy.written == [0]
    sleepy.load_now = []
    await sleepy.pass_seconds(600)
    assert sleepy.written == [0, 1], "woken when the window closed"


async def test_fast_path_scales_at_once(scene: Scene) -> None:
    scene.load_now = [busy(195.0)]
    scene.observe()
    await scene.scaler.scale_now(KEY)

    assert scene.written == [4]
    await scene.scaler.scale_now(Key("llm", "unknown"))


async def test_two_looks_at_once_change_the_number_once(scene: Scene) -> None:
    scene.load_now = [busy(195.0)]
    scene.observe()

    await asyncio.gather(scene.scaler.scale_due(), scene.scaler.scale_now(KEY))

    assert scene.written == [4]


async def test_a_failure_at_one_server_does_not_end_scaling(scene: Scene) -> None:
    scene.load_now, scene.load_error = [busy(200)], RuntimeError("no connections")
    await scene.pass_seconds(5)
    scene.load_error = None
    await scene.pass_seconds(5)

    assert scene.written == [4]
