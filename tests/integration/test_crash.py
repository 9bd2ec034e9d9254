"""Killed at any moment and started again, the operator ends in the same state; started again at rest, it writes not."""

from __future__ import annotations

import random
import re
import time
from dataclasses import dataclass

import pytest
import yaml

from tests.integration.servers import CHILD_KINDS, OPTIONAL_KINDS, Servers
from tools.harness.audit import AuditLog, Request
from tools.harness.kube import KIND, Object, essence
from tools.harness.operator_process import OperatorProcess

FULL: Object = {
    "replicas": 2,
    "cache": {"size": "1Gi", "accessModes": ["ReadWriteMany"]},
    "autoscaling": {"minReplicas": 2, "maxReplicas": 4},
}
ALL_KINDS = (*CHILD_KINDS, *OPTIONAL_KINDS)
TOKEN = re.compile("[0-9a-f]{32}")
NAMES = [f"crash-{number}" for number in range(4)]


def comparable(servers: Servers, name: str) -> str:
    """Children of a server as text, without its name, what is assigned at random, and the autoscaler's replicas."""
    children = {kind: essence(body) for kind, body in servers.children(name).items()}
    for body in children.values():
        body["metadata"].pop("ownerReferences", None)
        body["metadata"].get("annotations", {}).pop("vllm-operator.dev/applied-hash", None)
        for field in ("clusterIP", "clusterIPs", "replicas"):
            body["spec"].pop(field, None)
    return yaml.safe_dump(renamed(children, name))


def renamed(body: object, name: str) -> object:
    """The same with the server's name replaced, and the token that is made from its UID."""
    if isinstance(body, dict):
        return {key: renamed(value, name) for key, value in body.items()}
    if isinstance(body, list):
        return [renamed(value, name) for value in body]
    if isinstance(body, str):
        return "TOKEN" if TOKEN.fullmatch(body) else body.replace(name, "NAME")
    return body


def complete(servers: Servers, name: str) -> None:
    """Wait until a server has all its children and is judged."""
    servers.settled(name, within=20)
    servers.kube.eventually(
        lambda: set(servers.children(name)) == set(ALL_KINDS),
        within=20,
        namespace=servers.namespace,
    )


@pytest.mark.parametrize("seed", range(3))
def test_operator_killed_during_creation_reaches_the_same_state(
    servers: Servers, operator: OperatorProcess, seed: int
) -> None:
    servers.create("crash-x", FULL)
    complete(servers, "crash-x")
    for name in NAMES:
        servers.create(name, FULL, settled=False)
    moment = random.Random(seed).uniform(0, 0.25)
    time.sleep(moment)
    operator.kill()
    operator.start()
    operator.wait_ready()
    for name in NAMES:
        complete(servers, name)
    expected = comparable(servers, "crash-x")
    for name in NAMES:
        assert comparable(servers, name) == expected, f"{name}, killed after {moment:.3f} s"


def test_operator_killed_during_changes_applies_the_last_one(servers: Servers, operator: OperatorProcess) -> None:
    servers.create("changes")
    for length in (1024, 2048, 4096):
        servers.patch("changes", {"engine": {"maxModelLen": length}}, settled=False)
    operator.kill()
    servers.patch("changes", {"engine": {"maxModelLen": 8192}}, settled=False)
    operator.start()
    servers.settled("changes", within=20)
    arguments = servers.container("changes")["args"]
    assert arguments[arguments.index("--max-model-len") + 1] == "8192"


def test_server_deleted_while_the_operator_was_down_stays_deleted(servers: Servers, operator: OperatorProcess) -> None:
    servers.create("leaving")
    operator.kill()
    servers.kube.kubectl("-n", servers.namespace, "delete", "vllmserver", "leaving", "--timeout=15s")
    operator.start()
    operator.wait_ready()
    servers.kube.eventually(lambda: servers.find_child("Deployment", "leaving") is None, within=15)
    servers.kube.stays(lambda: servers.find_child("Deployment", "leaving") is None, seconds=1)


def test_drift_that_arose_while_the_operator_was_down_is_repaired(servers: Servers, operator: OperatorProcess) -> None:
    servers.create("drifted", {"replicas": 2})
    operator.kill()
    servers.kube.patch("Deployment", "drifted", servers.namespace, {"spec": {"replicas": 9}})
    servers.kube.delete("Service", "drifted", servers.namespace)
    operator.start()
    operator.wait_ready()

    def repaired() -> None:
        assert servers.child("Deployment", "drifted")["spec"]["replicas"] == 2
        assert servers.find_child("Service", "drifted") is not None

    servers.kube.eventually(repaired, within=5, namespace=servers.namespace)


def quiet(servers: Servers, audit: AuditLog, seconds: float = 1.5) -> None:
    """Wait until autoscalers have reported and the operator has written nothing here for that long."""

    def autoscalers_reported() -> bool:
        found = servers.kube.list("HorizontalPodAutoscaler", servers.namespace)
        kinds = [{entry["type"] for entry in body["status"].get("conditions") or []} for body in found]
        return all("ScalingActive" in kind for kind in kinds)

    def nothing_written() -> bool:
        mark = audit.mark()
        time.sleep(seconds)
        return audit.writes(mark, namespace=servers.namespace) == []

    servers.kube.eventually(autoscalers_reported, within=40, namespace=servers.namespace)
    servers.kube.eventually(nothing_written, within=30, namespace=servers.namespace)


@dataclass(frozen=True)
class Resting:
    """Servers at rest, and what the operator wrote until they were."""

    servers: Servers
    writes: tuple[Request, ...]


@pytest.fixture(scope="module")
def resting(shared_servers: Servers, operator_session: OperatorProcess, audit: AuditLog) -> Resting:
    """A server with every child and a refused one, both long settled."""
    if not operator_session.alive():
        operator_session.start()
    operator_session.wait_ready()
    mark = audit.mark()
    shared_servers.create("counted", FULL)
    complete(shared_servers, "counted")
    quiet(shared_servers, audit)
    writes = tuple(audit.writes(mark, namespace=shared_servers.namespace))
    shared_servers.create("refused", {"engine": {"maxModelLen": 1, "extraArgs": ["--max-model-len=2"]}})
    quiet(shared_servers, audit)
    return Resting(shared_servers, writes)


def test_server_costs_one_write_for_each_child_and_few_for_its_status(resting: Resting) -> None:
    children = [write for write in resting.writes if write.resource not in ("vllmservers", "events")]
    status = [write for write in resting.writes if write.subresource == "status"]
    print(f"API writes for one server with every child: {[write.target for write in resting.writes]}")
    assert sorted(write.resource for write in children) == sorted(f"{kind.lower()}s" for kind in ALL_KINDS)
    assert 1 <= len(status) <= 4


def test_operator_at_rest_sends_nothing_but_watches(resting: Resting, audit: AuditLog) -> None:
    mark = audit.mark()
    time.sleep(4)
    here = [request for request in audit.since(mark) if request.namespace in ("", resting.servers.namespace)]
    asked = [(request.verb, request.uri) for request in here if request.verb != "watch"]
    assert len(asked) <= 2, asked


def test_apply_that_changes_nothing_leads_to_no_write(resting: Resting, audit: AuditLog) -> None:
    mark = audit.mark()
    here = resting.servers.namespace
    resting.servers.kube.patch(KIND, "counted", here, {"spec": {"replicas": FULL["replicas"]}})
    resting.servers.kube.patch(KIND, "counted", here, {"metadata": {"annotations": {"a": "b"}}})
    time.sleep(1)
    assert audit.writes(mark, namespace=here) == []


def test_restart_without_changes_writes_nothing(resting: Resting, operator: OperatorProcess, audit: AuditLog) -> None:
    assert operator.stop() == 0
    mark = audit.mark()
    operator.start()
    operator.wait_ready()
    time.sleep(3)
    assert audit.writes(mark, namespace=resting.servers.namespace) == []
    assert {"list", "watch"} <= {request.verb for request in audit.since(mark)}, "it did not even look"
