"""The rate limit service: each call goes to the limiter, here or in the agent that counts for the key."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from vllm_operator.gateway.limits.limiter import Limiter, RateDecision
from vllm_operator.gateway.limits.messages import OK, OVER_LIMIT, Descriptor, read_request, write_response

PEER_SECONDS = 1.0
"""Seconds that another agent gets to answer; then this one decides by its share of the limit."""
AVOID_SECONDS = 5.0
"""Seconds for which an agent that did not answer is not asked again."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LimitCall:
    """One call about a request.

    Attributes:
        phase: start or end.
        key: id of the API key.
        model: name of the model.
        request: id of the request.
        tokens: tokens of a request that has ended.
    """

    phase: str
    key: str
    model: str
    request: str
    tokens: int = 0


class Peers(Protocol):
    """The agents of the other replicas of the gateway."""

    @property
    def count(self) -> int:
        """Return the number of agents, this one included."""

    def owner(self, key: str) -> str | None:
        """Return the address of the agent that counts for a key; None for this one."""

    def ask(self, address: str, call: LimitCall) -> Awaitable[RateDecision]:
        """Let another agent count."""


class NoPeers:
    """A gateway of one replica."""

    count = 1

    def owner(self, key: str) -> str | None:
        """Return None: this agent counts for all keys."""
        return None

    async def ask(self, address: str, call: LimitCall) -> RateDecision:
        """Refuse: there is no other agent."""
        raise ConnectionError(f"no peer {address} to ask about {call.key}")


def read_call(descriptors: list[Descriptor]) -> LimitCall | None:
    """Return the call that its descriptors describe; None when they are not those of the gateway."""
    if not descriptors:
        return None
    entries = descriptors[0].entries
    phases = {descriptor.entries.get("phase", ""): descriptor for descriptor in descriptors}
    key, model, request = (entries.get(name) for name in ("key", "model", "request"))
    if key is None or model is None or request is None:
        return None
    if "start" in phases:
        return LimitCall("start", key, model, request)
    tokens = phases["tokens"].hits if "tokens" in phases else None
    return LimitCall("end", key, model, request, tokens or 0)


class LimitService:
    """Answers Envoy's calls.

    Args:
        limiter: the counters of this agent.
        peers: the other agents.
        clock: monotonic time in seconds.
    """

    def __init__(self, limiter: Limiter, peers: Peers, clock: Callable[[], float] = time.monotonic) -> None:
        self._limiter = limiter
        self._peers = peers
        self._clock = clock
        self._avoided: dict[str, float] = {}

    def handle(self, message: bytes) -> bytes | Awaitable[bytes]:
        """Return the answer to a RateLimitRequest: at once where this agent counts for the key."""
        call = read_call(read_request(message))
        if call is None:
            return write_response(OK)
        owner = self._peers.owner(call.key)
        if owner is None:
            return _as_response(self.decide(call))
        return self._decide_there(owner, call)

    def decide(self, call: LimitCall, share: float = 1.0) -> RateDecision:
        """Count a call here."""
        now = self._clock()
        if call.phase == "start":
            return self._limiter.start(call.key, call.model, call.request, now, share)
        self._limiter.end(call.key, call.model, call.request, call.tokens, now)
        return RateDecision()

    async def _decide_there(self, owner: str, call: LimitCall) -> bytes:
        if self._avoided.get(owner, 0.0) <= self._clock():
            try:
                async with asyncio.timeout(PEER_SECONDS):
                    return _as_response(await self._peers.ask(owner, call))
            except (OSError, TimeoutError) as error:
                logger.warning("the agent %s does not count, each uses its share of the limits: %s", owner, error)
                now = self._clock()
                self._avoided = {one: until for one, until in self._avoided.items() if until > now}
                self._avoided[owner] = now + AVOID_SECONDS
        return _as_response(self.decide(call, 1 / max(1, self._peers.count)))


def _as_response(decision: RateDecision) -> bytes:
    return write_response(OK if decision.allowed else OVER_LIMIT, decision.headers, decision.body)
