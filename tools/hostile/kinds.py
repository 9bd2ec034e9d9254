"""The table of hostile kinds: what a tenant does to the operator, each with its own VLLMServer `h-<kind>`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tools.hostile.texts import termination_message
from vllm_operator.api.names import API_VERSION, KIND, LABEL_MANAGED_BY, MANAGER, selector_labels

Object = dict[str, Any]
Pods = Literal["none", "serving", "crashed", "pending"]

MODEL = "hf://mistralai/mistral-7b"
SERVED = "mistral-7b"
"""Name that the stand-ins serve."""
KEY_BYTES = 80_000
LARGE_MANIFESTS = 12
LARGE_LISTS = 460_000
"""Empty lists in a manifest of 1.3 MiB, which etcd just takes."""
ANNOTATION_BYTES = 200_000
LABELLED_SERVICES = 20


@dataclass(frozen=True)
class Kind:
    """One way to be hostile.

    Attributes:
        name: as `HOSTILE_KINDS` names it.
        what: what the tenant does.
        replicas: pods of its server; 0 for kinds without pods.
        pods: what the suite writes into their status.
        answers: class of the answers of its pods (`answers.ANSWERS`); empty when nothing listens at their addresses.
        node: node that its pods are bound to: one whose kubelet serves logs, or one whose kubelet is dead.
        message: number of a crash -> termination message.
        spec: more of the spec of its server.
        manifests: more objects, by namespace.
        change: number of the turn -> the merge patch of its server.
        act: name of what else the tenant does in a loop (`tenant.ACTS`).
        seconds: between two turns.
    """

    name: str
    what: str
    replicas: int = 0
    pods: Pods = "none"
    answers: str = ""
    node: Literal["", "hostile-logs", "hostile-dead"] = ""
    message: Callable[[int], str] | None = None
    spec: Object = field(default_factory=dict)
    manifests: Callable[[str], Iterable[Object]] | None = None
    change: Callable[[int], Object] | None = None
    act: str = ""
    seconds: float = 0.2

    @property
    def server(self) -> str:
        """Return the name of its VLLMServer."""
        return f"h-{self.name}"


def server(namespace: str, name: str, replicas: int = 1, spec: Object | None = None) -> Object:
    """Return a VLLMServer that is probed each second."""
    base: Object = {"model": {"uri": MODEL, "servedNames": [SERVED]}, "image": "vllm/vllm-openai:v0.32.0"}
    base |= {"replicas": replicas, "health": {"probeIntervalSeconds": 1}}
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": base | (spec or {})}


def anagrams(turn: int) -> Object:
    """Return 256 flags that resemble those of vLLM, other ones at each turn (M3)."""
    words = ("max", "model", "len", "num", "seqs", "batched", "tokens", "gpu", "memory", "utilization", "parallel")
    flags = []
    for number in range(256):
        picked = [words[(number * 7 + position * 3 + turn) % len(words)] for position in range(4)]
        flags.append(f"--{'-'.join(picked)}{number % 10}")
    return {"spec": {"engine": {"extraArgs": flags}}}


def key_of_paths(turn: int) -> Object:
    """Return a pod template with a key that looks like a path of fields again and again (H4)."""
    return {"spec": {"podTemplate": {"spec": {f"x{turn % 3} {'spec.' * (KEY_BYTES // 5)} y": 1}}}}


def large_manifests(namespace: str) -> Iterable[Object]:
    """Yield servers of the largest legal size, with as many lists as fit (H5)."""
    for number in range(LARGE_MANIFESTS):
        yield server(namespace, f"h-h5-{number}", 0, {"podTemplate": {"x": [[]] * LARGE_LISTS}})


def labelled_services(namespace: str) -> Iterable[Object]:
    """Yield Services that claim to be the operator's."""
    for number in range(LABELLED_SERVICES):
        yield labelled_service(namespace, number, 0)


def labelled_service(namespace: str, number: int, turn: int) -> Object:
    """Return a large Service with the labels of a child."""
    labels = {**selector_labels("h-labelled"), LABEL_MANAGED_BY: MANAGER}
    annotations = {"example.com/large": f"{turn}" + '{"a":[' * (ANNOTATION_BYTES // 6)}
    metadata = {"name": f"stranger-{number}", "namespace": namespace, "labels": labels, "annotations": annotations}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": [{"port": 80}]}}


KINDS: Sequence[Kind] = (
    Kind("c1", "4 MiB of metrics that are one long word", 1, "serving", "c1"),
    Kind("c2", "unasked answers of 60 KB on kept connections", 2, "serving", "c2"),
    Kind("h1", "`100 Continue` without end", 4, "serving", "h1"),
    Kind("h2", "logs of long lines, read at each crash", 10, "crashed", node="hostile-logs", seconds=2),
    Kind(
        "h3",
        "termination messages of 4 KiB, a new one every 2 s",
        10,
        "crashed",
        message=termination_message,
        seconds=2,
    ),
    Kind("h4", "a refusal that quotes a key of 80 KB", change=key_of_paths, seconds=1),
    Kind("h5", "twelve manifests of 1.3 MiB", manifests=large_manifests),
    Kind("m2", "4 MiB of metrics of many engines", 10, "serving", "m2"),
    Kind("m3", "256 flags that resemble real ones, five times a second", change=anagrams),
    Kind("m4", "70 stalled replicas", 70, "serving", "stalled"),
    Kind("m5", "102 silent replicas", 102, "serving", "silent", spec={"health": {"restartStalled": True}}),
    Kind("m6", "40 crashed pods on a dead node", 40, "crashed", node="hostile-dead", seconds=5),
    Kind("m7", "200 pods on whose port nothing listens", 200, "serving"),
    Kind("m7-pending", "200 pending pods", 200, "pending"),
    # Kinds that were not found as faults first.
    Kind("deep-json", "1 MiB of brackets as list of models", 2, "serving", "deep-json"),
    Kind("many-models", "4,000 long names of models", 2, "serving", "many-models"),
    Kind("drip", "one byte every 50 ms, in chunks", 20, "serving", "drip"),
    Kind("flapping", "healthy and unhealthy in turns, with new texts", 20, "serving", "flapping"),
    Kind("huge-numbers", "numbers beyond int64, NaN, infinity, a new version each time", 5, "serving", "huge-numbers"),
    Kind("zip-bomb", "metrics that unpack to 1 GiB", 2, "serving", "zip-bomb"),
    Kind("half", "connections closed within the answer", 20, "serving", "half"),
    Kind(
        "labelled",
        "20 Services of 200 KB with our labels, changed in a loop",
        manifests=labelled_services,
        act="relabel",
    ),
    Kind("forged", "forged statuses, 5 times a second", 1, "pending", act="forge"),
    Kind("churn", "servers created and deleted, 5 times a second", act="churn"),
)
"""All of them, in the order of the table."""


def chosen(names: str) -> list[Kind]:
    """Return the kinds of a list such as `c1,h3`; all of them for an empty one.

    Raises:
        ValueError: a name is not in the table.
    """
    known = {kind.name: kind for kind in KINDS}
    wanted = [name.strip().lower() for name in names.split(",") if name.strip()]
    if unknown := [name for name in wanted if name not in known]:
        raise ValueError(f"no hostile kind {', '.join(unknown)}: known are {', '.join(known)}")
    return [known[name] for name in wanted] or list(KINDS)


def pod_status(kind: Pods, address: str, message: str, number: int, now: str) -> Object:
    """Return the status of a pod as a kubelet would write it.

    Args:
        kind: serving, or crashed.
        address: its IP address.
        message: its termination message.
        number: number of restarts; another number is another container.
        now: the time, as RFC 3339.
    """
    container: Object = {"name": "vllm", "image": "x", "imageID": "x", "containerID": f"containerd://{number:064x}"}
    container |= {"restartCount": number}
    if kind == "serving":
        ready, state = "True", Object(state={"running": {"startedAt": now}})
    else:
        end: Object = {"exitCode": 1, "reason": "Error", "startedAt": now, "finishedAt": now, "message": message}
        waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off restarting failed container"}}
        end["containerID"] = container["containerID"]
        ready, state = "False", Object(state=waiting, lastState={"terminated": end})
    container |= {"ready": ready == "True", "started": ready == "True", **state}
    conditions = [{"type": name, "status": ready} for name in ("ContainersReady", "Ready")]
    return {
        "phase": "Running",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "conditions": [{"type": "PodScheduled", "status": "True"}, *conditions],
        "containerStatuses": [container],
    }
