"""The program of the stand-ins (`replicas.py`) as a child process that ends with the block."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tools.harness.operator_process import die_with_parent


class ReplicaProcess:
    """A process that takes orders."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._turn = asyncio.Lock()

    async def order(self, **order: Any) -> dict[str, Any]:
        """Give one order and return its answer.

        Raises:
            RuntimeError: the process ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        async with self._turn:
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError("the stand-ins ended; is a port 8000 of the loopback interface taken?")
        answer: dict[str, Any] = json.loads(line)
        return answer


@asynccontextmanager
async def replica_process(niceness: int = 0) -> AsyncIterator[ReplicaProcess]:
    """Start one. A higher niceness leaves the CPU to others."""
    pipe = asyncio.subprocess.PIPE
    command = (sys.executable, "-m", "tools.hostile.replicas", str(niceness))
    process = await asyncio.create_subprocess_exec(
        *command, stdin=pipe, stdout=pipe, limit=2**22, preexec_fn=die_with_parent
    )
    try:
        yield ReplicaProcess(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
