"""Read a VLLMServer with everything around it: children, revisions, pods, Events."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from vllm_operator.api.names import CONTAINER, child_name, selector_labels
from vllm_operator.cli.api_failures import CallError
from vllm_operator.cli.sanitize import clean
from vllm_operator.cli.servers import field, items, name_of
from vllm_operator.kube.kinds import CHILD_KINDS, EVENT, POD, Kind

if TYPE_CHECKING:
    from vllm_operator.cli.cluster import Cluster, Object

T = TypeVar("T")

REPLICA_SET = Kind("ReplicaSet", "apps", "v1", "replicasets")
POD_METRICS = Kind("PodMetrics", "metrics.k8s.io", "v1beta1", "pods")
MOST_PODS = 2000
"""Pods of one server that are read."""

REVISION = "deployment.kubernetes.io/revision"
HASH = "pod-template-hash"
DEFAULT_PORT = 8000
"""Port of vLLM's API server, unless the container declares a port `http`."""


@dataclass(frozen=True)
class Gathered:
    """A server and its objects at one moment.

    Attributes:
        server: the VLLMServer.
        children: kind -> child; kinds that do not exist or cannot be read are absent.
        replica_sets: the revisions of the Deployment, the newest first.
        pods: the pods of the server.
        unread: what could not be read, as messages.
    """

    server: Object
    children: Mapping[str, Object]
    replica_sets: Sequence[Object] = ()
    pods: Sequence[Object] = ()
    unread: Sequence[str] = ()

    @property
    def replica_statuses(self) -> dict[str, Mapping[str, Any]]:
        """Return pod -> its entry in `status.replicaStatuses`."""
        return {str(entry.get("pod")): entry for entry in items(self.server, "status", "replicaStatuses")}


def gather(cluster: Cluster, server: Object) -> Gathered:
    """Return a server with its children, revisions and pods; a missing right leaves a message in `unread`."""
    name, unread = name_of(server), list[str]()
    children = {}
    for kind in CHILD_KINDS.values():
        suffix = "cache" if kind.name == "PersistentVolumeClaim" else ""
        found = _unless_refused(partial(cluster.find, kind, child_name(name, suffix)), unread)
        if found:
            children[kind.name] = found
    labels = ",".join(f"{key}={value}" for key, value in selector_labels(name).items())

    def listed(kind: Kind) -> list[Object]:
        def read() -> list[Object]:
            return cluster.list(kind, cluster.namespace, labels=labels, most=MOST_PODS)

        return _unless_refused(read, unread) or []

    sets = sorted(listed(REPLICA_SET), key=revision, reverse=True)
    return Gathered(server, children, sets, sorted(listed(POD), key=name_of), tuple(unread))


def _unless_refused(read: Callable[[], T], unread: list[str]) -> T | None:
    """Return what `read` returns; None, with a message in `unread`, if a right is missing."""
    try:
        return read()
    except CallError as error:
        if not error.is_forbidden:
            raise
        unread.append(error.message)
        return None


def revision(replica_set: Mapping[str, Any]) -> int:
    """Return the number of a ReplicaSet's revision; 0 if it has none."""
    value = field(replica_set, "metadata", "annotations")
    number = value.get(REVISION) if isinstance(value, Mapping) else None
    return int(number) if isinstance(number, str) and number.isdecimal() and len(number) < 12 else 0


def pod_hash(body: Mapping[str, Any]) -> str:
    """Return the pod-template-hash of a pod or a ReplicaSet; empty if it has none."""
    labels = field(body, "metadata", "labels")
    value = labels.get(HASH) if isinstance(labels, Mapping) else None
    return value if isinstance(value, str) else ""


def engine_container(body: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    """Return the container that runs vLLM in a pod, or in the template at a path; empty if there is none."""
    found = items(body, *path, "spec", "containers")
    return next((container for container in found if container.get("name") == CONTAINER), {})


def engine_port(pod: Mapping[str, Any]) -> int:
    """Return the port of vLLM's API server in a pod."""
    for port in items(engine_container(pod), "ports"):
        number = port.get("containerPort")
        if port.get("name") == "http" and isinstance(number, int) and 0 < number < 65536:
            return number
    return DEFAULT_PORT


def engine_scheme(pod: Mapping[str, Any]) -> str:
    """Return `https` if vLLM serves TLS itself, else `http`, as the kubelet's probe has it."""
    probe = field(engine_container(pod), "readinessProbe", "httpGet", "scheme")
    return "https" if probe == "HTTPS" else "http"


def is_ready(pod: Mapping[str, Any]) -> bool:
    """Return whether Kubernetes calls a pod ready."""
    return any(
        entry.get("type") == "Ready" and entry.get("status") == "True" for entry in items(pod, "status", "conditions")
    )


def events_of(cluster: Cluster, names: Sequence[str], most: int = 500) -> list[Object]:
    """Return the Events about objects with these names, the oldest first."""
    wanted = set(names)
    events = cluster.list(EVENT, cluster.namespace, most=5000)
    found = [event for event in events if clean(field(event, "involvedObject", "name")) in wanted]
    return sorted(found, key=event_time)[-most:]


def event_time(event: Mapping[str, Any]) -> str:
    """Return the time of an Event's last occurrence, as RFC 3339."""
    times = (event.get("lastTimestamp"), field(event, "series", "lastObservedTime"), event.get("eventTime"))
    return clean(next((time for time in times if isinstance(time, str)), ""), 64)
