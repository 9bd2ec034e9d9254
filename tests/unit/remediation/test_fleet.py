"""The health of the fleet: no tenant's replicas outvote those of others."""

from __future__ import annotations

import pytest

from vllm_operator.kube.key import Key
from vllm_operator.remediation.fleet import FleetHealth, fleet_health

Servers = dict[Key, tuple[int, int]]
OWN: Servers = {Key("llm", "mistral"): (1, 1)}


def many(namespace: str, servers: int, probed: int, unresponsive: int) -> Servers:
    return {Key(namespace, f"server-{number}"): (probed, unresponsive) for number in range(servers)}


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ({}, FleetHealth(1, 1, 1)),
        (many("llm", 1, 102, 102), FleetHealth(3, 3, 2)),
        (many("llm", 1, 102, 1), FleetHealth(3, 2, 2)),
        (many("noisy", 1, 300, 300), FleetHealth(1, 1, 1, 1, 1)),
        (many("noisy", 300, 1, 1), FleetHealth(1, 1, 1, 1, 1)),
        (many("a", 2, 3, 2) | many("b", 2, 3, 1), FleetHealth(1, 1, 1, 2, 1)),
        (many("a", 2, 2, 1), FleetHealth(1, 1, 1, 1, 0)),
    ],
)
def test_each_server_counts_with_few_replicas_and_each_other_namespace_once(
    others: Servers, expected: FleetHealth
) -> None:
    assert fleet_health("llm", OWN | others) == expected
