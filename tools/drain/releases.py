"""Drain one real vLLM of each release by the operator's middleware: `python -m tools.drain.releases 0.17.1 0.32.0`.

Clients with kept connections send requests until an answer closes their connection, as they would go to another replica
then. What the kubelet does is done here: the request of the preStop hook, and SIGTERM after its answer.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp

from tools.drain.load import Answer, check
from tools.vllm_releases.environment import install
from tools.vllm_releases.running import MODEL, RunningVLLM
from vllm_operator.desired.drain import MIDDLEWARE_FLAG, MODULE, PLUGIN_FLAGS, TOKEN_HEADER, TOKEN_VARIABLE
from vllm_operator.desired.drain import source as middleware_source
from vllm_operator.in_replica.drain import PATH

TOKEN = "token-of-the-test"
CLIENTS = 6
TOKENS = (30, 100, 300, 900)
STEADY_SECONDS = 8.0
DRAIN_SECONDS = 180
END_SECONDS = 60.0
REQUEST_SECONDS = 240.0


@dataclass
class Figures:
    """The requests of one drain, and how it went.

    Attributes:
        answered: whole answers.
        lost: causes of the others.
        kept_open: answers after the hook was sent that did not close their connection.
        idle_seconds: time from the last answer to that of the hook.
        drain_seconds: time until the hook was answered.
        answer: text of the hook's answer.
        ended: the process ended by itself after SIGTERM.
    """

    answered: int = 0
    lost: list[str] = field(default_factory=list)
    kept_open: int = 0
    idle_seconds: float = 0.0
    drain_seconds: float = 0.0
    answer: str = ""
    ended: bool = False


async def measure(server: RunningVLLM) -> Figures:
    """Drain a server under load, and stop it."""
    figures, drains, last_answer = Figures(), asyncio.Event(), [0.0]

    async def work(number: int) -> None:
        numbers = random.Random(number)
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1), timeout=timeout) as session:
            while True:
                is_late, streamed = drains.is_set(), numbers.random() < 0.5
                body = {"model": MODEL, "prompt": "hello", "ignore_eos": True, "stream": streamed}
                body["max_tokens"] = numbers.choice(TOKENS)
                try:
                    async with session.post(f"{server.url}/v1/completions", json=body) as response:
                        closes = response.headers.get("connection", "").lower() == "close"
                        check(Answer(response.status, await response.text()), streamed)
                except Exception as error:  # whatever a client raises is a lost request
                    figures.lost.append(f"{type(error).__name__}: {error}"[:160])
                    return
                figures.answered += 1
                figures.kept_open += is_late and not closes
                last_answer[0] = time.monotonic()
                if closes:
                    return

    async def hook() -> None:
        await asyncio.sleep(STEADY_SECONDS)
        drains.set()
        began = time.monotonic()
        url = f"{server.url}{PATH}?timeout={DRAIN_SECONDS}"
        timeout = aiohttp.ClientTimeout(total=2 * DRAIN_SECONDS)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(url, headers={TOKEN_HEADER: TOKEN}) as response,
        ):
            figures.answer = (await response.text()).strip()
        figures.drain_seconds = time.monotonic() - began
        figures.idle_seconds = time.monotonic() - last_answer[0]
        server.terminate()

    await asyncio.gather(hook(), *(work(number) for number in range(CLIENTS)))
    return figures


def has_ended(server: RunningVLLM) -> bool:
    """Wait for the end of a server that has got SIGTERM; return whether it came."""
    deadline = time.monotonic() + END_SECONDS
    while server.is_running() and time.monotonic() < deadline:
        time.sleep(0.5)
    return not server.is_running()


def main() -> None:
    """Measure each release that the command line names."""
    for release in sys.argv[1:]:
        environment = install(release)
        with TemporaryDirectory() as folder:
            file = Path(folder, f"{MODULE}.py")
            file.write_text(middleware_source())
            arguments = (PLUGIN_FLAGS[0], str(file), MIDDLEWARE_FLAG, f"{MODULE}.Drain", "--max-model-len", "2048")
            variables = {TOKEN_VARIABLE: TOKEN, "OMP_NUM_THREADS": "1"}
            with RunningVLLM(environment, *arguments, env=variables) as server:
                figures = asyncio.run(measure(server))
                figures.ended = has_ended(server)
        print(
            f"vLLM {release}: {len(figures.lost)} of {figures.answered + len(figures.lost)} lost; the hook answered "
            f"{figures.answer!r} after {figures.drain_seconds:.1f} s, {figures.idle_seconds:.1f} s after the last "
            f"answer; {figures.kept_open} connections kept open; ended by SIGTERM: {figures.ended}",
            *figures.lost[:5],
            sep="\n    ",
            flush=True,
        )


if __name__ == "__main__":
    main()
