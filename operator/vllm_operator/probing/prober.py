"""Probe one replica once, and hand its answers to the results and to the stall detector."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from vllm_operator.kube.key import Key
from vllm_operator.probing.connections import ReplicaSession
from vllm_operator.probing.health import ReplicaHealth
from vllm_operator.probing.http import ProbeError, ReplicaClient, new_session
from vllm_operator.probing.probe import authorization, probe
from vllm_operator.probing.replica import ProbedReplica
from vllm_operator.probing.results import ProbeResults, effective_health
from vllm_operator.probing.service_quality import ServiceQuality
from vllm_operator.probing.stall_detector import StallDetector
from vllm_operator.probing.targets import ProbeTarget

KEY_WITHHELD = (
    "the API key was not sent: the API server has not confirmed the addresses of the pods since 45 s, and this one may "
    "belong to another pod by now"
)


class Prober:
    """Probe replicas over connections that the synthetic completions share.

    Args:
        stalls: receives the engine counters of the replicas that answer.
        services: receives the requests of the replicas that answer.
        results: receives the answers.
        clock: monotonic seconds.
        timeout: seconds for each answer of a replica.
        on_probe: called with the result and the seconds of each probe; must not block.
        may_send_key: returns whether the addresses of a server's replicas are current, so that its API key may be sent.
    """

    def __init__(
        self,
        stalls: StallDetector,
        services: ServiceQuality,
        results: ProbeResults,
        clock: Callable[[], float],
        timeout: float,
        on_probe: Callable[[str, float], None],
        may_send_key: Callable[[Key], bool],
    ) -> None:
        self._stalls = stalls
        self._services = services
        self._results = results
        self._clock = clock
        self._timeout = timeout
        self._on_probe = on_probe
        self._may_send_key = may_send_key
        self._session: ReplicaSession | None = None

    @property
    def session(self) -> ReplicaSession:
        """The connections to the replicas, opened at the first use."""
        self._session = self._session or new_session()
        return self._session

    async def probe(self, replica: ProbedReplica) -> None:
        """Probe a replica, and report the answer unless the target changed while the probe ran."""
        now = self._clock()
        refresh = now >= replica.result.refresh_at
        for_stalls, for_services = self._stalls.wants_sample(replica), self._services.wants_sample(replica)
        metrics: list[bytes] | None = [] if for_stalls or for_services else None
        health = await self._probe(replica.target, effective_health(replica.result.health, ""), refresh, metrics)
        self._on_probe(health.reason, self._clock() - now)
        if replica.slot.is_void:
            return
        if health.is_healthy and metrics is not None:
            body = b"".join(metrics)
            if for_stalls:
                self._sample(replica, body)
            if for_services:
                self._services.on_metrics(replica, body)
        self._results.on_answer(replica, health, now, refreshed=refresh)

    async def _probe(
        self, target: ProbeTarget, known: ReplicaHealth, refresh: bool, metrics: list[bytes] | None
    ) -> ReplicaHealth:
        session = self.session
        try:
            api_key = target.current_key()
        except Exception as error:
            # Only the type: the text of the error may hold the key.
            message = f"the API key of security.apiKeySecretRef cannot be read ({type(error).__name__})"
            return replace(known, reason="Unauthorized", message=message)
        is_withheld = bool(api_key) and not self._may_send_key(target.key)
        arguments = (target.base_url, target.served_names, None if is_withheld else api_key, known)
        on_metrics = None if metrics is None else metrics.append
        health = await probe(
            session,
            *arguments,
            refresh=refresh,
            on_metrics=on_metrics,
            timeout=self._timeout,
            namespace=target.key.namespace,
        )
        return _without_key(health, known) if is_withheld else health

    def _sample(self, replica: ProbedReplica, metrics: bytes) -> None:
        assert self._session is not None
        if replica.target.api_key is not None and not self._may_send_key(replica.target.key):
            return
        target = replica.target
        client = ReplicaClient(self._session, target.base_url, self._timeout, namespace=target.key.namespace)
        try:
            headers = authorization(replica.target.current_key())
        except ProbeError:
            return  # the key has become unusable since, which the next probe reports
        self._stalls.on_metrics(replica, metrics, client, headers)

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()


def _without_key(health: ReplicaHealth, known: ReplicaHealth) -> ReplicaHealth:
    """Judge a probe that sent no API key: a replica that refuses it is as healthy as before, as far as one can see."""
    if health.reason != "Unauthorized":
        return health
    return known if known.is_healthy else replace(health, message=f"{health.message.partition(':')[0]}: {KEY_WITHHELD}")
