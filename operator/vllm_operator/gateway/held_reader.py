"""Ask the agents of a gateway how many requests they hold, and what Envoy refuses."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import aiohttp

from vllm_operator.diagnosis.log_text import one_line
from vllm_operator.gateway.bounded import read_bounded
from vllm_operator.gateway.refusals import MAX_REFUSED
from vllm_operator.kube.fields import get_str
from vllm_operator.kube.types import Object

AGENT_PORT = 8082
"""Port of the agent in each pod of a gateway."""
HELD_PATH = "/held"
FRESH_SECONDS = 5.0
"""Seconds for which an answer counts: the statuses change no more often."""
ANSWER_SECONDS = 2.0
MAX_ANSWER_BYTES = 65_536
MAX_PODS = 100
MAX_TEXT = 128
"""Characters of the name of a refused part."""
NAME = re.compile(r"[a-z0-9./-]{1,317}")
"""Name of a server, with its namespace where that is another one."""
MAX_COUNT = 1_000_000
"""Requests of one server that an agent may report. Whoever writes a VLLMGateway chooses the image of its agent."""


@dataclass(frozen=True)
class HeldCounts:
    """Requests that a gateway holds.

    Attributes:
        by_server: number of requests by the name of the server, as the agents name it.
        age: seconds since the agents were asked.
        refused: parts of the configuration that the Envoy of a pod refuses, sorted.
    """

    by_server: Mapping[str, int]
    age: float = 0.0
    refused: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        """Return the number of all requests."""
        return sum(self.by_server.values())


NOTHING = HeldCounts({})


class HeldReader:
    """Asks the agents, at most every five seconds for each gateway.

    Args:
        clock: monotonic time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None
        self._answers: dict[str, tuple[float, HeldCounts | None]] = {}

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def forget(self, gateway: str) -> None:
        """Forget a gateway that is gone."""
        self._answers.pop(gateway, None)

    async def read(self, gateway: str, pods: Iterable[Object]) -> HeldCounts | None:
        """Return what the pods of a gateway hold; None when one of them does not answer.

        A pod whose agent does not run holds nothing.
        """
        asked, counts = self._answers.get(gateway, (float("-inf"), None))
        if (age := self._clock() - asked) < FRESH_SECONDS:
            return counts and replace(counts, age=age)
        addresses = sorted(address for pod in pods if (address := _address(pod)))
        answers = await asyncio.gather(*(self._ask(address) for address in addresses[:MAX_PODS]))
        found: Counter[str] = Counter()
        refused: set[str] = set()
        for answer in answers:
            found.update(answer.by_server if answer else {})
            refused.update(answer.refused if answer else ())
        unknown = len(addresses) > MAX_PODS or any(answer is None for answer in answers)
        counts = None if unknown else HeldCounts(dict(sorted((+found).items())), refused=tuple(sorted(refused)))
        self._answers[gateway] = (self._clock(), counts)
        return counts

    async def _ask(self, address: str) -> HeldCounts | None:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
            # A pod that never answers must not keep a connection.
            connector = aiohttp.TCPConnector(limit=64, force_close=True)
            self._session = aiohttp.ClientSession(timeout=timeout, connector=connector, trust_env=False)
        url = f"http://{address}:{AGENT_PORT}{HELD_PATH}"
        try:
            async with self._session.get(url, allow_redirects=False) as response:
                if response.status != 200:
                    return None
                return _read(await read_bounded(response.content, MAX_ANSWER_BYTES))
        except aiohttp.ClientConnectorError as error:
            return NOTHING if isinstance(error.os_error, ConnectionRefusedError) else None
        except (aiohttp.ClientError, TimeoutError):
            return None


def _address(pod: Object) -> str:
    """Return the address of a pod that runs; empty for another."""
    if get_str(pod, "status", "phase") != "Running":
        return ""
    address = get_str(pod, "status", "podIP")
    return f"[{address}]" if ":" in address else address


def _read(body: bytes) -> HeldCounts | None:
    """Return the content of an answer; None for one that is not of an agent."""
    try:
        value: Any = json.loads(body)
    except (ValueError, RecursionError):
        return None
    held = value.get("held") if isinstance(value, dict) else None
    if not isinstance(held, dict):
        return None
    counts = {
        name: count
        for name, count in held.items()
        if NAME.fullmatch(name) and type(count) is int and 0 <= count <= MAX_COUNT
    }
    return HeldCounts(counts, refused=_texts(value.get("refused"))) if len(counts) == len(held) else None


def _texts(value: Any) -> tuple[str, ...]:
    texts = value if isinstance(value, list) else []
    return tuple(one_line(text)[:MAX_TEXT] for text in texts[:MAX_REFUSED] if isinstance(text, str))
