"""One of two replicas stops under load: no request fails but those that the replica had begun to answer."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

from tests.nginx.clients import Clients, Outcomes
from tests.stalled_engine.engine import RealEngine

STREAMS, PLAIN, TOKENS = 6, 4, 40
BEFORE_SECONDS = float(os.environ.get("NGINX_BEFORE_SECONDS", "12"))
AFTER_SECONDS = float(os.environ.get("NGINX_AFTER_SECONDS", "25"))


async def under_load(url: str, stop: Callable[[], None]) -> Outcomes:
    """Send requests, stop a replica in between, and go on."""
    clients = Clients(url)
    clients.start(STREAMS, PLAIN, TOKENS)
    await asyncio.sleep(BEFORE_SECONDS)
    await asyncio.to_thread(stop)
    await asyncio.sleep(AFTER_SECONDS)
    await clients.stop()
    return clients.outcomes


def replicas_in(log: Path) -> set[str]:
    """Return the replicas that answered, as the access log of nginx names them."""
    words = (line.partition("replica=")[2].partition(" seconds=")[0] for line in log.read_text().splitlines())
    return {address.strip() for word in words for address in word.split(",")} - {""}


def report(name: str, outcomes: Outcomes) -> None:
    print(f"\n{name}: complete {dict(outcomes.complete)}, cut {outcomes.cut}, failed {len(outcomes.failed)}")


async def test_a_replica_that_drains_costs_no_request(balancer: str, engines: list[RealEngine], tmp_path: Path) -> None:
    outcomes = await under_load(balancer, engines[0].terminate)
    report("SIGTERM, drained", outcomes)
    assert outcomes.failed == []
    assert outcomes.cut == 0
    assert replicas_in(tmp_path / "access.log") == {f"127.0.0.1:{engine.port}" for engine in engines}
    assert outcomes.complete["stream"] > STREAMS
    assert outcomes.complete["plain"] > PLAIN


async def test_a_killed_replica_costs_only_the_answers_that_it_had_begun(
    balancer: str, engines: list[RealEngine], tmp_path: Path
) -> None:
    outcomes = await under_load(balancer, engines[1].stop)
    report("SIGKILL", outcomes)
    assert outcomes.failed == []
    assert 0 < outcomes.cut <= STREAMS
    assert replicas_in(tmp_path / "access.log") == {f"127.0.0.1:{engine.port}" for engine in engines}
    assert outcomes.complete["plain"] > PLAIN
