"""A reconciler with an API server in memory, and a server with a stalled engine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from tests.helpers.fakes import FakeApiClient, FakeClock
from tests.helpers.pods import deployment, ready_pod
from tests.helpers.specs import MODEL, body
from vllm_operator.apply.applier import Applier
from vllm_operator.controller.autoscaling import AutoscalingParts
from vllm_operator.controller.deletion_costs import DeletionCosts
from vllm_operator.controller.metrics import Metrics
from vllm_operator.controller.reconciler import Reconciler
from vllm_operator.controller.reference_resolver import ReferenceResolver
from vllm_operator.controller.requeue import Requeue
from vllm_operator.controller.server_state import ServerStates
from vllm_operator.controller.status_writer import StatusWriter
from vllm_operator.diagnosis.diagnosis import Diagnosis
from vllm_operator.informers.discovery import OptionalKinds
from vllm_operator.informers.store import Store
from vllm_operator.investigation.log_reader import ContainerLogReader
from vllm_operator.investigation.lookups import LookupRunner
from vllm_operator.kube.connection import Connection
from vllm_operator.kube.event_recorder import EventRecorder
from vllm_operator.kube.key import Key
from vllm_operator.probing.health import ReplicaHealth
from vllm_operator.probing.manager import ProbeManager
from vllm_operator.probing.targets import ProbeTarget
from vllm_operator.remediation.remediator import Remediator
from vllm_operator.settings import Settings

KEY = Key("llm", "mistral")
TOKEN = {"model": {**MODEL, "tokenSecretRef": {"name": "hf"}}}
STALLED = ReplicaHealth("Stalled", "/health answers 200, but a one-token completion got no answer within 20 s")


async def read_no_log(namespace: str, pod: str, container: str, previous: bool) -> str:
    """Fail: a reconcile reads no log itself."""
    raise AssertionError


async def run_no_lookup(*_: Any) -> Diagnosis:
    """Fail: a reconcile runs no lookup itself."""
    raise AssertionError


def no_autoscaling(store: Store, probes: ProbeManager) -> AutoscalingParts:
    """Return the parts for autoscalers, without a metrics API and without an API server."""
    connection = cast("Connection", None)
    return AutoscalingParts(Settings(), connection, store, probes, lambda: False, lambda keys: None)


class FakeProbes:
    """Remembers the probe targets, and returns prepared results."""

    def __init__(self) -> None:
        self.targets: dict[Key, list[ProbeTarget]] = {}
        self.added: list[ProbeTarget] = []
        self.healths: dict[str, ReplicaHealth] = {}
        self.delay: float | None = None

    def sync(self, key: Key, targets: Iterable[ProbeTarget]) -> None:
        self.targets[key] = list(targets)

    def add(self, target: ProbeTarget) -> None:
        self.added.append(target)

    def forget(self, key: Key) -> None:
        self.targets.pop(key, None)

    def health(self, key: Key) -> dict[str, ReplicaHealth]:
        return self.healths

    def loads(self, key: Key) -> dict[str, float]:
        return {}

    def service_failure(self, key: Key, revision: str) -> str:
        return ""

    def status_delay(self, key: Key) -> float | None:
        return self.delay

    def counts(self) -> dict[Key, tuple[int, int]]:
        return {KEY: (len(self.healths), sum(not health.is_healthy for health in self.healths.values()))}

    @property
    def replicas(self) -> int:
        return len(self.healths)


class Scene:
    """A reconciler with an API server in memory; the clock advances by a minute with every reconcile."""

    def __init__(self, **spec: Any) -> None:
        self.api = FakeApiClient()
        self.optional_kinds = OptionalKinds(self.api)  # type: ignore[arg-type]
        self.now = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
        self.metrics = Metrics()
        self.start()
        self.set_spec(**spec)

    def start(self) -> None:
        """Start the operator: its caches hold the objects of the API server, and it remembers nothing."""
        self.store, self.probes = Store(), FakeProbes()
        for (kind, _), held in self.api.objects.items():
            self.store.put(kind, held)
        clock, api = FakeClock(), self.api
        applier, events = Applier(api, self.store, clock), EventRecorder(api, clock)  # type: ignore[arg-type]
        probes: Any = self.probes
        log_reader = ContainerLogReader(read_no_log, lambda _: None)
        lookups = LookupRunner(run_no_lookup, lambda _: None, clock)
        owners = (log_reader.forget, lookups.forget, events.forget, self.probes.forget)
        self.servers = ServerStates(applier.new_history, clock, owners)
        self.reconciler = Reconciler(
            store=self.store,
            servers=self.servers,
            optional_kinds=self.optional_kinds,
            references=ReferenceResolver(api, clock),  # type: ignore[arg-type]
            applier=applier,
            deletion_costs=DeletionCosts(api, self.store),  # type: ignore[arg-type]
            probes=probes,
            log_reader=log_reader,
            lookups=lookups,
            remediator=Remediator(api, self.store, probes, events, self.metrics.count_stalled_restart),  # type: ignore[arg-type]
            status_writer=StatusWriter(api, self.store, events),  # type: ignore[arg-type]
            autoscaling=no_autoscaling(self.store, probes),
            clock=lambda: self.now,
        )

    def set_spec(self, generation: int = 1, **spec: Any) -> None:
        """Set the spec of the server, or create it."""
        self.store.put("VLLMServer", self.api.hold({**self.server, **body(generation=generation, **spec)}))

    @property
    def server(self) -> dict[str, Any]:
        """The live VLLMServer; empty before it exists."""
        return self.api.objects.get(("VLLMServer", "mistral"), {})

    def condition(self, kind: str) -> tuple[str, str]:
        """Return status and reason of a condition as it was written."""
        found = next(entry for entry in self.server["status"]["conditions"] if entry["type"] == kind)
        return found["status"], found["reason"]

    async def reconcile(self, times: int = 1) -> Requeue:
        """Reconcile the server, each time a minute later; return the result of the last time."""
        requeue = Requeue.never()
        for _ in range(times):
            self.now += timedelta(minutes=1)
            requeue = await self.reconciler.reconcile(KEY)
        return requeue

    @property
    def applied(self) -> list[str]:
        """Kinds of the applies so far, sorted."""
        return sorted(kind for verb, kind, _ in self.api.requests if verb == "apply")


def stalled_scene(pods: Sequence[str] = ("a", "b"), **spec: Any) -> Scene:
    """Return a server with ready pods, the first of which has a stalled engine."""
    scene = Scene(**{"replicas": len(pods), **spec})
    labels = {"app.kubernetes.io/instance": "mistral", "app.kubernetes.io/managed-by": "vllm-operator"}
    for name in pods:
        pod = ready_pod(name)
        owner = [{"kind": "ReplicaSet", "name": "mistral-5f9c6d7b8", "controller": True}]
        pod["status"]["podIP"] = "10.0.0.7"
        pod["metadata"]["labels"] |= labels
        pod["metadata"] |= {"namespace": "llm", "ownerReferences": owner}
        scene.store.put("Pod", scene.api.hold({"kind": "Pod", **pod}))
    scene.probes.healths = dict.fromkeys(pods, ReplicaHealth("Serving")) | {pods[0]: STALLED}
    return scene


async def settle(scene: Scene) -> None:
    """Apply the children, and have the Deployment's controller answer."""
    await scene.reconcile()
    live = scene.api.objects["Deployment", "mistral"]
    replicas = len(scene.store.names(KEY, "Pod"))
    status = deployment(replicas)["status"] | {"observedGeneration": live["metadata"].get("generation", 0)}
    live = {**live, "status": status}
    scene.store.put("Deployment", scene.api.hold(live))
