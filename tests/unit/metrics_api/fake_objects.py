"""Fakes of the caches and of the sampler, for the tests of the metrics API."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from vllm_operator.informers.snapshot import Cached
from vllm_operator.kube.key import Key
from vllm_operator.probing.load_sampler import RequestLoadSample, SampleTarget
from vllm_operator.probing.replica_load import RequestLoad

TIME = 1_800_000_000.0


@dataclass
class FakeCached:
    """A pod in the cache; counts how often it is parsed."""

    content: dict[str, Any]
    parsed: int = 0

    @property
    def uid(self) -> str:
        return str(self.content["metadata"]["uid"])

    @property
    def version(self) -> str:
        return str(self.content["metadata"].get("resourceVersion", "1"))

    @property
    def body(self) -> dict[str, Any]:
        self.parsed += 1
        return self.content


@dataclass
class FakeObjects:
    """The servers and pods of the namespace `llm`."""

    pods: dict[str, list[FakeCached]] = field(default_factory=dict)
    servers: dict[str, dict[str, Any]] = field(default_factory=dict)

    def replicas(self, key: Key) -> list[Cached]:
        return list(self.pods.get(key.instance, ())) if key.namespace == "llm" else []

    def get(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        return self.servers.get(name) if namespace == "llm" else None

    def server_names(self, namespace: str) -> list[str]:
        return list(self.servers) if namespace == "llm" else []


class FakeSampler:
    """Returns the loads of a dict by the UID of the pod; None for a replica that does not answer."""

    def __init__(self) -> None:
        self.loads: dict[str, RequestLoad | None] = {}

    async def sample(self, targets: Iterable[SampleTarget], max_age: float) -> Mapping[str, RequestLoadSample]:
        wanted = [target.uid for target in targets]
        return {uid: RequestLoadSample(self.loads[uid], TIME, 0.0) for uid in wanted if uid in self.loads}
