from __future__ import annotations

import itertools
from typing import Any

import pytest

from vllm_operator.api.gateway import GatewaySpec
from vllm_operator.gateway.models import resolve_models
from vllm_operator.gateway.snapshot import GatewayServer, ReplicaEndpoint


def spec(**fields: Any) -> GatewaySpec:
    return GatewaySpec.model_validate(fields)


def server(name: str, replicas: int = 1, *served: str, key: str = "") -> GatewayServer:
    return GatewayServer(
        name, served or (name,), tuple(ReplicaEndpoint("10.0.0.1", port) for port in range(replicas)), key
    )


def test_every_served_name_is_a_model() -> None:
    models = resolve_models(spec(), [server("a", 1, "x", "y"), server("b", 2)]).models
    assert {name: model.ready for name, model in models.items()} == {"b": 2, "x": 1, "y": 1}
    assert models["x"].targets[0].model == ""


def test_servers_with_one_name_are_weighted_by_their_ready_replicas() -> None:
    model = resolve_models(spec(), [server("a", 3, "m"), server("b", 1, "m"), server("c", 0, "m")]).models["m"]
    assert {target.server: target.weight for target in model.targets} == {"a": 3, "b": 1}


def test_a_model_without_a_ready_replica_keeps_its_servers_so_that_they_hold() -> None:
    model = resolve_models(spec(), [server("a", 0, "m"), server("b", 0, "m")]).models["m"]
    assert [(target.server, target.weight) for target in model.targets] == [("a", 1), ("b", 1)]


def test_weights_leave_out_a_server_without_a_ready_replica() -> None:
    entry = {"name": "chat", "servers": [{"name": "a", "weight": 90}, {"name": "b", "weight": 10}]}
    model = resolve_models(spec(models=[entry]), [server("a", 0), server("b", 1)]).models["chat"]
    assert [(target.server, target.model) for target in model.targets] == [("b", "b")]


def test_an_entry_with_the_name_of_a_served_model_replaces_it() -> None:
    entry = {"name": "m", "servers": [{"name": "b", "model": "n"}], "routing": "LeastRequest"}
    model = resolve_models(spec(models=[entry]), [server("a", 1, "m"), server("b", 1, "m", "n", key="k")]).models["m"]
    assert [(t.server, t.model, t.api_key, t.cluster) for t in model.targets] == [("b", "n", "k", "b.LeastRequest")]


def test_the_first_fallback_with_a_ready_replica_answers() -> None:
    entry = {"name": "chat", "servers": [{"name": "a"}], "fallbacks": ["b", "c"]}
    servers = [server("a", 0), server("b", 0), server("c", 1)]
    model = resolve_models(spec(models=[entry]), servers).models["chat"]
    assert [(target.server, target.model) for target in model.targets] == [("c", "c")]
    servers[0] = server("a", 1)
    assert resolve_models(spec(models=[entry]), servers).models["chat"].targets[0].server == "a"


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_fallbacks_of_fallbacks_count_in_any_order_and_circles_end(order: tuple[int, ...]) -> None:
    entries = [
        {"name": "a", "servers": [{"name": "s1"}], "fallbacks": ["a", "b"]},
        {"name": "b", "servers": [{"name": "s2"}], "fallbacks": ["c", "a"]},
        {"name": "c", "servers": [{"name": "s3"}], "fallbacks": ["a"]},
    ]
    given = spec(models=[entries[i] for i in order])
    models = resolve_models(given, [server("s1", 0), server("s2", 0), server("s3", 1)]).models
    assert {name: models[name].targets[0].server for name in "abc"} == {"a": "s3", "b": "s3", "c": "s3"}
    models = resolve_models(given, [server("s1", 0), server("s2", 0), server("s3", 0)]).models
    assert {name: models[name].targets[0].server for name in "abc"} == {"a": "s1", "b": "s2", "c": "s3"}


def test_a_server_without_a_weight_keeps_no_fallback_away_and_its_header_still_counts() -> None:
    old = {"name": "old", "weight": 0, "header": {"name": "x-version", "value": "old"}}
    entry = {"name": "chat", "servers": [{"name": "new"}, old], "fallbacks": ["small"]}
    servers = [server("new", 0), server("old", 2), server("small", 1)]
    model = resolve_models(spec(models=[entry]), servers).models["chat"]
    assert [target.server for target in model.targets] == ["small"]
    assert [target.server for target in model.versions] == ["old"]
    assert model.ready == 1


def test_references_that_name_nothing_are_reported() -> None:
    entry = {
        "name": "chat",
        "servers": [{"name": "a", "model": "zzz"}, {"name": "gone"}],
        "fallbacks": ["none"],
        "mirror": {"server": "lost"},
    }
    problems = "\n".join(resolve_models(spec(models=[entry]), [server("a")]).problems)
    for part in ("does not serve zzz", "the server gone", "the fallback none", "the mirror lost"):
        assert part in problems


def test_an_entry_keeps_a_server_of_another_namespace_with_the_same_name_out() -> None:
    servers = [server("a", 1, "m"), server("research/llama", 3, "m")]
    assert len(resolve_models(spec(), servers).models["m"].targets) == 2
    entry = {"name": "m", "servers": [{"name": "a"}]}
    assert [target.server for target in resolve_models(spec(models=[entry]), servers).models["m"].targets] == ["a"]
