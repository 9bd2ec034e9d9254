"""A reconciler over an API server in memory, and a server with a frozen engine."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.helpers.fakes import FakeApiClient, FakeClock
from tests.helpers.pods import deployment, ready_pod
from tests.helpers.specs import MODEL, body
from vllm_operator.apply.applier import Applier
from vllm_operator.controller.metrics import Metrics
from vllm_operator.controller.reconciler import Reconciler, ReconcilerDependencies
from vllm_operator.controller.reference_resolver import ReferenceResolver
from vllm_operator.controller.requeue import Requeue
from vllm_operator.diagnosis.diagnosis import Diagnosis
from vllm_operator.informers.discovery import OptionalKinds
from vllm_operator.informers.store import Store
from vllm_operator.investigation.log_reader import ContainerLogReader
from vllm_operator.investigation.lookups import LookupRunner
from vllm_operator.kube.event_recorder import EventRecorder
from vllm_operator.kube.key import Key
from vllm_operator.probing.health import ReplicaHealth
from vllm_operator.probing.targets import ProbeTarget

KEY = Key("llm", "mistral")
TOKEN = {"model": {**MODEL, "tokenSecretRef": {"name": "hf"}}}
FROZEN = ReplicaHealth("Stalled", "/health answers 200, but a one-token completion got no answer within 20 s")


async def unread(namespace: str, pod: str, container: str, previous: bool) -> str:
    """No log is read in a pass."""
    raise AssertionError


async def unasked(*_: Any) -> Diagnosis:
    """Nothing is looked up in a pass."""
    raise AssertionError


class FakeProber:
    """Remembers whom it is to ask."""

    def __init__(self) -> None:
        self.targets: dict[Key, list[ProbeTarget]] = {}
        self.healths: dict[str, ReplicaHealth] = {}
        self.delay: float | None = None

    def sync(self, key: Key, targets: Iterable[ProbeTarget]) -> None:
        self.targets[key] = list(targets)

    def health(self, key: Key) -> dict[str, ReplicaHealth]:
        return self.healths

    def status_delay(self, key: Key) -> float | None:
        return self.delay

    def unresponsive(self) -> list[Key]:
        return [KEY for health in self.healths.values() if not health.is_healthy]

    @property
    def replicas(self) -> int:
        return len(self.healths)


class Scene:
    """A reconciler over an API server in memory; the clock moves on by a minute with every pass."""

    def __init__(self, **spec: Any) -> None:
        self.api = FakeApiClient()
        self.capabilities = OptionalKinds(self.api)  # type: ignore[arg-type]
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
            ReconcilerDependencies(
                client=api,  # type: ignore[arg-type]
                store=self.store,
                children=Applier(api, self.store, clock),  # type: ignore[arg-type]
                references=ReferenceResolver(api, clock),  # type: ignore[arg-type]
                capabilities=self.capabilities,
                prober=self.prober,  # type: ignore[arg-type]
                diagnoses=ContainerLogReader(unread, lambda _: None),
                events=EventRecorder(api, clock),  # type: ignore[arg-type]
                lookups=LookupRunner(unasked, lambda _: None, clock),
                on_heal=self.metrics.count_stalled_restart,
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

    async def passes(self, times: int = 1) -> Requeue:
        again = Requeue.never()
        for _ in range(times):
            self.now += timedelta(minutes=1)
            again = await self.reconciler.reconcile(KEY)
        return again

    @property
    def applied(self) -> list[str]:
        return sorted(kind for verb, kind, _ in self.api.requests if verb == "apply")


def frozen_scene(**spec: Any) -> Scene:
    """A server with two ready pods of which the first is frozen."""
    scene = Scene(**{"replicas": 2, **spec})
    labels = {"app.kubernetes.io/instance": "mistral", "app.kubernetes.io/managed-by": "vllm-operator"}
    for name in ("a", "b"):
        pod = ready_pod(name)
        owner = [{"kind": "ReplicaSet", "name": "mistral-5f9c6d7b8", "controller": True}]
        pod["status"]["podIP"] = "10.0.0.7"
        pod["metadata"]["labels"] |= labels
        pod["metadata"] |= {"namespace": "llm", "ownerReferences": owner}
        scene.store.put("Pod", scene.api.hold({"kind": "Pod", **pod}))
    scene.prober.healths = {"a": FROZEN, "b": ReplicaHealth("Serving")}
    return scene


async def settled(scene: Scene) -> None:
    """Have the Deployment's controller answer to what was applied."""
    await scene.passes()
    live = scene.api.objects["Deployment", "mistral"]
    live = {**live, "status": deployment(2)["status"] | {"observedGeneration": live["metadata"].get("generation", 0)}}
    scene.store.put("Deployment", scene.api.hold(live))
