"""Asks one replica once: what it is asked for this time, with which key, and who is told of the answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import aiohttp

from vllm_operator.probing.health import ReplicaHealth
from vllm_operator.probing.http import ProbeError, ReplicaEndpoint, replica_client
from vllm_operator.probing.probe import authorization, probe
from vllm_operator.probing.probe_queue import ProbedReplica
from vllm_operator.probing.results import ProbeResults, told
from vllm_operator.probing.stall_detector import StallDetector
from vllm_operator.probing.targets import ProbeTarget
from vllm_operator.probing.timing import REFRESH_SECONDS


class Prober:
    """Asks replicas over connections that they share with the completions of `stalls`.

    Args:
        stalls: looks after the engines of those that answer.
        results: takes the answers.
        clock: monotonic seconds.
        timeout: seconds for each answer of a replica.
        on_probe: told what came of a probe, and its seconds; must not block.
    """

    def __init__(
        self,
        stalls: StallDetector,
        results: ProbeResults,
        clock: Callable[[], float],
        timeout: float,
        on_probe: Callable[[str, float], None],
    ) -> None:
        self._stalls = stalls
        self._results = results
        self._clock = clock
        self._timeout = timeout
        self._on_probe = on_probe
        self._client: aiohttp.ClientSession | None = None

    async def ask(self, watched: ProbedReplica) -> None:
        """Ask a replica, and let its answer count, unless the question has changed meanwhile."""
        now = self._clock()
        refresh = now >= watched.refresh_at
        numbers: list[bytes] | None = [] if self._stalls.wants_numbers(watched) else None
        health = await self._probe(watched.target, told(watched.health, ""), refresh, numbers)
        self._on_probe(health.reason, self._clock() - now)
        if watched.urgent:
            return
        if health.healthy and numbers is not None:
            self._look(watched, b"".join(numbers))
        if refresh and health.healthy:
            watched.refresh_at = now + REFRESH_SECONDS
        self._results.answered(watched, health, now)

    async def _probe(
        self, target: ProbeTarget, known: ReplicaHealth, refresh: bool, numbers: list[bytes] | None
    ) -> ReplicaHealth:
        self._client = self._client or replica_client()
        try:
            key = target.current_key()
        except Exception as error:
            # Only the type: the text of the error may hold the key.
            words = f"the API key of security.apiKeySecretRef cannot be read ({type(error).__name__})"
            return replace(known, reason="Unauthorized", message=words)
        asked = (target.base_url, target.served_names, key, known)
        take = None if numbers is None else numbers.append
        return await probe(self._client, *asked, refresh=refresh, numbers=take, timeout=self._timeout)

    def _look(self, watched: ProbedReplica, numbers: bytes) -> None:
        """Look after the engine of a replica that answers."""
        assert self._client is not None
        replica = ReplicaEndpoint(self._client, watched.target.base_url, self._timeout)
        try:
            self._stalls.saw(watched, numbers, replica, authorization(watched.target.current_key()))
        except ProbeError:
            pass  # the key has just become unusable, which the next probe tells

    async def close(self) -> None:
        """Close every connection."""
        if self._client is not None:
            await self._client.close()
