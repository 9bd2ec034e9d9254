from __future__ import annotations

from typing import Any

import pytest

from vllm_operator.api.gateway import GatewaySpec
from vllm_operator.api.gateway_resource import VLLMGateway
from vllm_operator.api.gateway_status import RemoteServerStatus
from vllm_operator.gateway.remote import find_remote, missing_keys, references_of, remote_states
from vllm_operator.gateway.snapshot import ReplicaEndpoint

LABEL = {"gateways.vllm-operator.dev/chat": "true"}


def gateway(*references: dict[str, Any]) -> VLLMGateway:
    spec = GatewaySpec.model_validate({"servers": {"references": list(references)}})
    return VLLMGateway("chat", "gw", "u", 1, 1, spec, {})


def server(labels: dict[str, str] | None = None, **changes: Any) -> dict[str, Any]:
    metadata = {"namespace": "research", "name": "llama", "uid": "s", "labels": labels or {}}
    return {"metadata": metadata, "spec": {"model": {"uri": "hf://org/llama"}}, **changes}


def replica(name: str, address: str, ready: bool = True, **metadata: Any) -> dict[str, Any]:
    container = {"name": "vllm", "ports": [{"name": "http", "containerPort": 8123}]}
    status = {
        "podIP": address,
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": str(ready)}],
        "containerStatuses": [{"name": "vllm", "state": {"running": {}}}],
    }
    return {"metadata": {"name": name, **metadata}, "spec": {"containers": [container]}, "status": status}


class FakeNeighbours:
    def __init__(self, body: dict[str, Any] | None, *pods: dict[str, Any]) -> None:
        self._body, self._pods = body, list(pods)

    def server(self, namespace: str, name: str) -> dict[str, Any] | None:
        return self._body if (namespace, name) == ("research", "llama") else None

    def replicas(self, namespace: str, name: str) -> list[dict[str, Any]]:
        return self._pods


REFERENCE = {"namespace": "research", "name": "llama"}


def test_an_allowed_server_has_the_addresses_of_its_ready_replicas() -> None:
    status = {"replicaStatuses": [{"pod": "stalled", "phase": "Stalled"}], "servedModels": ["llama", "adapter"]}
    pods = (
        replica("a", "10.0.0.1"),
        replica("b", "fd00::2"),
        replica("unready", "10.0.0.3", ready=False),
        replica("ending", "10.0.0.4", deletionTimestamp="2026-01-01T00:00:00Z"),
        replica("stalled", "10.0.0.5"),
        replica("new", ""),
    )
    found = find_remote(gateway(REFERENCE), FakeNeighbours(server(LABEL, status=status), *pods))
    assert found.problems == ()
    assert found.rows == (
        {
            "namespace": "research",
            "name": "llama",
            "servedModels": ["llama", "adapter"],
            "endpoints": ["10.0.0.1:8123", "[fd00::2]:8123"],
        },
    )
    RemoteServerStatus.model_validate(found.rows[0])
    assert found.names() == {("research", "llama")}
    assert not found.has_sleeping
    [state] = remote_states(gateway(REFERENCE).spec.servers.references, {"remoteServers": list(found.rows)}, {})
    assert state.name == "research/llama"
    assert state.endpoints == (ReplicaEndpoint("10.0.0.1", 8123), ReplicaEndpoint("fd00::2", 8123))


@pytest.mark.parametrize(
    "body",
    [
        None,
        server(),
        server({"gateways.vllm-operator.dev/other": "true"}),
        server({"gateways.vllm-operator.dev/chat": "false"}),
        server({"gateways.vllm-operator.dev": "chat"}),
        server(metadata={"labels": LABEL, "deletionTimestamp": "2026-01-01T00:00:00Z"}),
    ],
)
def test_a_server_without_leave_is_refused_in_the_words_for_one_that_does_not_exist(
    body: dict[str, Any] | None,
) -> None:
    found = find_remote(gateway(REFERENCE), FakeNeighbours(body, replica("a", "10.0.0.1")))
    assert found.rows == ()
    assert found.problems == (
        "spec.servers.references: research/llama: there is no such server that allows this namespace: its owner sets "
        "the label gateways.vllm-operator.dev/chat=true on it",
    )


def test_a_server_with_a_key_needs_one_in_the_namespace_of_the_gateway() -> None:
    spec = {"model": {"uri": "hf://org/llama"}, "security": {"apiKeySecretRef": {"name": "their-key"}}}
    neighbours = FakeNeighbours(server(LABEL, spec=spec))
    assert "name that in apiKeySecretRef" in find_remote(gateway(REFERENCE), neighbours).problems[0]
    reference = {**REFERENCE, "apiKeySecretRef": {"name": "ours", "key": "token"}}
    found = find_remote(gateway(reference), neighbours)
    assert found.has_sleeping
    references = gateway(reference).spec.servers.references
    [state] = remote_states(references, {"remoteServers": list(found.rows)}, {"ours": {"token": "sk-1\n"}})
    assert state.api_key == "sk-1"
    assert "sk-1" not in repr(state)
    assert missing_keys(references, {"ours": {"token": "sk-1"}}) == ()
    assert "the key token of the Secret ours is missing" in missing_keys(references, {"ours": None})[0]


def test_the_own_namespace_is_no_reference() -> None:
    found = find_remote(gateway({"namespace": "chat", "name": "llama"}), FakeNeighbours(None))
    assert "spec.servers.names" in found.problems[0]


def test_only_servers_that_the_spec_names_count_whatever_the_status_holds() -> None:
    rows = [{"namespace": "research", "name": "other", "servedModels": ["x"], "endpoints": ["10.0.0.1:8000"]}]
    references = gateway(REFERENCE).spec.servers.references
    assert remote_states(references, {"remoteServers": rows}, {}) == []
    odd = [{**REFERENCE, "servedModels": None, "endpoints": ["x", "10.0.0.1:x", 5, "10.0.0.2:80"]}]
    [state] = remote_states(references, {"remoteServers": odd}, {})
    assert state.endpoints == (ReplicaEndpoint("10.0.0.2", 80),)


def test_references_are_read_from_any_body() -> None:
    body = {"spec": {"servers": {"references": [REFERENCE, 5, {"name": "x"}]}}}
    assert ("research", "llama") in references_of(body)
    for odd in ({}, {"spec": None}, {"spec": {"servers": {"references": "x"}}}):
        assert references_of(odd) == frozenset()
