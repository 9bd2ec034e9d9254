"""The tree of one server: conditions, revisions, replicas with their load, autoscaler and other children."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from vllm_operator.cli.gathered import Gathered, engine_container, is_ready, pod_hash, revision
from vllm_operator.cli.load import ReplicaLoad
from vllm_operator.cli.output import PHASE_STYLES
from vllm_operator.cli.sanitize import clean
from vllm_operator.cli.servers import field, is_judged, items, mapping, name_of, namespace_of, texts
from vllm_operator.cli.times import age

if TYPE_CHECKING:
    from rich.text import Text
    from rich.tree import Tree

Loads = Mapping[str, ReplicaLoad]
UNKNOWN = "unknown"
LONGEST_MESSAGE = 32_768
"""Longest message of a condition (Kubernetes' metav1.Condition)."""

LONGEST_NOTE = 400
"""Characters of a cause in the tree; `-o wide` and `-o json` have all of it."""


def server_tree(state: Gathered, loads: Loads, *, wide: bool = False) -> Tree:
    """Return the tree of a server; a wide one has whole messages, and address, restarts and image of each replica."""
    from rich.tree import Tree

    server, limit = state.server, LONGEST_MESSAGE if wide else LONGEST_NOTE
    phase = clean(field(server, "status", "phase")) or "not judged yet"
    tree = Tree(
        _text((f"{namespace_of(server)}/{name_of(server)}", "bold"), ("  "), _phase(phase), _message(server, limit))
    )
    for line in _facts(server):
        tree.add(line)
    _add_conditions(tree, server, limit)
    _add_revisions(tree, state, loads, wide=wide)
    for line in (*_autoscaler(state), *_children(state), *map(_unread, state.unread)):
        tree.add(line)
    return tree


def _unread(message: str) -> Text:
    return _text((f"not shown: {message}", "yellow"))


def _message(server: Mapping[str, Any], limit: int) -> str:
    message = clean(field(server, "status", "message"), limit)
    stale = "" if is_judged(server) else " (of an earlier generation: the operator has not judged this spec yet)"
    return f"  {message}{stale}" if message or stale else ""


def _facts(server: Mapping[str, Any]) -> Iterator[Text]:
    served = ", ".join(texts(server, "status", "servedModels"))
    yield _text("model: ", clean(field(server, "spec", "model", "uri")), f", served as {served}" if served else "")
    version, image = field(server, "status", "version"), field(server, "spec", "image")
    yield _text("vLLM: ", clean(version) or UNKNOWN, f", image {clean(image)}" if image else "")
    if endpoint := field(server, "status", "endpoint"):
        yield _text("endpoint: ", clean(endpoint))
    capacity = field(server, "status", "capacity")
    if isinstance(capacity, Mapping) and capacity:
        yield _text("capacity of a replica: ", capacity_text(capacity))


def capacity_text(capacity: Mapping[str, Any]) -> str:
    """Return the capacity of a replica in words."""
    parts = (
        ("kvCacheTokens", "{:,} tokens of KV cache"),
        ("maxModelLen", "{:,} tokens of context"),
        ("concurrency", "{:,} full contexts at once"),
    )
    return ", ".join(text.format(capacity[key]) for key, text in parts if isinstance(capacity.get(key), int)) or UNKNOWN


def _add_conditions(tree: Tree, server: Mapping[str, Any], limit: int) -> None:
    entries = items(server, "status", "conditions")
    if not entries:
        return
    branch = tree.add("conditions")
    for entry in entries:
        kind, status = clean(entry.get("type"), 64), clean(entry.get("status"), 16)
        is_bad = status == ("True" if kind == "Stalled" else "False") and entry.get("reason") != "Complete"
        style = "red" if is_bad else "yellow" if status == "Unknown" else "green" if status == "True" else ""
        note = clean(entry.get("message"), limit) if is_bad or status == "Unknown" else ""
        branch.add(
            _text(f"{kind}=", (status, style), f" {clean(entry.get('reason'), 128)}", f": {note}" if note else "")
        )


def _add_revisions(tree: Tree, state: Gathered, loads: Loads, *, wide: bool) -> None:
    """Add each revision that has replicas, or is the newest one, with its replicas."""
    left = list(state.pods)
    for number, replica_set in enumerate(state.replica_sets):
        own = [pod for pod in left if pod_hash(pod) == pod_hash(replica_set)]
        if own or not number or field(replica_set, "spec", "replicas"):
            branch = tree.add(_revision(replica_set, is_newest=number == 0))
            for pod in own:
                branch.add(_replica(pod, state, loads, wide=wide))
        left = [pod for pod in left if pod not in own]
    for pod in left:
        tree.add(_replica(pod, state, loads, wide=wide))


def _revision(replica_set: Mapping[str, Any], *, is_newest: bool) -> Text:
    image = clean(engine_container(replica_set, "spec", "template").get("image"))
    ready, wanted = field(replica_set, "status", "readyReplicas") or 0, field(replica_set, "spec", "replicas") or 0
    newest = ", newest" if is_newest else ""
    return _text(f"revision {revision(replica_set) or UNKNOWN}{newest}: {ready}/{wanted} ready, {image}")


def _replica(pod: Mapping[str, Any], state: Gathered, loads: Loads, *, wide: bool) -> Text:
    name = name_of(pod)
    entry = state.replica_statuses.get(name, {})
    phase = clean(entry.get("phase")) or ("Ready" if is_ready(pod) else clean(field(pod, "status", "phase")) or UNKNOWN)
    since = entry.get("since") or field(pod, "metadata", "creationTimestamp")
    node = clean(field(pod, "spec", "nodeName"))
    message = clean(entry.get("message"), LONGEST_MESSAGE if wide else LONGEST_NOTE)
    load = load_text(loads[name]) if name in loads else ""
    return _text(
        (name, "bold"),
        "  ",
        _phase(phase),
        f" {age(since)}",
        f", node {node}" if node else "",
        _wide_facts(pod) if wide else "",
        f", {load}" if load else "",
        f": {message}" if message else "",
    )


def _wide_facts(pod: Mapping[str, Any]) -> str:
    """Return the address of a replica, the restarts of its containers, and its image."""
    restarts = [entry.get("restartCount") for entry in items(pod, "status", "containerStatuses")]
    count = sum(number for number in restarts if isinstance(number, int))
    address, image = clean(field(pod, "status", "podIP")), clean(engine_container(pod).get("image"))
    return f"{f', IP {address}' if address else ''}, {count} restarts{f', {image}' if image else ''}"


def load_text(load: ReplicaLoad) -> str:
    """Return the load of a replica in words."""
    if load.problem:
        return f"load unknown ({clean(load.problem, 200)})"
    cache = UNKNOWN if load.kv_cache is None else f"{load.kv_cache:.1%}"
    return f"running {_shown(load.running)}, waiting {_shown(load.waiting)}, KV cache {cache}"


def _shown(number: int | None) -> str:
    return UNKNOWN if number is None else str(number)


def _autoscaler(state: Gathered) -> Iterator[Text]:
    scaler = state.children.get("HorizontalPodAutoscaler")
    if scaler is not None:
        yield _text("autoscaler: ", autoscaler_text(scaler))


def autoscaler_text(scaler: Mapping[str, Any]) -> str:
    """Return the bounds, the wanted replicas and the metrics of a HorizontalPodAutoscaler in words."""
    spec, status = mapping(scaler, "spec"), mapping(scaler, "status")
    wanted = f"{clean(status.get('currentReplicas')) or UNKNOWN} replicas, wants {clean(status.get('desiredReplicas'))}"
    bounds = f"of {clean(spec.get('minReplicas', 1))} to {clean(spec.get('maxReplicas'))}"
    current = {clean(field(entry, "pods", "metric", "name")): entry for entry in items(status, "currentMetrics")}
    shown = [
        f"{name} {clean(field(current.get(name), 'pods', 'current', 'averageValue')) or UNKNOWN} (target {target})"
        for name, target in _targets(scaler)
    ]
    problems = [
        clean(entry.get("message"), LONGEST_NOTE)
        for entry in items(status, "conditions")
        if entry.get("type") in {"AbleToScale", "ScalingActive"} and entry.get("status") == "False"
    ]
    return "; ".join([f"{wanted} {bounds}", *shown, *problems])


def _targets(scaler: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for metric in items(scaler, "spec", "metrics"):
        name = clean(field(metric, "pods", "metric", "name"))
        yield name, clean(field(metric, "pods", "target", "averageValue"))


def _children(state: Gathered) -> Iterator[Text]:
    claim = state.children.get("PersistentVolumeClaim")
    if claim is not None:
        size = clean(
            field(claim, "status", "capacity", "storage") or field(claim, "spec", "resources", "requests", "storage")
        )
        yield _text(f"cache: claim {name_of(claim)}, {clean(field(claim, 'status', 'phase'))}, {size}")
    budget = state.children.get("PodDisruptionBudget")
    if budget is not None:
        yield _text(f"disruptions: {clean(field(budget, 'status', 'disruptionsAllowed')) or UNKNOWN} allowed now")
    service = state.children.get("Service")
    if service is not None:
        ports = ", ".join(clean(port.get("port")) for port in items(service, "spec", "ports"))
        yield _text(f"service: {clean(field(service, 'spec', 'type'))}, port {ports}")
    monitored = [kind for kind in ("PodMonitor", "PrometheusRule") if kind in state.children]
    if monitored:
        yield _text(f"monitoring: {', '.join(monitored)}")


def _phase(phase: str) -> tuple[str, str]:
    return phase, PHASE_STYLES.get(phase, "")


def _text(*parts: str | tuple[str, str]) -> Text:
    from rich.text import Text

    return Text.assemble(*parts)
