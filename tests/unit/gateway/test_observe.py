from __future__ import annotations

from typing import Any

from vllm_operator.api.gateway_resource import parse_gateway
from vllm_operator.gateway.observe import observe, ready_endpoints, secrets_of
from vllm_operator.gateway.snapshot import ReplicaEndpoint


def gateway(**spec: Any) -> Any:
    return parse_gateway({"metadata": {"namespace": "llm", "name": "gw", "uid": "u"}, "spec": spec})


def server(name: str, **changes: Any) -> dict[str, Any]:
    spec = {"model": {"uri": f"hf://org/{name}"}, **changes.pop("spec", {})}
    return {
        "metadata": {"namespace": "llm", "name": name, "uid": name, **changes.pop("metadata", {})},
        "spec": spec,
        **changes,
    }


def endpoint(address: str, **conditions: bool) -> dict[str, Any]:
    return {"addresses": [address], "conditions": conditions, "targetRef": {"name": f"pod-{address}"}}


def one_slice(service: str, *endpoints: dict[str, Any], family: str = "IPv4", port: int = 8000) -> dict[str, Any]:
    labels = {"kubernetes.io/service-name": service}
    ports = [{"name": "http", "port": port}]
    return {"metadata": {"labels": labels}, "addressType": family, "ports": ports, "endpoints": list(endpoints)}


def test_ready_replicas_that_do_not_end_are_endpoints() -> None:
    slices = [
        one_slice("a", endpoint("10.0.0.2", ready=True), endpoint("10.0.0.1")),
        one_slice("a", endpoint("10.0.0.3", ready=False), endpoint("10.0.0.4", ready=True, terminating=True)),
        one_slice("a", endpoint("fd00::1", ready=True), family="IPv6"),
    ]
    assert ready_endpoints(slices) == (ReplicaEndpoint("10.0.0.1", 8000), ReplicaEndpoint("10.0.0.2", 8000))
    assert ready_endpoints(slices, {"pod-10.0.0.1"}) == (ReplicaEndpoint("10.0.0.2", 8000),)
    assert ready_endpoints(slices[2:]) == (ReplicaEndpoint("fd00::1", 8000),)


def test_stalled_and_draining_replicas_get_no_requests() -> None:
    statuses = [{"pod": "pod-10.0.0.1", "phase": "Stalled"}, {"pod": "pod-10.0.0.2", "phase": "Draining"}]
    slices = [one_slice("a", *(endpoint(f"10.0.0.{number}", ready=True) for number in (1, 2, 3)))]
    found = observe(gateway(), [server("a", status={"replicaStatuses": statuses})], slices, {}).snapshot
    assert found.servers[0].endpoints == (ReplicaEndpoint("10.0.0.3", 8000),)


def test_names_are_those_that_replicas_list_and_those_of_the_spec_before() -> None:
    servers = [
        server("a"),
        server("b", status={"servedModels": ["b", "adapter"]}),
        server("c", spec={"model": {"uri": "hf://o/c", "servedNames": ["x"]}}),
    ]
    found = {state.name: state.served_names for state in observe(gateway(), servers, [], {}).snapshot.servers}
    assert found == {"a": ("a",), "b": ("b", "adapter"), "c": ("x",)}


def test_a_refused_server_keeps_the_names_that_its_replicas_list() -> None:
    broken = server("a", status={"servedModels": ["a"]}, spec={"model": {"uri": 5}})
    assert observe(gateway(), [broken], [], {}).snapshot.servers[0].served_names == ("a",)


def test_servers_are_chosen_by_name_and_label() -> None:
    servers = [
        server("a", metadata={"labels": {"team": "x"}}),
        server("b"),
        server("c", metadata={"labels": {"team": "y"}}),
    ]

    def chosen(**fields: Any) -> list[str]:
        return [state.name for state in observe(gateway(servers=fields), servers, [], {}).snapshot.servers]

    assert chosen() == ["a", "b", "c"]
    assert chosen(selector={"matchLabels": {"team": "x"}}) == ["a"]
    for operator, values, names in (
        ("In", ["x", "y"], ["a", "c"]),
        ("NotIn", ["x"], ["b", "c"]),
        ("Exists", [], ["a", "c"]),
        ("DoesNotExist", [], ["b"]),
    ):
        expression = {"key": "team", "operator": operator, "values": values}
        assert chosen(selector={"matchExpressions": [expression]}) == names
    assert chosen(names=["c"]) == ["c"]
    assert observe(gateway(servers={"names": ["zzz"]}), servers, [], {}).problems


def test_a_server_that_is_being_deleted_is_left_out() -> None:
    assert not observe(gateway(), [server("a", metadata={"deletionTimestamp": "now"})], [], {}).snapshot.servers


def test_the_key_of_vllm_is_read_and_a_missing_one_is_reported() -> None:
    one = server("a", spec={"security": {"apiKeySecretRef": {"name": "engine"}}})
    assert secrets_of(gateway(auth={"secrets": [{"name": "keys"}]}), [one]) == ("engine", "keys")
    found = observe(gateway(), [one], [], {"engine": {"token": "sk-1\n"}})
    assert found.snapshot.servers[0].api_key == "sk-1"
    assert "sk-1" not in repr(found)
    assert (
        "the key token of its Secret engine is missing" in observe(gateway(), [one], [], {"engine": None}).problems[0]
    )
