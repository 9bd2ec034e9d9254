from __future__ import annotations

from collections import Counter

from vllm_operator.gateway.limits.peers import PeerClients, choose_owner, peer_secret


def test_keys_spread_over_the_agents_and_few_move_when_one_leaves() -> None:
    agents = [f"10.0.0.{number}:8083" for number in range(4)]
    keys = [f"key-{number}" for number in range(400)]
    before = {key: choose_owner(key, agents) for key in keys}
    assert min(Counter(before.values()).values()) > 60
    after = {key: choose_owner(key, agents[:3]) for key in keys}
    assert all(after[key] == before[key] for key in keys if before[key] != agents[3])


def test_an_agent_alone_counts_for_all_keys() -> None:
    clients = PeerClients("a:1", lambda: b"")
    assert clients.owner("k") is None
    clients.set_agents(["a:1", "b:1"])
    assert clients.count == 2
    assert {clients.owner(f"k{number}") for number in range(50)} == {None, "b:1"}
    clients.set_agents([])
    assert clients.count == 1


def test_the_secret_depends_on_gateway_and_keys() -> None:
    assert peer_secret("uid", ["a", "b"]) == peer_secret("uid", ["b", "a"])
    assert len({peer_secret("uid", ["a"]), peer_secret("uid", ["b"]), peer_secret("other", ["a"])}) == 3
