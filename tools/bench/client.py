"""Compare clients of vLLM: `make bench-client`.

Our client, raw HTTP clients and the openai SDK send the same requests to a stand-in on loopback (`client_stand_in`), in
turns, each in its own process. Wall time, CPU time and peak memory are those of that process.

CLIENT_ROUNDS is the number of turns, of which the best counts: other work on the machine only adds time.
CLIENT_ONLY="raw aiohttp,httpx2" chooses clients. CLIENT_VLLM=start measures a real vLLM on CPUs, too (installed when
missing); CLIENT_VLLM=http://… measures one that serves a model `tiny`. CLIENT_JSON=FILE writes the figures too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.bench.client_subjects import ANSWERS_ONLY, SUBJECTS
from tools.bench.client_table import table
from tools.localcluster import settings
from tools.vllm_releases.environment import install
from tools.vllm_releases.running import RunningVLLM

ROUNDS = int(os.environ.get("CLIENT_ROUNDS", "3"))
LIMIT_SECONDS = 180.0
"""Longest time of one measurement."""


@dataclass(frozen=True)
class Scenario:
    """The work of every client in one measurement.

    Attributes:
        stream: whether the answers are streams.
        width: requests in flight.
        count: requests that are measured.
        warm_up: requests before them.
        interval_ms: milliseconds between the chunks of a stream.
        tokens: most tokens of an answer; 0 for what the stand-in sends.
        slow_count: requests of the clients that need more than ten times as long; 0 for the same number.
    """

    stream: bool
    width: int
    count: int
    warm_up: int
    interval_ms: int = 0
    tokens: int = 0
    slow_count: int = 0


SCENARIOS = {
    "answers": Scenario(stream=False, width=64, count=6000, warm_up=500, slow_count=600),
    "streams": Scenario(stream=True, width=64, count=640, warm_up=64, slow_count=128),
    "thousand": Scenario(stream=True, width=1000, count=1000, warm_up=0, interval_ms=50),
}
VLLM_SCENARIOS = {
    "vllm answers": Scenario(stream=False, width=16, count=320, warm_up=32, tokens=16),
    "vllm streams": Scenario(stream=True, width=16, count=320, warm_up=32, tokens=16),
}
IMPORTS = {
    "vllm_operator.client": "import vllm_operator.client",
    "vllm_operator.client with its two clients": "from vllm_operator.client import AsyncVLLMClient, VLLMClient",
    "raw aiohttp": "import aiohttp",
    "httpx": "import httpx",
    "httpx2": "import httpx2",
    "openai": "import openai",
    "pyreqwest": "import pyreqwest.client",
}
SLOW = {
    "httpx",
    "httpx, a client for each request",
    "httpx with aiohttp",
    "httpx2",
    "openai",
    "openai with its aiohttp",
    "openai with our transport",
}


@contextmanager
def stand_in() -> Iterator[str]:
    """Yield the base URL of a stand-in that ends with the block."""
    command = [sys.executable, "-m", "tools.bench.client_stand_in"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.stdin.close()


def run(subject: str, url: str, scenario: Scenario) -> dict[str, float] | str:
    """Return the figures of one client per request, or why there are none."""
    count = scenario.slow_count if subject in SLOW and scenario.slow_count else scenario.count
    options: dict[str, Any] = {
        "subject": subject,
        "url": url,
        "stream": scenario.stream,
        "width": scenario.width,
        "count": count,
        "warm_up": min(scenario.warm_up, count),
        "interval_ms": scenario.interval_ms,
        "tokens": scenario.tokens,
    }
    command = [sys.executable, "-m", "tools.bench.client_run", json.dumps(options)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_SECONDS)
    except subprocess.TimeoutExpired:
        return f"not done within {LIMIT_SECONDS:g} s"
    if done.returncode:
        return done.stderr.strip().splitlines()[-1]
    figures = json.loads(done.stdout)
    return {
        "wall_ms": figures["seconds"] / count * 1000,
        "cpu_ms": figures["cpu_seconds"] / count * 1000,
        "rss_mib": figures["rss_mib"],
    }


def best(found: list[dict[str, float] | str]) -> dict[str, float] | str:
    """Return the lowest value of each figure, or the first failure."""
    figures = [entry for entry in found if isinstance(entry, dict)]
    if len(figures) < len(found):
        return next(entry for entry in found if isinstance(entry, str))
    return {name: round(min(entry[name] for entry in figures), 4) for name in figures[0]}


def import_seconds(statement: str) -> float:
    """Return how long a new Python needs for an import, without its own start, in seconds."""
    code = f"import time; t = time.perf_counter(); {statement}; print(time.perf_counter() - t)"
    return min(
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(5)
    )


@contextmanager
def real_vllm(wanted: str) -> Iterator[str]:
    """Yield the base URL of a real vLLM, which ends with the block if it was started for it."""
    if wanted != "start":
        yield wanted.rstrip("/").removesuffix("/v1")
        return
    with RunningVLLM(install(settings.VLLM)) as server:
        yield server.url


def measure(names: list[str], scenarios: Mapping[str, Scenario], url: str) -> dict[str, Any]:
    """Run scenarios, with the clients in turns."""
    figures: dict[str, Any] = {}
    for title, scenario in scenarios.items():
        chosen = [name for name in names if not (scenario.stream and name in ANSWERS_ONLY)]
        found: dict[str, list[dict[str, float] | str]] = {name: [] for name in chosen}
        for turn in range(1 if title == "thousand" else ROUNDS):
            for name in chosen:
                print(f"{title}, turn {turn + 1}: {name}", file=sys.stderr)
                found[name].append(run(name, url, scenario))
        figures[title] = {name: best(entries) for name, entries in found.items()}
    return figures


def main() -> None:
    """Measure, print a table and write the figures."""
    names = [name for name in os.environ.get("CLIENT_ONLY", "").split(",") if name] or list(SUBJECTS)
    if unknown := set(names) - set(SUBJECTS):
        raise SystemExit(f"CLIENT_ONLY: {', '.join(sorted(unknown))} is not one of {', '.join(SUBJECTS)}")
    with stand_in() as url:
        figures = measure(names, SCENARIOS, url)
    if wanted := os.environ.get("CLIENT_VLLM"):
        with real_vllm(wanted) as url:
            figures |= measure(names, VLLM_SCENARIOS, url)
    figures["import_seconds"] = {name: round(import_seconds(code), 3) for name, code in IMPORTS.items()}
    print(table(figures))
    if path := os.environ.get("CLIENT_JSON"):
        Path(path).write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
