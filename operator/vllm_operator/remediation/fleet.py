"""Summarize the health of all replicas for the decision about one server, so that no tenant's replicas outvote others.

Whoever may create pods in one namespace decides how many of its replicas are silent. So every server counts with a few
replicas at most, and the replicas of all other namespaces count by namespace, each once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from vllm_operator.kube.key import Key

MAX_VOTES = 2
"""Replicas with which one server counts: two servers with two unresponsive replicas each are no coincidence any more,
and one server with a hundred is one cause."""

ProbeCounts = tuple[int, int]
"""Number of probed replicas of a server, and of those that are stalled or silent."""


@dataclass(frozen=True, slots=True)
class FleetHealth:
    """The replicas of all servers, as the probes see them.

    Attributes:
        probed: number of replicas in the server's own namespace, at most `MAX_VOTES` of each server.
        unresponsive: number of those that are stalled or silent.
        servers: number of servers in that namespace with an unresponsive replica.
        namespaces: number of the other namespaces with a probed replica.
        affected_namespaces: number of those in which most servers are affected.
    """

    probed: int = 0
    unresponsive: int = 0
    servers: int = 0
    namespaces: int = 0
    affected_namespaces: int = 0


def fleet_health(namespace: str, servers: Mapping[Key, ProbeCounts]) -> FleetHealth:
    """Return the health of the fleet from the point of view of one namespace.

    Args:
        namespace: the namespace of the server that the decision is about.
        servers: the counts of every server.
    """
    by_namespace: defaultdict[str, list[ProbeCounts]] = defaultdict(list)
    for key, counts in servers.items():
        by_namespace[key.namespace].append(counts)
    own = [_votes(counts) for counts in by_namespace.pop(namespace, [])]
    return FleetHealth(
        probed=sum(probed for probed, _ in own),
        unresponsive=sum(unresponsive for _, unresponsive in own),
        servers=sum(unresponsive > 0 for _, unresponsive in own),
        namespaces=len(by_namespace),
        affected_namespaces=sum(map(_is_affected, by_namespace.values())),
    )


def _votes(counts: ProbeCounts) -> ProbeCounts:
    """Return the counts of a server, of at most `MAX_VOTES` replicas, the unresponsive ones first."""
    probed, unresponsive = counts
    return min(probed, MAX_VOTES), min(unresponsive, MAX_VOTES)


def _is_affected(servers: list[ProbeCounts]) -> bool:
    """Return whether most replicas of most servers of a namespace are unresponsive."""
    affected = sum(2 * unresponsive > probed for probed, unresponsive in servers)
    return 2 * affected > len(servers)
