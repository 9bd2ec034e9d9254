"""A night of trouble reads as a story in `kubectl describe`: few events, each with its count, the newest last."""

from __future__ import annotations

import time

from tests.integration.servers import Servers
from tools.harness.kube import KIND, Object
from tools.harness.operator_process import OperatorProcess
from vllm_operator.kube.event_correlator import MAX_TOKENS

GOOD: Object = {"engine": {"maxModelLen": 1024, "extraArgs": []}}
REPEATED: Object = {"engine": {"maxModelLen": 1024, "extraArgs": ["--max-model-len=2048"]}}
ALTERNATIONS = 100


def recorded(servers: Servers) -> list[Object]:
    return [event for event in servers.kube.list("Event", servers.namespace) if event["involvedObject"]["kind"] == KIND]


def event_lines(servers: Servers, name: str) -> list[str]:
    """The lines below `Events:` of kubectl describe, without the two of the head."""
    text = servers.kube.kubectl("describe", "vllmserver", name, "-n", servers.namespace).stdout
    return [line.strip() for line in text.partition("\nEvents:")[2].splitlines()[3:] if line.strip()]


def test_long_trouble_is_a_few_events_with_the_right_counts(servers: Servers, operator: OperatorProcess) -> None:
    servers.create("night", GOOD)
    for alternation in range(ALTERNATIONS):
        if alternation == ALTERNATIONS // 2:
            operator.stop()
            operator.start()
            operator.wait_ready()
        servers.patch("night", REPEATED)
        servers.patch("night", GOOD)
    time.sleep(1.1)  # Events carry whole seconds.
    servers.patch("night", {"security": {"apiKeySecretRef": {"name": "keys", "key": "token"}}})
    servers.refused("night", "Secret keys does not exist", reason="SecretNotFound")
    operator.stop()

    events = recorded(servers)
    assert {event["reason"]: event["count"] for event in events} == {
        "DuplicateArgument": ALTERNATIONS,
        "Accepted": ALTERNATIONS,
        "SecretNotFound": 1,
    }
    lines = event_lines(servers, "night")
    assert len(lines) == len(events)
    assert [f"(x{ALTERNATIONS} over" in line for line in lines] == [True, True, False]
    assert lines[-1].split()[:2] == ["Warning", "SecretNotFound"]
    assert "spec.security.apiKeySecretRef: Secret keys does not exist" in lines[-1]


def test_events_of_a_noisy_server_are_limited(servers: Servers, operator: OperatorProcess) -> None:
    servers.create("noisy", GOOD)
    for _ in range(MAX_TOKENS):
        servers.patch("noisy", REPEATED)
        servers.patch("noisy", GOOD)
    versions = sum(event["count"] for event in recorded(servers))
    assert MAX_TOKENS <= versions <= MAX_TOKENS + 1
