"""`python -m tests.stalled_engine.record`: keep what `/metrics` of a real vLLM shows while its engine is frozen.

Buckets, times of creation and the interpreter's own numbers are left out.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
from pathlib import Path

from tests.stalled_engine.engine import RealEngine
from tests.stalled_engine.load import load
from tools.localcluster.settings import REPOSITORY

PULSES = REPOSITORY / "tests" / "data" / "pulses"
LEFT_OUT = re.compile(r"^(#|python_|\S+_(bucket|created)\b)")


def record(engine: RealEngine, name: str) -> None:
    """Keep the numbers as they are now."""
    lines = [line for line in engine.get("/metrics").splitlines() if not LEFT_OUT.match(line)]
    PULSES.mkdir(exist_ok=True)
    (PULSES / f"{name}.txt").write_text("\n".join(lines) + "\n")


async def frozen_idle(engine: RealEngine) -> None:
    """An engine that freezes between two requests."""
    async with load(engine.url) as clients:
        clients.stream(1, tokens=3)
        await asyncio.sleep(1)
        await clients.finish()
    await asyncio.sleep(2)
    record(engine, "idle")
    engine.freeze()
    async with load(engine.url) as clients:
        clients.stream(5, tokens=3)
        await asyncio.sleep(2)
        record(engine, "idle-frozen-asked")
        await asyncio.sleep(10)
        record(engine, "idle-frozen-asked-later")
    await asyncio.sleep(2)
    record(engine, "idle-frozen-given-up")
    engine.thaw()


async def frozen_at_work(engine: RealEngine) -> None:
    """An engine that freezes with requests in it, and goes on."""
    async with load(engine.url) as clients:
        clients.stream(8, tokens=1500)
        await asyncio.sleep(3)
        record(engine, "busy")
        await asyncio.sleep(1)
        record(engine, "busy-later")
        engine.freeze()
        await asyncio.sleep(2)
        record(engine, "busy-frozen")
        await asyncio.sleep(10)
        record(engine, "busy-frozen-later")
        engine.thaw()
        await asyncio.sleep(2)
        record(engine, "busy-thawed")


async def main() -> None:
    """Record everything."""
    with tempfile.TemporaryDirectory() as folder, RealEngine(Path(folder) / "server.log") as engine:
        await frozen_idle(engine)
        await asyncio.sleep(3)
        await frozen_at_work(engine)


if __name__ == "__main__":
    asyncio.run(main())
