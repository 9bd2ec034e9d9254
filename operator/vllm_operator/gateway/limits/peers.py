"""Count together with the other replicas of the gateway: for each key, one agent counts for all of them.

The agents talk in lines of JSON over TCP. Whoever connects proves by HMAC that it knows the hashes of the API keys,
which only the agents read; without auth, the proof is a formality and the NetworkPolicy is the protection.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import secrets
from collections.abc import Callable, Iterable
from typing import Any

from vllm_operator.gateway.limits.limiter import RateDecision
from vllm_operator.gateway.limits.service import LimitCall

MAX_LINE_BYTES = 16_384
MAX_OWNERS = 100_000
"""Clients whose agent is remembered; each takes some 200 bytes. Those of tokens have no other bound."""
CONNECT_SECONDS = 0.8
PROOF_SECONDS = 2.0
MAX_UNPROVEN = 64
"""Connections at once that have not proved yet that they come from an agent."""

logger = logging.getLogger(__name__)


def peer_secret(gateway_uid: str, digests: Iterable[str]) -> bytes:
    """Return the secret that the agents of one gateway share."""
    text = "\n".join(sorted(digests))
    return hmac.new(gateway_uid.encode(), text.encode(), hashlib.sha256).digest()


def choose_owner(key: str, agents: Iterable[str]) -> str:
    """Return the agent that counts for a key: the highest hash wins, so that few keys move when agents come and go."""
    return max(agents, key=lambda agent: hashlib.sha256(f"{agent}\n{key}".encode()).digest())


class PeerServer:
    """Counts for other agents.

    Args:
        decide: counts a call here.
        accepted: returns the secrets that are valid now.
    """

    def __init__(self, decide: Callable[[LimitCall], RateDecision], accepted: Callable[[], Iterable[bytes]]) -> None:
        self._decide = decide
        self._accepted = accepted
        self._server: asyncio.Server | None = None
        self._unproven = 0

    async def start(self, address: str, port: int) -> int:
        """Listen; return the port."""
        self._server = await asyncio.start_server(self._serve, address, port, limit=MAX_LINE_BYTES)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def stop(self) -> None:
        """Close the socket."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if await self._prove(reader, writer):
                await self._answer_calls(reader, writer)
        except (OSError, ValueError, KeyError, TypeError, RecursionError, TimeoutError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _prove(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        if self._unproven >= MAX_UNPROVEN:
            return False
        self._unproven += 1
        try:
            return await self._is_proven(reader, writer)
        finally:
            self._unproven -= 1

    async def _is_proven(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        nonce = secrets.token_hex(16)
        writer.write(nonce.encode() + b"\n")
        async with asyncio.timeout(PROOF_SECONDS):
            proof = (await reader.readline()).strip()
        return any(hmac.compare_digest(proof, _proof(secret, nonce).encode()) for secret in self._accepted())

    async def _answer_calls(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            message = json.loads(line)
            call = LimitCall(**{name: message[name] for name in ("phase", "key", "model", "request", "tokens")})
            decision = self._decide(call)
            answer = {
                "id": message["id"],
                "allowed": decision.allowed,
                "headers": decision.headers,
                "body": decision.body,
            }
            writer.write(json.dumps(answer).encode() + b"\n")
            if writer.transport.get_write_buffer_size() > MAX_LINE_BYTES:
                await writer.drain()


def _proof(secret: bytes, nonce: str) -> str:
    return hmac.new(secret, nonce.encode(), hashlib.sha256).hexdigest()


class PeerClients:
    """Connections to the other agents, opened when they are needed.

    Args:
        own: address of this agent, as the others know it.
        secret: returns the shared secret.
    """

    def __init__(self, own: str, secret: Callable[[], bytes]) -> None:
        self._own = own
        self._secret = secret
        self._agents: tuple[str, ...] = (own,)
        self._links: dict[str, _Link] = {}
        self._owners: dict[str, str] = {}

    @property
    def count(self) -> int:
        """Return the number of agents, this one included."""
        return len(self._agents)

    def set_agents(self, agents: Iterable[str]) -> None:
        """Take the addresses (`host:port`) of all agents; this one is always among them."""
        everybody = tuple(sorted({self._own, *agents}))
        if everybody == self._agents:
            return
        self._agents, self._owners = everybody, {}
        for address in set(self._links) - set(everybody):
            self._links.pop(address).close()

    def owner(self, key: str) -> str | None:
        """Return the address of the agent that counts for a key; None for this one."""
        if len(self._agents) == 1:
            return None
        owner = self._owners.get(key)
        if owner is None:
            if len(self._owners) >= MAX_OWNERS:
                self._owners.clear()
            owner = self._owners[key] = choose_owner(key, self._agents)
        return None if owner == self._own else owner

    async def ask(self, address: str, call: LimitCall) -> RateDecision:
        """Let another agent count.

        Raises:
            OSError: it cannot be reached.
        """
        link = self._links.get(address)
        if link is None or link.is_closed:
            link = self._links[address] = _Link(address, self._secret)
        return await link.ask(call)

    def close(self) -> None:
        """Close all connections."""
        for link in self._links.values():
            link.close()


class _Link:
    """One connection to another agent, with many calls at once."""

    def __init__(self, address: str, secret: Callable[[], bytes]) -> None:
        self._address = address
        self._secret = secret
        self._pending: dict[int, asyncio.Future[RateDecision]] = {}
        self._next = 0
        self._writer: asyncio.StreamWriter | None = None
        self._ready = asyncio.ensure_future(self._connect())
        self._reader_task: asyncio.Task[None] | None = None
        self.is_closed = False

    async def ask(self, call: LimitCall) -> RateDecision:
        try:
            await asyncio.shield(self._ready)
        except asyncio.CancelledError:
            if not self._ready.cancelled():
                raise
            # The agent left while the connection was opened.
            raise ConnectionError(self._address) from None
        if self._writer is None or self.is_closed:
            raise ConnectionError(self._address)
        self._next += 1
        number = self._next
        future: asyncio.Future[RateDecision] = asyncio.get_running_loop().create_future()
        self._pending[number] = future
        try:
            message: dict[str, Any] = {"id": number, **vars(call)}
            self._writer.write(json.dumps(message).encode() + b"\n")
            return await future
        finally:
            self._pending.pop(number, None)

    def close(self) -> None:
        self.is_closed = True
        self._ready.cancel()
        if self._reader_task is not None:
            self._reader_task.cancel()
        if self._writer is not None:
            self._writer.close()
        for future in self._pending.values():
            if not future.done():
                future.set_exception(ConnectionError(self._address))

    async def _connect(self) -> None:
        try:
            host, _, port = self._address.rpartition(":")
            async with asyncio.timeout(CONNECT_SECONDS):
                opening = asyncio.open_connection(host.strip("[]"), int(port), limit=MAX_LINE_BYTES)
                reader, self._writer = await opening
                nonce = (await reader.readline()).strip().decode(errors="replace")
            self._writer.write(_proof(self._secret(), nonce).encode() + b"\n")
        except (OSError, TimeoutError):
            self.is_closed = True
            return
        self._reader_task = asyncio.ensure_future(self._read(reader))

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while line := await reader.readline():
                message = json.loads(line)
                future = self._pending.get(message["id"])
                if future is not None and not future.done():
                    headers = tuple((str(name), str(value)) for name, value in message["headers"])
                    future.set_result(RateDecision(bool(message["allowed"]), headers, str(message["body"])))
        except (OSError, ValueError, KeyError):
            pass
        finally:
            self._reader_task = None
            self.close()
