"""Collect what a bug report needs, without secrets: manifests, statuses, logs and Events."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from vllm_operator import __version__
from vllm_operator.api.crd import crd
from vllm_operator.api.names import GROUP, PLURAL
from vllm_operator.cli.api_failures import CallError
from vllm_operator.cli.cluster import Cluster
from vllm_operator.cli.findings import Finding, server_findings, title
from vllm_operator.cli.gathered import Gathered, events_of, gather
from vllm_operator.cli.operator_state import operator_deployments
from vllm_operator.cli.pod_logs import choose_container, log_query, read_log
from vllm_operator.cli.redaction import without_secrets
from vllm_operator.cli.servers import field, mapping, name_of, namespace_of
from vllm_operator.kube.kinds import POD, Kind

if TYPE_CHECKING:
    from vllm_operator.cli.cluster import Object

LOG_LINES = 5000
"""Lines of each log in a report."""

MOST_LOGS = 50
"""Pods of one server whose logs are read: the worst ones first."""

MOST_BYTES = 256 * 1024 * 1024
"""Bytes of a report before it is compressed."""

CRD = Kind("CustomResourceDefinition", "apiextensions.k8s.io", "v1", "customresourcedefinitions")
NODE = Kind("Node", "", "v1", "nodes")


class Bundle:
    """The files of a report, packed as they come."""

    def __init__(self) -> None:
        self._buffer = io.BytesIO()
        self._zip = zipfile.ZipFile(self._buffer, "w", zipfile.ZIP_DEFLATED)
        self._bytes = 0
        self.names: list[str] = []
        self.problems: list[str] = []

    def add(self, name: str, text: str) -> None:
        """Add a file; leave it out, with a note, when the report is full."""
        data = text.encode("utf-8", "replace")
        if self._bytes + len(data) > MOST_BYTES:
            self.problems.append(f"{name}: left out: the report has {MOST_BYTES:,} bytes already")
            return
        self._bytes += len(data)
        self._zip.writestr(name, data)
        self.names.append(name)

    def finish(self) -> bytes:
        """Return the zip file."""
        self.add("problems.txt", "".join(f"{problem}\n" for problem in self.problems) or "everything could be read\n")
        self._zip.close()
        return self._buffer.getvalue()


def fill(bundle: Bundle, cluster: Cluster, servers: Sequence[Object]) -> None:
    """Add everything about the operator and these servers. No Secret is read."""
    _try(bundle, "cluster.yaml", lambda: bundle.add("cluster.yaml", _yaml(_cluster_facts(cluster))))
    _try(bundle, "operator", lambda: _add_operator(bundle, cluster))
    for server in servers:
        folder = f"{namespace_of(server)}/{name_of(server)}"
        own = cluster.within(namespace_of(server))
        _try(bundle, folder, lambda own=own, server=server, folder=folder: _add_server(bundle, own, server, folder))


def _try(bundle: Bundle, what: str, add: Any) -> None:
    """Add a part; write down what a missing right or a failed call keeps away."""
    try:
        add()
    except CallError as error:
        bundle.problems.append(f"{what}: {error.message}")


def _cluster_facts(cluster: Cluster) -> dict[str, Any]:
    """Return versions, the state of the CRD, and the accelerators of the nodes; no addresses of the cluster."""
    definition = cluster.find(CRD, f"{PLURAL}.{GROUP}", "") or {}
    facts: dict[str, Any] = {
        "plugin": __version__,
        "kubernetes": cluster.request("GET", "/version"),
        "crdEqualsPlugin": field(definition, "spec", "versions") is not None and _schema(definition) == _schema(crd()),
    }
    try:
        facts["nodes"] = [
            {
                "name": name_of(node),
                "allocatable": field(node, "status", "allocatable"),
                "version": field(node, "status", "nodeInfo", "kubeletVersion"),
                "conditions": field(node, "status", "conditions"),
            }
            for node in cluster.list(NODE, None, most=1000)
        ]
    except CallError as error:
        facts["nodes"] = f"unknown: {error.message}"
    return facts


def _schema(definition: Any) -> Any:
    versions = field(definition, "spec", "versions")
    first = versions[0] if isinstance(versions, list) and versions else {}
    return field(first, "schema", "openAPIV3Schema", "properties", "spec")


def _add_operator(bundle: Bundle, cluster: Cluster) -> None:
    deployments = operator_deployments(cluster)
    if deployments is None:
        bundle.problems.append("operator: no right to list deployments.apps in all namespaces")
        return
    for deployment in deployments:
        folder = f"operator/{namespace_of(deployment)}"
        bundle.add(f"{folder}/deployment.yaml", _yaml(deployment))
        labels = mapping(deployment, "spec", "selector", "matchLabels")
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        for pod in cluster.list(POD, namespace_of(deployment), labels=selector, most=10):
            _add_logs(bundle, cluster, pod, folder)


def _add_server(bundle: Bundle, cluster: Cluster, server: Object, folder: str) -> None:
    state = gather(cluster, server)
    bundle.add(f"{folder}/vllmserver.yaml", _yaml(server))
    for kind, body in state.children.items():
        bundle.add(f"{folder}/{kind.lower()}.yaml", _yaml(body))
    bundle.add(f"{folder}/replicasets.yaml", "---\n".join(map(_yaml, state.replica_sets)))
    bundle.add(f"{folder}/pods.yaml", "---\n".join(map(_yaml, state.pods)))
    findings = [Finding("unknown", "rights", message) for message in state.unread]
    _try(bundle, f"{folder}/events.txt", lambda: bundle.add(f"{folder}/events.txt", _events(cluster, state)))
    lines = [f"{found.level}: {found.subject}: {found.message}" for found in [*server_findings(state), *findings]]
    bundle.add(f"{folder}/doctor.txt", "\n".join([title(server), *lines, ""]))
    for pod in _worst_first(state)[:MOST_LOGS]:
        _try(bundle, f"{folder}: log of {name_of(pod)}", lambda pod=pod: _add_logs(bundle, cluster, pod, folder))


def _worst_first(state: Gathered) -> list[Object]:
    order = {name: place for place, name in enumerate(state.replica_statuses)}
    return sorted(state.pods, key=lambda pod: order.get(name_of(pod), len(order)))


def _add_logs(bundle: Bundle, cluster: Cluster, pod: Object, folder: str) -> None:
    chosen = choose_container(pod, None, previous=False)
    runs = [(".previous", True)] if chosen.previous else []
    for suffix, previous in [*runs, ("", False)]:
        log = read_log(cluster, pod, log_query(chosen.container, previous=previous, tail=LOG_LINES))
        bundle.add(f"{folder}/logs/{name_of(pod)}.{chosen.container}{suffix}.log", log)


def _events(cluster: Cluster, state: Gathered) -> str:
    objects = [state.server, *state.pods, *state.replica_sets, *state.children.values()]
    return "".join(_event_lines(events_of(cluster, [name_of(body) for body in objects])))


def _event_lines(events: Sequence[Object]) -> Iterator[str]:
    from vllm_operator.cli.gathered import event_time

    for event in map(without_secrets, events):
        about = f"{field(event, 'involvedObject', 'kind')} {field(event, 'involvedObject', 'name')}"
        yield f"{event_time(event)} {event.get('type')} {about} {event.get('reason')}: {event.get('message')}\n"


def _yaml(body: Any) -> str:
    import yaml

    text: str = yaml.safe_dump(without_secrets(body), sort_keys=False, allow_unicode=False, width=120)
    return text
