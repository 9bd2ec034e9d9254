"""One pass: what it writes, when it looks again, and what it leaves alone."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.pods import deployment, ready_pod
from tests.support.specs import MODEL, body, container
from tests.unit.loop.fakes import FakeApiClient, FakeClock
from vllm_operator.api.observed import Diagnosis, ReplicaHealth
from vllm_operator.cluster.capabilities import Capabilities
from vllm_operator.cluster.children import Children
from vllm_operator.cluster.events import Events
from vllm_operator.cluster.references import References
from vllm_operator.cluster.store import Key, Store
from vllm_operator.diagnoses import Diagnoses
from vllm_operator.engine.timing import ProbeTarget
from vllm_operator.errors import ApiError
from vllm_operator.lookups import Lookups
from vllm_operator.metrics import Metrics
from vllm_operator.plan.monitoring import MONITORING_KINDS
from vllm_operator.reconcile import (
    MISSING_AGAIN_SECONDS,
    REFERENCES_AGAIN_SECONDS,
    REFUSED_AGAIN_SECONDS,
    Cluster,
    Reconciler,
)
from vllm_operator.status.settling import SETTLE_SECONDS

KEY = Key("llm", "mistral")
TOKEN = {"model": {**MODEL, "tokenSecretRef": {"name": "hf"}}}


async def unread(namespace: str, pod: str, container: str, previous: bool) -> str:
    """No log is read in a pass."""
    raise AssertionError


async def unasked(*_: Any) -> Diagnosis:
    """Nothing is looked up in a pass."""
    raise AssertionError


class FakeProber:
    """Remembers whom it is to ask."""

    def __init__(self) -> None:
        self.targets: dict[str, list[ProbeTarget]] = {}
        self.healths: dict[str, ReplicaHealth] = {}
        self.waits: float | None = None

    def set_targets(self, key: str, targets: Iterable[ProbeTarget]) -> None:
        self.targets[key] = list(targets)

    def health(self, key: str) -> dict[str, ReplicaHealth]:
        return self.healths

    def pause(self, key: str) -> float | None:
        return self.waits

    def troubled(self) -> list[str]:
        return ["llm/mistral" for health in self.healths.values() if not health.healthy]

    @property
    def replicas(self) -> int:
        return len(self.healths)


class Scene:
    """A reconciler over an API server in memory; the clock moves on by a minute with every pass."""

    def __init__(self, **spec: Any) -> None:
        self.api = FakeApiClient()
        self.capabilities = Capabilities(self.api)  # type: ignore[arg-type]
        self.now = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
        self.metrics = Metrics()
        self.start()
        self.wants(**spec)

    def start(self) -> None:
        """Start the operator: its caches hold what the API server holds, and it knows nothing else."""
        self.store, self.prober = Store(), FakeProber()
        for (kind, _), held in self.api.objects.items():
            self.store.put(kind, held)
        clock, api = FakeClock(), self.api
        self.reconciler = Reconciler(
            Cluster(
                client=api,  # type: ignore[arg-type]
                store=self.store,
                children=Children(api, self.store, clock),  # type: ignore[arg-type]
                references=References(api, clock),  # type: ignore[arg-type]
                capabilities=self.capabilities,
                prober=self.prober,  # type: ignore[arg-type]
                diagnoses=Diagnoses(unread, lambda _: None),
                events=Events(api, clock),  # type: ignore[arg-type]
                lookups=Lookups(unasked, lambda _: None, clock),
                on_heal=self.metrics.healed,
            ),
            clock=lambda: self.now,
        )

    def wants(self, generation: int = 1, **spec: Any) -> None:
        """Have the server ask for this."""
        self.store.put("VLLMServer", self.api.hold({**self.server, **body(generation=generation, **spec)}))

    @property
    def server(self) -> dict[str, Any]:
        return self.api.objects.get(("VLLMServer", "mistral"), {})

    def condition(self, kind: str) -> tuple[str, str]:
        """Status and reason of a condition as it was written."""
        found = next(entry for entry in self.server["status"]["conditions"] if entry["type"] == kind)
        return found["status"], found["reason"]

    async def passes(self, times: int = 1) -> float | None:
        again = None
        for _ in range(times):
            self.now += timedelta(minutes=1)
            again = await self.reconciler.reconcile(KEY)
        return again

    @property
    def applied(self) -> list[str]:
        return sorted(kind for verb, kind, _ in self.api.requests if verb == "apply")


async def test_a_server_gets_its_children_and_its_status() -> None:
    scene = Scene()
    await scene.passes(2)

    assert scene.applied == ["Deployment", "Service"]
    assert scene.condition("Accepted")[0] == "True"
    assert scene.server["status"]["observedGeneration"] == 1


async def test_a_spec_that_came_with_the_answer_to_a_status_is_carried_out_at_once() -> None:
    scene = Scene()
    await scene.passes()
    # Changed after the pass began: the answer holds it, so that its event tells the cache nothing new.
    scene.api.hold({**scene.server, **body(generation=2, replicas=3)})

    assert await scene.passes() == 0.0
    await scene.passes()
    assert scene.api.objects["Deployment", "mistral"]["spec"]["replicas"] == 3


async def test_an_edit_that_came_with_the_answer_to_an_apply_is_undone_at_once() -> None:
    scene = Scene()
    await scene.passes()
    # Edited after the pass began: the answer holds it, so that its event tells the cache nothing new.
    edit = {"manager": "kubectl-edit", "operation": "Update", "fieldsV1": {"f:spec": {"f:paused": {}}}}
    scene.api.admission = lambda held: held["metadata"].update(managedFields=[edit])
    scene.wants(generation=2, replicas=3)

    assert await scene.passes() == 0.0
    scene.api.admission = lambda held: None
    scene.api.requests.clear()
    assert await scene.passes() == SETTLE_SECONDS, "nothing is left to do but to wait for the controllers"
    assert [verb for verb, kind, _ in scene.api.writes if kind == "Deployment"] == ["merge patch", "apply"]


async def test_a_pass_over_an_unchanged_server_costs_nothing() -> None:
    scene = Scene()
    await scene.passes(3)
    scene.api.requests.clear()

    assert await scene.passes(5) is None
    assert scene.api.requests == []


async def test_a_restart_writes_nothing_where_all_is_in_place() -> None:
    scene = Scene()
    await scene.passes(3)
    scene.api.requests.clear()

    scene.start()
    await scene.passes(3)

    assert scene.api.requests == []


async def test_a_restart_in_the_middle_ends_in_the_same_state() -> None:
    whole, broken = Scene(replicas=2), Scene(replicas=2)
    await whole.passes(3)
    broken.api.errors["apply", "Deployment"] = ApiError(0, "Unreachable", "killed")
    with pytest.raises(ApiError):
        await broken.passes()

    broken.api.errors.clear()
    broken.start()
    await broken.passes(3)

    assert {key: held.get("spec") for key, held in broken.api.objects.items()} == {
        key: held.get("spec") for key, held in whole.api.objects.items()
    }


ADDED_STATUS: list[dict[str, Any]] = [
    {"version": "9.9.9"},
    {"capacity": {"concurrency": 3}},
    {"conditions": [{"type": "Theirs", "status": "True"}]},
]


@pytest.mark.parametrize("added", ADDED_STATUS, ids=lambda added: next(iter(added)))
async def test_what_others_add_to_the_status_is_removed_once(added: dict[str, Any]) -> None:
    """An apply leaves the fields of other managers."""
    scene = Scene()
    await scene.passes(2)
    told = scene.server["status"]

    edited = {**told, **added, "conditions": [*told["conditions"], *added.get("conditions", [])]}

    def keep(answer: dict[str, Any]) -> None:
        if answer["kind"] == "VLLMServer":
            answer["status"] = edited

    scene.api.admission = keep
    scene.store.put("VLLMServer", scene.api.hold({**scene.server, "status": edited}))
    scene.api.requests.clear()
    await scene.passes(3)

    assert scene.server["status"] == told
    assert [verb for verb, _, _ in scene.api.writes] == ["apply status", "merge patch status"]


async def test_a_refused_manifest_is_told_and_leaves_the_children() -> None:
    scene = Scene()
    await scene.passes(2)
    scene.api.requests.clear()
    scene.wants(2, engine={"extraArgs": ["--port=1"]})
    await scene.passes(2)

    assert scene.applied == []
    assert scene.condition("Accepted") == ("False", "InvalidArgument")
    assert ("Deployment", "mistral") in scene.api.objects


async def test_a_manifest_that_cannot_be_parsed_is_told() -> None:
    scene = Scene(engine={"maxModelLen": "many"})
    await scene.passes()

    assert scene.condition("Accepted") == ("False", "InvalidSpec")


async def test_a_missing_secret_is_told_and_looked_for_again_soon() -> None:
    scene = Scene(**TOKEN)

    assert await scene.passes() == MISSING_AGAIN_SECONDS
    assert scene.applied == []
    assert scene.condition("Accepted") == ("False", "SecretNotFound")


async def test_secrets_that_are_there_are_looked_at_now_and_then() -> None:
    scene = Scene(**TOKEN)
    scene.api.hold({"kind": "Secret", "metadata": {"name": "hf"}, "data": {"token": base64.b64encode(b"x").decode()}})

    assert await scene.passes(2) == REFERENCES_AGAIN_SECONDS
    assert scene.applied == ["Deployment", "Service"]


async def test_a_refused_child_is_told_and_tried_again() -> None:
    scene = Scene()
    scene.api.errors["apply", "Service"] = ApiError(422, "Invalid", "spec.ports[0]: no")

    assert await scene.passes() == REFUSED_AGAIN_SECONDS
    assert scene.condition("Accepted") == ("False", "ChildRefused")


async def test_what_may_pass_is_left_to_the_queue() -> None:
    scene = Scene()
    scene.api.errors["apply", "Service"] = ApiError(503, "ServiceUnavailable", "later")

    with pytest.raises(ApiError, match="later"):
        await scene.passes()


ENDING = ApiError(
    403, "Forbidden", "unable to create new content because it is being terminated", causes=["NamespaceTerminating"]
)


async def test_in_a_namespace_that_ends_nothing_is_told_and_hardly_anything_tried() -> None:
    scene = Scene()
    await scene.passes(2)
    scene.store.remove("Service", scene.api.objects.pop(("Service", "mistral")))
    scene.api.errors["apply", "Service"] = ENDING
    scene.api.requests.clear()

    for _ in range(3):
        with pytest.raises(ApiError, match="being terminated"):
            await scene.passes()
    assert scene.api.writes == [("apply", "Service", "mistral")]


async def test_a_server_of_a_namespace_that_was_made_anew_gets_its_children_at_once() -> None:
    scene = Scene()
    scene.api.errors["apply", "Service"] = ENDING
    with pytest.raises(ApiError, match="being terminated"):
        await scene.passes()
    scene.store.remove("VLLMServer", scene.server)
    await scene.passes()
    scene.api.errors.clear()
    scene.api.requests.clear()
    scene.api.objects.pop(("VLLMServer", "mistral"))
    scene.wants()

    await scene.passes()
    assert "Service" in scene.applied


async def test_a_kind_whose_crd_is_being_deleted_is_told_as_missing_without_a_refusal() -> None:
    scene = Scene(monitoring={"scrape": "auto"})
    scene.capabilities.installed = MONITORING_KINDS
    message = "create not allowed while custom resource definition is terminating"
    scene.api.errors |= {("apply", kind): ApiError(405, "MethodNotAllowed", message) for kind in MONITORING_KINDS}

    await scene.passes()
    assert scene.capabilities.installed == frozenset()
    await scene.passes()
    assert "refuses" not in str(scene.server["status"])
    assert scene.condition("MonitoringActive") == ("False", "CRDNotInstalled")


async def test_what_is_of_a_crd_that_seems_to_be_gone_is_neither_deleted_nor_written_again() -> None:
    scene = Scene(monitoring={"scrape": "auto"})
    scene.capabilities.installed = MONITORING_KINDS
    await scene.passes(2)
    assert {"PodMonitor", "PrometheusRule"} <= set(scene.applied)
    scene.api.requests.clear()
    for kinds in (frozenset[str](), MONITORING_KINDS):
        scene.capabilities.installed = kinds
        await scene.passes(2)

    assert {kind for _, kind, _ in scene.api.writes} <= {"VLLMServer", "Event"}


async def test_a_paused_server_keeps_its_children_as_they_are() -> None:
    scene = Scene()
    await scene.passes(2)
    scene.api.requests.clear()
    scene.wants(2, paused=True, service={"port": 81}, replicas=3)
    await scene.passes(2)

    assert scene.applied == []
    assert scene.server["status"]["phase"] == "Paused"


@pytest.mark.parametrize("dying", [True, False])
async def test_a_server_that_is_gone_is_no_longer_asked(dying: bool) -> None:
    scene = Scene()
    await scene.passes(2)
    scene.api.requests.clear()
    live = scene.store.server(KEY)
    assert live is not None
    if dying:
        metadata = {**live["metadata"], "resourceVersion": "9999", "deletionTimestamp": "2026-03-02T08:00:00Z"}
        scene.store.put("VLLMServer", {**live, "metadata": metadata})
    else:
        scene.store.remove("VLLMServer", live)

    assert await scene.passes() is None
    assert scene.api.requests == []
    assert scene.prober.targets["llm/mistral"] == []


async def test_running_replicas_are_asked_with_the_key_of_their_pod() -> None:
    key = {"security": {"apiKeySecretRef": {"name": "keys"}}}
    scene = Scene(health={"probeIntervalSeconds": 7}, **key)
    scene.api.hold({"kind": "Secret", "metadata": {"name": "keys"}, "data": {"token": base64.b64encode(b"k").decode()}})
    labels = {"app.kubernetes.io/instance": "mistral", "app.kubernetes.io/managed-by": "vllm-operator"}
    scene.store.put(
        "Pod",
        {
            "metadata": {"namespace": "llm", "name": "p", "uid": "p1", "resourceVersion": "1", "labels": labels},
            "spec": {"containers": [container(**key)]},
            "status": {"podIP": "10.0.0.7", "containerStatuses": [{"name": "vllm", "state": {"running": {}}}]},
        },
    )
    await scene.passes()
    (target,) = scene.prober.targets["llm/mistral"]

    assert (target.base_url, target.interval, target.api_key) == ("http://10.0.0.7:8000", 7, "k")
    assert (target.completion, target.stalled) == ("WhenSuspicious", "")


async def test_events_tell_what_changed_once() -> None:
    scene = Scene(**TOKEN)
    await scene.passes(3)

    assert [sent["reason"] for sent in scene.api.sent if sent.get("kind") == "Event"] == ["SecretNotFound"]


FROZEN = ReplicaHealth("Stalled", "/health answers 200, but a one-token completion got no answer within 20 s")


def frozen_scene(**spec: Any) -> Scene:
    """A server with two ready pods of which the first is frozen."""
    scene = Scene(**{"replicas": 2, **spec})
    labels = {"app.kubernetes.io/instance": "mistral", "app.kubernetes.io/managed-by": "vllm-operator"}
    for name in ("a", "b"):
        pod = ready_pod(name)
        owner = [{"kind": "ReplicaSet", "name": "mistral-5f9c6d7b8", "controller": True}]
        pod["status"]["podIP"] = "10.0.0.7"
        pod["metadata"] |= {"namespace": "llm", "labels": labels, "ownerReferences": owner}
        scene.store.put("Pod", scene.api.hold({"kind": "Pod", **pod}))
    scene.prober.healths = {"a": FROZEN, "b": ReplicaHealth("Serving")}
    return scene


async def settled(scene: Scene) -> None:
    """Have the Deployment's controller answer to what was applied."""
    await scene.passes()
    live = scene.api.objects["Deployment", "mistral"]
    live = {**live, "status": deployment(2)["status"] | {"observedGeneration": live["metadata"].get("generation", 0)}}
    scene.store.put("Deployment", scene.api.hold(live))


def deletions(scene: Scene) -> list[tuple[str, str]]:
    return [(kind, name) for verb, kind, name in scene.api.requests if verb == "delete"]


async def test_a_server_settles_until_the_controllers_have_answered() -> None:
    scene = frozen_scene()
    assert not scene.reconciler.settles(KEY)
    await settled(scene)
    assert scene.reconciler.settles(KEY)
    await scene.passes()
    assert not scene.reconciler.settles(KEY)


async def test_a_status_waits_for_a_replica_that_is_being_asked() -> None:
    scene = frozen_scene()
    await settled(scene)
    scene.prober.waits = 3.0
    before = scene.server.get("status")
    await scene.passes(1)
    assert scene.server.get("status") == before
    scene.prober.waits = None
    await scene.passes(1)
    assert scene.condition("EngineHealthy") == ("False", "EngineStalled")


async def test_the_pod_of_a_frozen_engine_is_deleted_once_with_an_event_and_a_count() -> None:
    scene = frozen_scene(health={"restartStalled": True})
    await settled(scene)
    assert deletions(scene) == []
    await scene.passes(1)
    assert scene.condition("EngineHealthy") == ("False", "EngineStalled")
    await scene.passes(2)
    assert deletions(scene) == [("Pod", "a")]
    assert len(scene.server["status"]["stalledRestarts"]) == 1
    assert scene.metrics.registry.get_sample_value("vllm_operator_stalled_restarts_total") == 1
    reasons = [sent["reason"] for sent in scene.api.sent if isinstance(sent, dict) and sent.get("kind") == "Event"]
    assert reasons.count("EngineStalled") == 1
    assert reasons.count("EngineRestarted") == 1


async def test_the_count_is_written_before_the_pod_is_deleted() -> None:
    scene = frozen_scene(health={"restartStalled": True})
    await settled(scene)
    await scene.passes(1)
    scene.api.errors["apply status", "VLLMServer"] = ApiError(503, "ServiceUnavailable", "later")
    with pytest.raises(ApiError, match="later"):
        await scene.passes(3)
    assert deletions(scene) == []


async def test_nobody_deletes_a_pod_unless_the_spec_asks_for_it() -> None:
    scene = frozen_scene()
    await settled(scene)
    await scene.passes(10)
    assert scene.condition("EngineHealthy") == ("False", "EngineStalled")
    assert deletions(scene) == []


async def test_a_new_process_takes_what_the_status_says_of_a_frozen_engine_from_there() -> None:
    scene = frozen_scene()
    await settled(scene)
    await scene.passes(2)
    scene.start()
    await scene.passes(1)
    assert {target.pod: target.stalled for target in scene.prober.targets["llm/mistral"]} == {
        "a": FROZEN.message,
        "b": "",
    }
