"""The memory about servers: the desired state is computed once per generation, and one call forgets a server."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.helpers.fakes import FakeClock
from tests.helpers.specs import body
from vllm_operator.api.names import UNREADABLE
from vllm_operator.apply.repair_limiter import RepairLimiter
from vllm_operator.apply.write_history import WriteHistory
from vllm_operator.controller import server_state
from vllm_operator.controller.server_state import ServerStates
from vllm_operator.desired.state import DesiredState, desired_state
from vllm_operator.kube.key import Key
from vllm_operator.kube.kinds import MONITORING_KINDS

KEY = Key("llm", "mistral")
OTHER = Key("llm", "other")
NONE: frozenset[str] = frozenset()
NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def server_states(*owners: Callable[[Key], None]) -> ServerStates:
    clock = FakeClock()
    return ServerStates(lambda: WriteHistory(RepairLimiter(clock), clock), clock, owners)


class CountedStates:
    """Server states that count how often a desired state is computed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times = 0
        self.states = server_states()
        self.now = NOW
        monkeypatch.setattr(server_state, "desired_state", self._compute)

    def _compute(self, *arguments: Any, **options: Any) -> DesiredState:
        self.times += 1
        return desired_state(*arguments, **options)

    def desired(
        self,
        server: dict[str, Any],
        installed: frozenset[str] = NONE,
        key: Key = KEY,
        deployment: dict[str, Any] | None = None,
    ) -> DesiredState:
        return self.states[key].desired(server, installed, "", deployment, self.now)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> CountedStates:
    return CountedStates(monkeypatch)


def test_desired_state_of_an_unchanged_server_is_computed_once(counted: CountedStates) -> None:
    first = counted.desired(body())
    touched = body()
    touched["metadata"].update(resourceVersion="2", labels={"a": "b"})
    touched["status"] = {"phase": "Serving"}

    assert counted.desired(touched) is first
    assert counted.times == 1


@pytest.mark.parametrize(
    "change",
    [
        {"server": body(generation=2)},
        {"server": body(uid="another")},
        {"server": {**body(), UNREADABLE: "it is too large"}},
        {"installed": MONITORING_KINDS},
        {"key": OTHER},
    ],
    ids=["generation", "uid", "unreadable", "installed kinds", "server"],
)
def test_change_of_a_dependency_computes_the_desired_state_again(
    counted: CountedStates, change: dict[str, Any]
) -> None:
    counted.desired(body())
    counted.desired(**{"server": body(), **change})

    assert counted.times == 2


def test_server_that_is_gone_is_forgotten_here_and_by_every_owner(counted: CountedStates) -> None:
    forgotten: list[Key] = []
    counted.states = server_states(forgotten.append, forgotten.append)
    counted.desired(body())
    counted.states.forget(KEY)
    counted.states.forget(OTHER)
    counted.desired(body())

    assert counted.times == 2
    assert forgotten == [KEY, KEY, OTHER, OTHER]


def test_server_settles_from_the_first_call_until_it_is_reset() -> None:
    states = server_states()
    assert not states.is_settling(KEY)
    assert states[KEY].settling_seconds(NOW) == 0
    assert states[KEY].settling_seconds(NOW + timedelta(seconds=3)) == 3
    assert states.is_settling(KEY)

    states[KEY].settling_since = None
    assert not states.is_settling(KEY)


def test_clock_that_is_set_back_starts_settling_again() -> None:
    state = server_states()[KEY]
    state.settling_seconds(NOW)
    assert state.settling_seconds(NOW - timedelta(hours=1)) == 0
    assert state.settling_seconds(NOW - timedelta(hours=1) + timedelta(seconds=2)) == 2


def test_servers_do_not_share_a_rate_limit() -> None:
    states = server_states()
    while not states[KEY].rate_limiter.delay(object()):
        pass
    assert states[OTHER].rate_limiter.delay(object()) == 0.0


def test_server_that_is_created_again_starts_with_a_full_rate_limit() -> None:
    states = server_states()
    while not states[KEY].rate_limiter.delay(object()):
        pass
    states.forget(KEY)
    assert states[KEY].rate_limiter.delay(object()) == 0.0


def test_new_specs_of_one_namespace_are_paced_together(monkeypatch: pytest.MonkeyPatch) -> None:
    states, now = server_states(), iter(range(0, 100_000, 100))
    monkeypatch.setattr(server_state.time, "perf_counter", lambda: float(next(now)))
    assert states.spec_delay(KEY, 1) == 0.0
    states.desired(KEY, body(), NONE, "", None, NOW)
    assert states.spec_delay(KEY, 1) == 0.0
    assert states.spec_delay(KEY, 2) > 0
    assert states.spec_delay(OTHER, 1) > 0
    assert states.spec_delay(Key("quiet", "mistral"), 1) == 0.0


def test_reported_version_counts_where_nothing_else_shows_one(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = CountedStates(monkeypatch)
    unknown = body(image="registry.example/team/vllm:1.4.2")

    for version in ("", "0.11.2", "0.11.2", ""):
        counted.desired({**unknown, "status": {"version": version}})

    assert counted.times == 2


def test_reported_version_does_not_count_when_the_image_shows_one(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = CountedStates(monkeypatch)

    for version in ("", "0.11.2"):
        counted.desired({**body(image="vllm/vllm-openai:v0.32.0"), "status": {"version": version}})

    assert counted.times == 1


def deployment_of(desired: DesiredState) -> dict[str, Any]:
    return next(manifest.body for manifest in desired.manifests if manifest.kind == "Deployment")


def test_server_with_the_middleware_is_computed_once(counted: CountedStates) -> None:
    first = counted.desired(body())

    assert counted.desired(body(), deployment=deployment_of(first)) is first
    assert counted.times == 1


def test_server_from_before_the_middleware_is_computed_once_for_each_generation(counted: CountedStates) -> None:
    old = deployment_of(desired_state(body(), NONE, drains=False))
    first = counted.desired(body(), deployment=old)
    computed = counted.times

    assert not first.drains
    assert counted.desired(body(), deployment=old) is first
    assert counted.times == computed

    changed = body(generation=2, rollout={"drainTimeoutSeconds": 7})
    desired = counted.desired(changed, deployment=old)
    assert desired.drains
    assert counted.desired(changed, deployment=deployment_of(desired)) is desired


def test_bounds_of_a_schedule_are_computed_again_when_a_window_opens(counted: CountedStates) -> None:
    window = {"start": "0 10 * * *", "end": "0 12 * * *", "minReplicas": 3}
    server = body(autoscaling={"maxReplicas": 4, "schedule": [window]})

    def minimum() -> int:
        desired = counted.desired(server)
        hpa = next(one.body for one in desired.manifests if one.kind == "HorizontalPodAutoscaler")
        assert desired.server.bounds is not None
        assert hpa["spec"]["minReplicas"] == desired.server.bounds.bounds.min_replicas
        return int(hpa["spec"]["minReplicas"])

    assert minimum() == 1
    counted.now = NOW + timedelta(minutes=59)
    assert minimum() == 1
    assert counted.times == 1
    counted.now = NOW + timedelta(hours=1)
    assert minimum() == 3
    counted.now = NOW + timedelta(hours=3)
    assert minimum() == 1
    assert counted.times == 3
