"""Record `/metrics` of a real vLLM while its engine is suspended: `python -m tests.stalled_engine.record`.

Buckets, times of creation and the metrics of the interpreter are left out.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
from pathlib import Path

from tests.stalled_engine.engine import RealEngine
from tests.stalled_engine.load import load
from tools.localcluster.settings import REPOSITORY

RECORDED = REPOSITORY / "tests" / "data" / "engine_counters"
LEFT_OUT = re.compile(r"^(#|python_|\S+_(bucket|created)\b)")


def record(engine: RealEngine, name: str) -> None:
    """Write the present metrics to a file."""
    lines = [line for line in engine.get("/metrics").splitlines() if not LEFT_OUT.match(line)]
    RECORDED.mkdir(exist_ok=True)
    (RECORDED / f"{name}.txt").write_text("\n".join(lines) + "\n")


async def suspended_idle(engine: RealEngine) -> None:
    """Record an engine that is suspended between two requests."""
    async with load(engine.url) as clients:
        clients.stream(1, tokens=3)
        await asyncio.sleep(1)
        await clients.finish()
    await asyncio.sleep(2)
    record(engine, "idle")
    engine.suspend()
    async with load(engine.url) as clients:
        clients.stream(5, tokens=3)
        await asyncio.sleep(2)
        record(engine, "idle-suspended-requested")
        await asyncio.sleep(10)
        record(engine, "idle-suspended-requested-later")
    await asyncio.sleep(2)
    record(engine, "idle-suspended-given-up")
    engine.resume()


async def suspended_busy(engine: RealEngine) -> None:
    """Record an engine that is suspended with requests in it, and resumed."""
    async with load(engine.url) as clients:
        clients.stream(8, tokens=1500)
        await asyncio.sleep(3)
        record(engine, "busy")
        await asyncio.sleep(1)
        record(engine, "busy-later")
        engine.suspend()
        await asyncio.sleep(2)
        record(engine, "busy-suspended")
        await asyncio.sleep(10)
        record(engine, "busy-suspended-later")
        engine.resume()
        await asyncio.sleep(2)
        record(engine, "busy-resumed")


async def main() -> None:
    """Record both."""
    with tempfile.TemporaryDirectory() as folder, RealEngine(Path(folder) / "server.log") as engine:
        await suspended_idle(engine)
        await asyncio.sleep(3)
        await suspended_busy(engine)


if __name__ == "__main__":
    asyncio.run(main())
