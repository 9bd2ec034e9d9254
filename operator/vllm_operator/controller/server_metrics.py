"""Export the status of each VLLMServer as metrics (`--server-metrics`), for a bounded number of servers.

The names after `vllm_operator_server_` are those after `kube_vllmserver_` that kube-state-metrics exports with
config/kube-state-metrics, so that a query can take either.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from vllm_operator.kube.fields import get_int, get_list, get_map, get_str, parse_time
from vllm_operator.kube.kinds import SERVER

PREFIX = "vllm_operator_server_"

LABELS = ("namespace", "vllmserver")
"""Labels of each series. A scrape must keep the label `namespace` (`honorLabels`), as for kube-state-metrics."""

MAX_LABEL = 128
"""Characters of a label value: the version comes from the replicas."""

COUNTS = {
    "spec_replicas": "Replicas that are wanted: those of the spec, or of the autoscaler.",
    "status_replicas": "Pods that the Deployment has.",
    "status_ready_replicas": "Pods whose Ready condition is True.",
    "status_healthy_replicas": "Pods that serve: they are ready, and their engine answers and lists the model.",
    "status_updated_replicas": "Pods of the newest revision.",
    "status_stalled_restarts": "Pods of stalled engines that the operator deleted within the last hour.",
    "spec_target_running_requests": "Running requests per replica that the autoscaler aims at.",
}
"""Name of each series with one number a server, and its meaning."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ConditionSample:
    """A condition as it is exported; `since` is Unix time, None when it cannot be read."""

    type: str
    status: str
    reason: str
    since: float | None


@dataclass(frozen=True, slots=True)
class ServerSample:
    """The exported values of one server.

    Attributes:
        uid: UID of the server; its series end with it.
        phase: `status.phase`.
        version: version of vLLM that the replicas report; empty while it is unknown.
        counts: value by name in `COUNTS`.
        replica_phases: number of replicas by phase.
        conditions: the conditions.
    """

    uid: str
    phase: str
    version: str
    counts: Mapping[str, int]
    replica_phases: Mapping[str, int]
    conditions: tuple[ConditionSample, ...]


class ServerMetrics(Collector):
    """The series of all servers. A reconcile stores a few values; the series are made at a scrape.

    Args:
        limit: number of servers with series; further ones are counted only.
        uid_of: returns the UID of the VLLMServer with this kind, namespace and name; empty when it is gone.
    """

    def __init__(self, limit: int, uid_of: Callable[[str, str, str], str]) -> None:
        self._limit = limit
        self._uid_of = uid_of
        self._samples: dict[tuple[str, str], ServerSample] = {}
        self._left_out: dict[tuple[str, str], str] = {}
        """UIDs of the servers beyond the limit."""
        self._has_said = False

    def record(self, server: Mapping[str, Any], status: Mapping[str, Any]) -> None:
        """Store the exported values of a server.

        Args:
            server: the VLLMServer.
            status: its status as the operator built it.
        """
        metadata = server["metadata"]
        name = (metadata["namespace"], metadata["name"])
        if name not in self._samples and not self._has_room():
            self._leave_out(name, metadata["uid"])
            return
        self._left_out.pop(name, None)
        self._samples[name] = server_sample(server, status)

    def collect(self) -> Iterator[Metric]:
        """Return the families at a scrape, and forget the servers that are gone."""
        self._drop_gone()
        samples = {(text(ns), text(name)): sample for (ns, name), sample in sorted(self._samples.items())}
        yield _family(
            "info", "Version of vLLM, always 1.", (((*k, s.version), 1.0) for k, s in samples.items()), "version"
        )
        yield _family("status_phase", "1 for the phase of the server.", _phases(samples), "phase")
        for count, meaning in COUNTS.items():
            yield _family(count, meaning, ((k, s.counts[count]) for k, s in samples.items() if count in s.counts))
        yield _family("status_replica_phase", "Replicas by phase.", _replica_phases(samples), "phase")
        yield _family(
            "status_condition",
            "1 for the status of a condition.",
            _conditions(samples),
            "condition",
            "status",
            "reason",
        )
        yield _family(
            "status_condition_last_transition_time",
            "When the status of a condition changed, Unix time.",
            _transitions(samples),
            "condition",
        )
        for one, meaning, value in (
            ("metrics_limit", "Servers that may have metrics (--server-metrics-limit).", self._limit),
            ("metrics_left_out", "Servers beyond the limit, without metrics.", len(self._left_out)),
        ):
            yield GaugeMetricFamily(f"{PREFIX}{one}", meaning, value=float(value))

    def _has_room(self) -> bool:
        if len(self._samples) >= self._limit:
            self._drop_gone()
        return len(self._samples) < self._limit

    def _leave_out(self, name: tuple[str, str], uid: str) -> None:
        self._left_out[name] = uid
        if not self._has_said:
            self._has_said = True
            logger.warning(
                "%s/%s and further servers have no metrics: raise --server-metrics-limit, which is %d; "
                "vllm_operator_server_metrics_left_out counts them",
                *name,
                self._limit,
            )

    def _drop_gone(self) -> None:
        """Forget the servers that no longer exist, or that were created again."""
        for name in [n for n, sample in self._samples.items() if self._is_gone(n, sample.uid)]:
            del self._samples[name]
        for name in [n for n, uid in self._left_out.items() if self._is_gone(n, uid)]:
            del self._left_out[name]

    def _is_gone(self, name: tuple[str, str], uid: str) -> bool:
        return self._uid_of(SERVER.name, *name) != uid


def server_sample(server: Mapping[str, Any], status: Mapping[str, Any]) -> ServerSample:
    """Return the exported values of a server with this status."""
    wanted = get_str(status, "ready").partition("/")[2]
    values = {
        "spec_replicas": int(wanted) if wanted.isdigit() else None,
        "status_replicas": status.get("replicas"),
        "status_ready_replicas": status.get("readyReplicas"),
        "status_healthy_replicas": status.get("healthyReplicas"),
        "status_updated_replicas": status.get("updatedReplicas"),
        "status_stalled_restarts": len(get_list(status, "stalledRestarts")),
        "spec_target_running_requests": _target(server),
    }
    return ServerSample(
        uid=server["metadata"]["uid"],
        phase=text(get_str(status, "phase")),
        version=text(get_str(status, "version")),
        counts={name: value for name, value in values.items() if value is not None},
        replica_phases=Counter(text(get_str(one, "phase")) for one in get_list(status, "replicaStatuses")),
        conditions=tuple(_condition(one) for one in get_list(status, "conditions")),
    )


def text(value: str) -> str:
    """Return a label value that UTF-8 can hold, of bounded length."""
    return value[:MAX_LABEL].encode("utf-8", "replace").decode()


def _target(server: Mapping[str, Any]) -> int | None:
    """Return the target of the autoscaler; None without one. The API server has set the default."""
    autoscaling = get_map(server, "spec", "autoscaling")
    return get_int(autoscaling, "targetRunningRequests") or None if autoscaling else None


def _condition(body: Mapping[str, Any]) -> ConditionSample:
    since = parse_time(get_str(body, "lastTransitionTime"))
    return ConditionSample(
        text(get_str(body, "type")),
        text(get_str(body, "status")),
        text(get_str(body, "reason")),
        since.timestamp() if since else None,
    )


Labelled = Iterable[tuple[tuple[str, ...], float]]
Samples = Mapping[tuple[str, str], ServerSample]


def _family(name: str, meaning: str, values: Labelled, *labels: str) -> Metric:
    family = GaugeMetricFamily(f"{PREFIX}{name}", meaning, labels=[*LABELS, *labels])
    for key, value in values:
        family.add_metric(key, value)
    return family


def _phases(samples: Samples) -> Labelled:
    return (((*key, sample.phase), 1.0) for key, sample in samples.items() if sample.phase)


def _replica_phases(samples: Samples) -> Labelled:
    for key, sample in samples.items():
        yield from (((*key, phase), count) for phase, count in sorted(sample.replica_phases.items()))


def _conditions(samples: Samples) -> Labelled:
    for key, sample in samples.items():
        yield from (((*key, one.type, one.status, one.reason), 1.0) for one in sample.conditions)


def _transitions(samples: Samples) -> Labelled:
    for key, sample in samples.items():
        yield from (((*key, one.type), one.since) for one in sample.conditions if one.since is not None)


def status_observer(
    limit: int, uid_of: Callable[[str, str, str], str], register: Callable[[Collector], None]
) -> Callable[[Mapping[str, Any], Mapping[str, Any]], None] | None:
    """Return the function that stores the statuses of servers for their metrics; None where they are off.

    Args:
        limit: number of servers with series; 0 for none.
        uid_of: returns the UID of an object.
        register: takes the series into the metrics of the process.
    """
    if not limit:
        return None
    server_metrics = ServerMetrics(limit, uid_of)
    register(server_metrics)
    return server_metrics.record
