"""The events that take replicas away: each starts from its number of replicas, and waits until the last has left."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

from tools.drain.load import Load
from tools.drain.scaling import scale_down_by_autoscaler, waves, zero_and_back
from tools.drain.stage import SELECTOR, PlainStage, ServerStage
from tools.harness.kube import Object

NODE_SECONDS = 300
SCALE_SECONDS = 300.0
SAMPLED_SECONDS = 25.0
"""Until the operator has sampled the load of each replica, which it does every 10 s."""

AnyStage = ServerStage | PlainStage


@dataclass(frozen=True)
class Event:
    """One way in which replicas leave.

    Attributes:
        replicas: replicas before it.
        surge: a rolling update may add a replica.
        act: makes it happen, and returns when the last replica has left.
        plain: also measured with a Deployment without the operator.
        at_one_pod: all requests go to the pod of `busy_pod`, so that the others are idle.
    """

    name: str
    replicas: int
    act: Callable[[AnyStage, Load], None]
    surge: bool = False
    plain: bool = False
    at_one_pod: bool = False


def rolling_update(stage: AnyStage, _: Load) -> None:
    """Replace every pod by one of a new revision."""
    before = stage.names()
    stage.change()
    stage.until(lambda: not before & stage.names(), 900.0)
    stage.gone(before)
    stage.settle(len(before))


def scale_down(stage: AnyStage, _: Load) -> None:
    """Scale to one replica."""
    before = stage.names()
    stage.scale(1)
    stage.until(lambda: len(stage.names()) == 1, SCALE_SECONDS)
    stage.gone(before - stage.names())
    stage.settle(1)


def idle_first(stage: AnyStage, _: Load) -> None:
    """Scale to one replica while a single one has requests: that one stays."""
    busy = busy_pod(stage)["metadata"]["name"]
    time.sleep(SAMPLED_SECONDS)
    before = stage.names()
    stage.scale(1)
    stage.until(lambda: len(stage.names()) == 1, SCALE_SECONDS)
    kept = stage.names()
    assert kept == {busy}, f"{busy} had all requests, and {kept} stayed"
    stage.gone(before - kept)
    stage.settle(1)
    print(f"    {busy} had all requests, and stayed", flush=True)


def busy_pod(stage: AnyStage) -> Object:
    """Return the pod that has all requests: the second by name, which nothing else prefers."""
    return sorted(stage.pods(), key=lambda pod: str(pod["metadata"]["name"]))[1]


def deleted_pod(stage: AnyStage, _: Load) -> None:
    """Delete one pod, as a person does."""
    victim = _one_pod(stage)["metadata"]["name"]
    stage.kube.kubectl("-n", stage.namespace, "delete", "pod", victim, "--wait=false")
    stage.gone({victim})
    stage.settle(2)


def evicted_pod(stage: AnyStage, _: Load) -> None:
    """Evict one pod through the eviction API, as autoscalers of nodes and upgrades do."""
    victim = _one_pod(stage)["metadata"]["name"]
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": victim, "namespace": stage.namespace},
    }
    path = f"/api/v1/namespaces/{stage.namespace}/pods/{victim}/eviction"
    stage.kube.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))
    stage.gone({victim})
    stage.settle(2)


def drained_node(stage: AnyStage, _: Load) -> None:
    """Drain a node with replicas, and bring it back."""
    pod = _one_pod(stage)
    node = pod["spec"]["nodeName"]
    before = {one["metadata"]["name"] for one in stage.pods() if one["spec"].get("nodeName") == node}
    options = ("--ignore-daemonsets", "--delete-emptydir-data", "--force", f"--timeout={NODE_SECONDS}s")
    try:
        selector = f"--pod-selector={SELECTOR}"
        stage.kube.kubectl("drain", node, *options, selector, timeout=NODE_SECONDS + 30)
        stage.gone(before)
        stage.settle(2)
    finally:
        stage.kube.kubectl("uncordon", node)


def _one_pod(stage: AnyStage) -> Object:
    """Return a serving pod, on the last node where there are several."""
    return max(stage.pods(), key=lambda pod: (pod["spec"].get("nodeName", ""), pod["metadata"]["name"]))


EVENTS = (
    Event("rolling update of 2", 2, rolling_update, plain=True),
    Event("rolling update of 2 with surge", 2, rolling_update, surge=True, plain=True),
    Event("pod deleted by a person", 2, deleted_pod, plain=True),
    Event("eviction API", 2, evicted_pod),
    Event("node drain", 2, drained_node),
    Event("rolling update of 3", 3, rolling_update),
    Event("rolling update of 3 with surge", 3, rolling_update, surge=True),
    Event("scale-down 3 to 1 by hand", 3, scale_down, plain=True),
    Event("idle replicas go first", 3, idle_first, at_one_pod=True),
    Event("scale-down 3 to 1 by the autoscaler", 3, scale_down_by_autoscaler),
    Event("from zero and back", 1, zero_and_back),
    Event("waves of load", 1, waves),
)
"""In an order that starts few replicas."""
