"""Row 3: a replica that served does not serve any more."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.e2e.states import nodes
from tests.e2e.states.case import Case, Expected
from tests.e2e.states.conftest import RECORDER, Begin
from tests.e2e.states.servers import server
from tests.e2e.states.victim import GROUP, MESSAGE, NAME, pod, serving, spoil, suspended, victim
from tools.harness.kube import KIND, Object

__all__ = ["serving", "victim"]


def goes_through(
    victim: Case, trouble: str, expected: Expected, *, fault: Callable[[], object], cure: Callable[[], object]
) -> None:
    """Cause a fault, check its status before and after a restart of the operator, and repair it in any case."""
    try:
        victim.suffers(GROUP, trouble, fault)
        victim.shows(expected)
        victim.survives_a_restart_of_the_operator()
    finally:
        victim.heals(cure)


@pytest.mark.parametrize(
    ("trouble", "order", "reason", "words"),
    [
        ("500 on /v1/models", "500", "HTTPError", "/v1/models answered 500"),
        ("served name missing", "other", "ModelNotServed", "/v1/models lacks tiny; it lists someone-else"),
    ],
)
def test_wrong_list_of_models(victim: Case, trouble: str, order: str, reason: str, words: str) -> None:
    expected = Expected(
        "Failed", reason, ("Failed", reason), rf"{MESSAGE}{words}$",
        conditions=(f"EngineHealthy=False:{reason}", "Available=False"),
    )  # fmt: skip
    goes_through(victim, trouble, expected, fault=lambda: spoil(victim, order), cure=lambda: spoil(victim, ""))


def test_address_that_a_firewall_makes_unreachable(victim: Case) -> None:
    address = pod(victim)["status"]["podIP"]
    expected = Expected(
        "Failed", "Timeout", ("Unknown", "Timeout"),
        rf"{MESSAGE}/health: no answer within 10 s; Kubernetes calls it ready: does a NetworkPolicy keep ",
        conditions=("EngineHealthy=Unknown", "Available=Unknown:Unreachable"),
    )  # fmt: skip
    trouble = "pod IP unreachable by firewall"
    goes_through(victim, trouble, expected, fault=lambda: nodes.cut_off(address), cure=nodes.let_through)


def test_api_server_that_is_suspended(victim: Case) -> None:
    process = nodes.api_server(pod(victim))
    with suspended(process):
        mark = victim.watch.mark(NAME)
        victim.suffers(GROUP, "API server process SIGSTOPped", lambda: nodes.suspend(process))
        victim.shows(
            Expected(
                "Failed", "Timeout", ("Stalled", "Timeout"),
                rf"{MESSAGE}/health: no answer within 10 s; the kubelet gets no answer either$",
                conditions=("EngineHealthy=False:Timeout", "Available=False"),
            )
        )  # fmt: skip
        messages = {seen.status["message"] for seen in victim.watch.since(NAME, mark)}
        assert len(messages) == 1, f"something milder came before the cause: {messages}"
        victim.survives_a_restart_of_the_operator()
    victim.heals(lambda: nodes.resume(process))


def test_engine_process_that_is_killed(victim: Case) -> None:
    process = nodes.engine(pod(victim))
    expected = Expected(
        "Failed", "EngineDied", ("CrashLooping", "EngineDied"),
        rf"{MESSAGE}exit code 0: the engine process ended and logged no error, "
        r"most often because the kernel killed it for lack of memory: ",
        conditions=("EngineHealthy=False:EngineDied", "Available=False"),
    )  # fmt: skip
    goes_through(victim, "engine process killed", expected, fault=lambda: nodes.kill(process), cure=lambda: None)


def test_node_that_is_gone(victim: Case) -> None:
    expected = Expected(
        "Failed", "NodeLost", ("Unknown", "NodeLost"),
        rf"{MESSAGE}node {nodes.SERVING} does not report: look at it with kubectl describe node$",
        conditions=("EngineHealthy=Unknown:NodeLost",),
    )  # fmt: skip
    trouble = "node gone (kubelet stopped)"
    goes_through(victim, trouble, expected, fault=nodes.stop_kubelet, cure=nodes.start_kubelet)


def test_container_killed_for_lack_of_memory(begin: Begin) -> None:
    case = begin("no-memory")
    resources: Callable[[str], Object] = lambda limit: {  # noqa: E731
        "requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": limit}
    }  # fmt: skip
    body = server("no-memory", resources=resources("600Mi"))
    case.suffers(GROUP, "container OOM-killed", lambda: case.applies(body))
    case.shows(
        Expected(
            "Failed", "RollingOut", ("CrashLooping", "OOMKilled"),
            r"^0/1 replicas serve; no-memory-\S+: container vllm ran out of memory and was killed \(limit 600Mi\): "
            r"raise resources.limits.memory$",
            conditions=("EngineHealthy=False:OOMKilled", "Available=False"),
        )
    )  # fmt: skip
    case.survives_a_restart_of_the_operator()
    case.heals(lambda: case.changes({"resources": resources("8Gi")}))


def test_describe_is_readable_after_many_troubles(victim: Case) -> None:
    """The faults of the tests above, as the owner of the server reads them afterwards."""
    where = ("-n", victim.namespace)
    RECORDER.story = victim.kube.kubectl(*where, "describe", "vllmserver", NAME).stdout
    events = [
        event
        for event in victim.kube.list("Event", victim.namespace)
        if (event["involvedObject"]["kind"], event["involvedObject"]["name"]) == (KIND, NAME)
    ]
    messages = [(event["type"], event["reason"], event["message"]) for event in events]
    assert len(messages) >= 6, messages
    assert len(set(messages)) == len(messages), "an Event is repeated instead of being counted"
    assert {"HTTPError", "ModelNotServed", "Timeout", "EngineDied"} <= {reason for _, reason, _ in messages}
    assert len({message for _, _, message in messages}) == len(messages), "two events have the same message"
