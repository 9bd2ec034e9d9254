"""FUZZ_ANSWERS fuzzed HTTP answers against the prober on loopback: how long its event loop stood still, and its memory.

A stand-still counts by the CPU that this thread used in it, so that other programs on the machine do not count.
"""

from __future__ import annotations

import asyncio
import os
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from vllm_operator.kube.key import Key
from vllm_operator.probing.prober import Prober
from vllm_operator.probing.replica import ProbedReplica
from vllm_operator.probing.results import ProbeResults
from vllm_operator.probing.service_quality import ServiceQuality
from vllm_operator.probing.stall_detector import StallDetector
from vllm_operator.probing.targets import ProbeTarget

ANSWERS = int(os.environ.get("FUZZ_ANSWERS", "100000"))
SEED = int(os.environ.get("FUZZ_SEED", "0")) or random.randrange(1, 1_000_000)
AT_ONCE = 16
TIMEOUT_SECONDS = 0.3
BEAT_SECONDS = 0.002
GOAL_SECONDS = 0.05


@dataclass
class Report:
    """What came of it.

    Attributes:
        answers: answers that the replica gave.
        outcomes: reason of the health -> probes.
        still: the longest stand-still of the event loop, in seconds of CPU.
        beyond_goal: stand-stills beyond `GOAL_SECONDS`.
        grown_mib: how much the resident memory grew at most.
        errors: exceptions that left the prober.
    """

    answers: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    still: float = 0.0
    beyond_goal: int = 0
    grown_mib: float = 0.0
    errors: list[str] = field(default_factory=list)


class Heartbeat:
    """Measures how long the event loop stands still, and the memory."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._memory = resident_mib()

    async def run(self) -> None:
        """Beat until cancelled."""
        beats = 0
        while True:
            wall, cpu = time.perf_counter(), time.thread_time()
            await asyncio.sleep(BEAT_SECONDS)
            still = min(time.perf_counter() - wall - BEAT_SECONDS, time.thread_time() - cpu)
            self._report.still = max(self._report.still, still)
            self._report.beyond_goal += still > GOAL_SECONDS
            beats += 1
            if beats % 100 == 0:
                self._report.grown_mib = max(self._report.grown_mib, resident_mib() - self._memory)


def resident_mib() -> float:
    """Return the resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


@asynccontextmanager
async def hostile_replica(seed: int) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the replica in a process of its own."""
    command = (sys.executable, "-m", "tests.fuzz.hostile_replica", str(seed))
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    try:
        yield process
    finally:
        process.kill()
        await process.wait()


async def _line(process: asyncio.subprocess.Process) -> int:
    assert process.stdout is not None
    return int(await process.stdout.readline())


async def _answers(process: asyncio.subprocess.Process) -> int:
    assert process.stdin is not None
    process.stdin.write(b"\n")
    return await _line(process)


def target(index: int, port: int) -> ProbeTarget:
    """Return a replica at an address of its own."""
    url = f"http://127.0.{index // 250 + 1}.{index % 250 + 1}:{port}"
    return ProbeTarget(Key("fuzz", f"server-{index}"), f"pod-{index}", f"uid-{index}", url, ("m",), 1.0, "Always")


async def run(answers: int, seed: int) -> Report:
    """Probe until the replica gave `answers` answers."""
    report = Report()
    results = ProbeResults(lambda key: None)
    stalls = StallDetector(results.on_stall_change, time.monotonic, 0.5, 0.1, lambda verdict: None)
    prober = Prober(
        stalls,
        ServiceQuality(lambda key: None, time.monotonic),
        results,
        time.monotonic,
        TIMEOUT_SECONDS,
        on_probe=lambda reason, _: report.outcomes.update([reason]),
        may_send_key=lambda key: True,
    )
    async with hostile_replica(seed) as process:
        port = await _line(process)
        beat = asyncio.create_task(Heartbeat(report).run())

        async def probe_on(index: int) -> None:
            replica = ProbedReplica(target(index, port))
            while report.answers < answers:
                replica.result.refresh_at = 0.0  # ask for everything each time
                try:
                    await prober.probe(replica)
                except Exception as error:
                    report.errors.append(repr(error))

        async def count() -> None:
            while report.answers < answers:
                report.answers = await _answers(process)
                await asyncio.sleep(0.1)

        await asyncio.gather(count(), *map(probe_on, range(AT_ONCE)))
        await stalls.close()
        await prober.close()
        beat.cancel()
    return report


def main() -> int:
    """Print what came of it; 1 when the loop stood still, or when anything else was wrong."""
    print(f"seed {SEED}: {ANSWERS} answers", flush=True)
    begun = time.monotonic()
    report = uvloop.run(run(ANSWERS, SEED))
    print(f"{report.answers} answers in {time.monotonic() - begun:.0f} s; the event loop stood still for "
          f"{1000 * report.still:.1f} ms at most, {report.beyond_goal} times for more than "
          f"{1000 * GOAL_SECONDS:.0f} ms; the memory grew by {report.grown_mib:.0f} MiB at most")  # fmt: skip
    for outcome, number in report.outcomes.most_common():
        print(f"  {number:6} {outcome}")
    print(f"  {len(report.errors):6} uncaught exceptions {report.errors[:5]}")
    return 1 if report.errors or report.beyond_goal else 0


if __name__ == "__main__":
    sys.exit(main())
