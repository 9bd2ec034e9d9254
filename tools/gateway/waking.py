"""Send requests to a server that sleeps, and measure the seconds to their tokens."""

from __future__ import annotations

import asyncio
import ssl
import time
import urllib.error
import urllib.request
from collections import Counter
from dataclasses import dataclass, field

import aiohttp

from tools.drain.load import MODEL, Answer, check

REQUESTS = 60
TOKENS = 20
SECONDS = 600.0
"""Longest wait of a request: the default of spec.holding."""
CLOSED_SECONDS = 10.0


@dataclass
class Woken:
    """The requests that waited.

    Attributes:
        requests: number of requests.
        served: those with a whole answer.
        first_token: seconds from the first request to the first token of any answer.
        last_token: seconds to the end of the last answer.
        causes: why others were lost.
    """

    requests: int = REQUESTS
    served: int = 0
    first_token: float = 0.0
    last_token: float = 0.0
    causes: Counter[str] = field(default_factory=Counter)


def wake_by_requests(url: str, key: str) -> Woken:
    """Send all requests at once, every other one streamed; return when the last has ended."""
    return asyncio.run(_wake(url, key))


async def _wake(url: str, key: str) -> Woken:
    result, began = Woken(), time.monotonic()
    timeout = aiohttp.ClientTimeout(total=SECONDS)
    connector = aiohttp.TCPConnector(limit=0, ssl=False)
    headers = {"Authorization": f"Bearer {key}"}

    async def one(session: aiohttp.ClientSession, number: int) -> None:
        streamed = number % 2 == 0
        body = {"model": MODEL, "prompt": f"hello {number}", "max_tokens": TOKENS, "ignore_eos": True}
        try:
            async with session.post(f"{url}/v1/completions", json={**body, "stream": streamed}) as response:
                start = await response.content.readany()
                if response.status == 200:
                    result.first_token = result.first_token or time.monotonic() - began
                check(Answer(response.status, (start + await response.read()).decode()), streamed)
            result.served += 1
        except Exception as error:  # whatever a client raises is a lost request
            result.causes[f"{type(error).__name__}: {error}"[:160]] += 1
        result.last_token = time.monotonic() - began

    async with aiohttp.ClientSession(connector=connector, timeout=timeout, headers=headers) as session:
        await asyncio.gather(*(one(session, number) for number in range(REQUESTS)))
    return result


def status_of(url: str, key: str) -> int:
    """Return the status of a GET with a key; 0 where nothing answers."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"})
    try:
        with urllib.request.urlopen(request, timeout=CLOSED_SECONDS, context=context) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0
