"""Find the replicas that a request asks for, sample them, and compute the values of a metric."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import Protocol

from vllm_operator.api.names import LABEL_INSTANCE, child_name
from vllm_operator.informers.snapshot import Cached
from vllm_operator.kube.fields import get_map, get_str
from vllm_operator.kube.key import Key
from vllm_operator.kube.kinds import SERVER
from vllm_operator.kube.label_selector import LabelSelector
from vllm_operator.kube.slices import in_slices
from vllm_operator.kube.types import Object
from vllm_operator.metrics_api.documents import KV_CACHE, REQUESTS, RUNNING, WAITING, Value
from vllm_operator.probing.load_sampler import LoadSampler, RequestLoadSample, SampleTarget
from vllm_operator.probing.replica_load import RequestLoad
from vllm_operator.probing.targets import pod_endpoint

MAX_AGE_SECONDS = 1.0
"""Age of a sample that is used again: the two metrics of one sync of an autoscaler take one request to a replica."""

MAX_MEMO = 20_000
"""Pods that are remembered as they were read; beyond, all are read again."""

ANY_NAME = "*"
"""Name in a request that stands for all objects that the label selector matches."""

READ_LOAD: dict[str, Callable[[RequestLoad], float | None]] = {
    RUNNING: lambda load: load.running,
    WAITING: lambda load: load.waiting,
    REQUESTS: lambda load: load.requests,
    KV_CACHE: lambda load: load.kv_cache_usage,
}
"""Metric -> its value for one replica; None where vLLM exports none."""


class Objects(Protocol):
    """The cached objects of the cluster."""

    def replicas(self, key: Key) -> list[Cached]:
        """Return the pods of a server's Deployment."""

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """Return one object."""

    def server_names(self, namespace: str) -> list[str]:
        """Return the names of the servers of a namespace."""


@dataclass(frozen=True, slots=True)
class ServingReplica:
    """A replica that takes requests: it is Ready and is not being deleted."""

    pod: str
    labels: Mapping[str, str]
    target: SampleTarget


@dataclass(frozen=True, slots=True)
class ServerLoad:
    """The load of the replicas of one server that answered, and the number of those that take requests.

    Attributes:
        samples: the samples of the replicas.
        serving: replicas that take requests.
        requests: pod -> its running and waiting requests, of the replicas that answered.
    """

    samples: tuple[RequestLoadSample, ...]
    serving: int
    requests: Mapping[str, float] = field(default_factory=dict)

    @property
    def loads(self) -> list[RequestLoad]:
        """The loads of the replicas that answered."""
        return [sample.load for sample in self.samples if sample.load is not None]


class LoadReader:
    """Read the load of pods and of servers.

    Args:
        objects: the caches.
        sampler: samples the replicas.
    """

    def __init__(self, objects: Objects, sampler: LoadSampler) -> None:
        self._objects = objects
        self._sampler = sampler
        self._memo: dict[str, tuple[str, ServingReplica | None]] = {}
        """UID of a pod -> its resource version, and what was read from it."""

    async def pods(self, namespace: str, name: str, selector: LabelSelector, metric: str) -> list[Value]:
        """Return the value of each pod that takes requests and answers.

        Args:
            namespace: namespace of the pods.
            name: name of one pod; `*` for all that the selector matches.
            selector: label selector.
            metric: one of `READ_LOAD`.
        """
        replicas = [
            replica
            async for replica in self._serving(self._keys(namespace, selector))
            if name in (ANY_NAME, replica.pod) and selector.matches(replica.labels)
        ]
        samples = await self._sampler.sample([replica.target for replica in replicas], MAX_AGE_SECONDS)
        return [
            Value(replica.pod, namespace, number, sample.time)
            for replica in replicas
            if (sample := samples.get(replica.target.uid)) is not None
            and sample.load is not None
            and (number := READ_LOAD[metric](sample.load)) is not None
        ]

    async def servers(self, namespace: str, name: str, selector: LabelSelector, metric: str, now: float) -> list[Value]:
        """Return the value of each server: 0 for one without replicas, none for one whose replicas are silent.

        Args:
            namespace: namespace of the servers.
            name: name of one server; `*` for all that the selector matches.
            selector: label selector.
            metric: one of `READ_LOAD`.
            now: seconds since the epoch, the time of the value of a server without replicas.
        """
        names = self._objects.server_names(namespace) if name == ANY_NAME else [name]
        values = []
        for server in names:
            body = self._objects.get(SERVER.name, namespace, server)
            if body is None or not selector.matches(_labels(body)):
                continue
            load = await self.load(Key(namespace, child_name(server)))
            if (found := server_value(load, metric, now)) is not None:
                values.append(Value(server, namespace, *found))
        return values

    async def load(self, key: Key, max_age: float = MAX_AGE_SECONDS) -> ServerLoad:
        """Return the load of one server."""
        replicas = [replica async for replica in self._serving([key])]
        samples = await self._sampler.sample([replica.target for replica in replicas], max_age)
        pairs = ((replica.pod, samples.get(replica.target.uid)) for replica in replicas)
        answered = [(pod, sample) for pod, sample in pairs if sample is not None]
        requests = {pod: sample.load.requests for pod, sample in answered if sample.load is not None}
        return ServerLoad(tuple(sample for _, sample in answered), len(replicas), requests)

    async def peek(self, key: Key, turn: int, count: int, max_age: float) -> ServerLoad:
        """Return the load of at most `count` replicas of a server, of others in each turn."""
        replicas = [replica async for replica in self._serving([key])]
        begin = turn * count % len(replicas) if replicas else 0
        chosen = (replicas[begin:] + replicas[:begin])[:count]
        samples = await self._sampler.sample([replica.target for replica in chosen], max_age)
        return ServerLoad(tuple(samples.values()), len(chosen))

    def _keys(self, namespace: str, selector: LabelSelector) -> Iterable[Key]:
        """Return the servers whose pods the selector may match; that of a Deployment names one server."""
        instance = selector.only_value(LABEL_INSTANCE)
        if instance is not None:
            return [Key(namespace, instance)]
        return [Key(namespace, child_name(name)) for name in self._objects.server_names(namespace)]

    async def _serving(self, keys: Iterable[Key]) -> AsyncIterator[ServingReplica]:
        pods = (pod for key in keys for pod in self._objects.replicas(key))
        async for pod in in_slices(pods):
            if (replica := self._replica(pod)) is not None:
                yield replica

    def _replica(self, pod: Cached) -> ServingReplica | None:
        known = self._memo.get(pod.uid)
        if known is not None and known[0] == pod.version:
            return known[1]
        replica = read_replica(pod.body)
        if len(self._memo) >= MAX_MEMO:
            self._memo.clear()
        self._memo[pod.uid] = pod.version, replica
        return replica


def read_replica(pod: Object) -> ServingReplica | None:
    """Return a pod as a replica that takes requests; None for one that loads, drains or is not Ready."""
    if get_str(pod, "metadata", "deletionTimestamp"):
        return None
    endpoint = pod_endpoint(pod, ())
    if endpoint is None or not endpoint.ready:
        return None
    target = SampleTarget(endpoint.uid, endpoint.base_url, get_str(pod, "metadata", "namespace"))
    return ServingReplica(endpoint.pod, _labels(pod), target)


def server_value(load: ServerLoad, metric: str, now: float) -> tuple[float, float] | None:
    """Return value and time of a metric of a server; None when replicas serve and none of them answers.

    Requests are summed. A replica that does not answer counts like the average of those that do: left out of the sum,
    it would count as idle. The use of the KV cache is averaged.
    """
    if not load.serving:
        return 0.0, now
    numbers = [number for one in load.loads if (number := READ_LOAD[metric](one)) is not None]
    if not numbers:
        return None
    oldest = min(sample.time for sample in load.samples if sample.load is not None)
    mean = fmean(numbers)
    return (mean if metric == KV_CACHE else mean * load.serving), oldest


def _labels(body: Object) -> dict[str, str]:
    return {key: value for key, value in get_map(body, "metadata", "labels").items() if isinstance(value, str)}
