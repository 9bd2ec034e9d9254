"""Hostile pods and manifests next to a well-behaved tenant, on a real API server: `make hostile`.

Phase A measures the well-behaved tenant alone, phase B the same next to a namespace with all hostile kinds
(`kinds.KINDS`). Each phase ends with a restart of the operator. There are no nodes with machines: the program writes
the status of the pods, whose addresses are on the loopback interface, and answers at port 8000 there. The programs that
answer as hostile replicas have a lower CPU priority, since in a cluster they run on other machines.

HOSTILE_KINDS=c1,h3    only these kinds
HOSTILE_SECONDS=N      of each phase (120; an hour for the goal of memory)
HOSTILE_JSON=FILE      the figures as JSON
HOSTILE_LOG=FILE       the operator's log

The exit code is 1 only when the operator ended by itself or needed more memory than its limit.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from tools.bench.loop import FastClient
from tools.harness import control_plane as planes
from tools.harness import rights
from tools.harness.operator_process import OperatorProcess
from tools.hostile import nodes, report
from tools.hostile.kinds import Kind, chosen
from tools.hostile.measure import MIB, Reconciles, Watchman, seconds_until, spread
from tools.hostile.process import ReplicaProcess, replica_process
from tools.hostile.tenant import GOOD_REPLICAS, GOOD_SERVERS, Tenant, good_kind
from tools.hostile.yardstick import Yardstick
from vllm_operator.api.crd import crd

SECONDS = float(os.environ.get("HOSTILE_SECONDS", "120"))
KINDS = os.environ.get("HOSTILE_KINDS", "")
INTERVAL = 1.0
"""Seconds between two probes of the good tenant's replicas."""
STALLED_SECONDS = 240.0
"""Longest wait for the report of the stalled engine; one that is not reported then counts as not seen."""
RESTART_SECONDS = 15.0
"""Time after a restart in which the memory is watched."""
STOP_SECONDS = 60.0
"""Longest time until the operator has ended by SIGTERM."""
NICENESS = 10
GOOD_NETWORK, HOSTILE_NETWORK = 66, 67
NAMES = [f"good-{number}" for number in range(GOOD_SERVERS)]
STALLING = NAMES[-1]
"""The server of which one engine stalls; the others are patched."""
SERVING, STALLED = ["Serving"] * GOOD_REPLICAS, ["Serving"] * (GOOD_REPLICAS - 1) + ["Stalled"]


class Run:
    """The two phases."""

    def __init__(
        self, operator: OperatorProcess, client: FastClient, good: ReplicaProcess, bad: ReplicaProcess
    ) -> None:
        self._operator, self._client, self._stand_ins, self._bad = operator, client, good, bad
        self._good = Tenant(client, good, "good", GOOD_NETWORK)
        self._hostile = Tenant(client, bad, "hostile", HOSTILE_NETWORK)
        self._patches = 1
        self._begun = time.monotonic()

    async def run(self, kinds: Sequence[Kind]) -> dict[str, Any]:
        """Return the figures of both phases."""
        self._say("the operator and the good tenant start")
        self._operator.start()
        await asyncio.to_thread(self._operator.wait_ready)
        await self._good.set_up([(name, good_kind()) for name in NAMES])
        await self._all_serve()
        self._say(f"phase A, {SECONDS:g} s: the good tenant alone")
        calm = await self._phase()
        self._say("phase B: the hostile tenant starts")
        with Watchman(self._operator) as watchman:
            await self._hostile.set_up([(kind.server, kind) for kind in kinds])
            self._hostile.act()
            await self._all_serve()
            self._say(f"phase B, {SECONDS:g} s: next to {len(kinds)} hostile kinds")
            hostile = await self._measure(watchman)
            done = await self._bad.order(report=INTERVAL)
        hostile |= await self._restart()
        await self._hostile.stop()
        await self._good.stop()
        return {
            "seconds": SECONDS,
            "undisturbed": calm,
            "hostile": hostile,
            "kinds": [self._done(kind, done) for kind in kinds],
            "logs_read": done["logs"],
        }

    def _say(self, text: str) -> None:
        print(f"[{time.monotonic() - self._begun:6.0f} s] {text}", file=sys.stderr, flush=True)

    async def _phase(self) -> dict[str, Any]:
        with Watchman(self._operator) as watchman:
            figures = await self._measure(watchman)
        return figures | await self._restart()

    async def _measure(self, watchman: Watchman) -> dict[str, Any]:
        """Measure for the length of a phase, or until the stalled engine is reported if that takes longer."""
        address = self._good.pods[STALLING][0]
        await self._stand_ins.order(report=INTERVAL)
        await self._stand_ins.order(listen={address: "stalled"})
        reconciles = Reconciles(self._client, self._good, NAMES[:-1], self._patches)
        yardstick, until = Yardstick(self._client), time.monotonic() + SECONDS
        _, _, stalled = await asyncio.gather(
            reconciles.run(until),
            yardstick.run(until),
            seconds_until(self._client, self._good, STALLING, STALLED, STALLED_SECONDS),
        )
        self._patches += len(reconciles.seconds) + 1
        pace = await self._stand_ins.order(report=INTERVAL)
        figures = {"stalled_seconds": stalled, **watchman.figures(), **reconciles.figures()}
        figures |= spread("yardstick", yardstick.seconds)
        figures |= {
            name: pace[name] for name in ("probes", "late_ms_p50", "late_ms_p99", "late_ms_max", "own_late_ms_p99")
        }
        figures["load"] = os.getloadavg()[0]
        await self._stand_ins.order(listen={address: "well"})
        return figures | {"recovered_seconds": await self._all_serve()}

    async def _all_serve(self) -> float | None:
        """Wait until the status shows all replicas of the good tenant as serving."""
        begun = time.monotonic()
        waits = (seconds_until(self._client, self._good, name, SERVING, STALLED_SECONDS) for name in NAMES)
        if None in await asyncio.gather(*waits):
            self._say("the good tenant's replicas are not all reported as serving")
            return None
        return round(time.monotonic() - begun, 1)

    async def _restart(self) -> dict[str, Any]:
        """Restart the operator; return the seconds until it is ready, and its peak of memory."""
        self._say("the operator restarts")
        try:
            await asyncio.to_thread(self._operator.stop, STOP_SECONDS)
            begun = time.monotonic()
            self._operator.start()
            await asyncio.to_thread(self._operator.wait_ready)
            ready = round(time.monotonic() - begun, 1)
            await asyncio.sleep(RESTART_SECONDS)
            peak = self._operator.peak_memory() / MIB
        except (AssertionError, OSError, StopIteration) as error:
            return {"restart_seconds": None, "restart_error": str(error) or repr(error)}
        return {"restart_seconds": ready, "restart_peak_mib": round(peak, 1)}

    def _done(self, kind: Kind, done: dict[str, Any]) -> dict[str, Any]:
        """Return what a kind did in phase B."""
        tenant, answers = self._hostile, kind.answers
        return {
            "kind": kind.name,
            "what": kind.what,
            "pods": kind.replicas,
            "asked": done["asked"].get(answers, 0) if answers else "",
            "sent_mib": done["sent_mib"].get(answers, 0) if answers else "",
            "writes": tenant.done[kind.name],
            "refused": tenant.refused[kind.name],
        }


async def measure(plane: planes.Plane, kinds: Sequence[Kind]) -> dict[str, Any]:
    """Run both phases on this control plane; end what was started, also when interrupted."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    kube = plane.kube()
    kube.apply(crd(), "--server-side")
    kube.wait_for_crds("vllmservers.vllm-operator.dev")
    kubeconfig = rights.lend(kube, plane.folder / "operator.kubeconfig")
    operator = OperatorProcess(kubeconfig, plane.folder / "logs" / "operator.log")
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(FastClient(plane.kubeconfig))
        good = await stack.enter_async_context(replica_process())
        bad = await stack.enter_async_context(replica_process(NICENESS))
        beats = await nodes.create(client, bad, plane.folder)
        stack.callback(beats.cancel)
        operator.log.touch()
        if target := os.environ.get("HOSTILE_LOG"):
            stack.callback(shutil.copyfile, operator.log, target)
        stack.callback(operator.kill)
        return await Run(operator, client, good, bad).run(kinds)


def main() -> int:
    """Run and print."""
    kinds = chosen(KINDS)
    if reason := planes.missing():
        print(reason, file=sys.stderr)
        return 1
    with planes.control_plane() as plane:
        try:
            figures = asyncio.run(measure(plane, kinds))
        except asyncio.CancelledError:
            print("interrupted", file=sys.stderr)
            return 130
    calm, hostile = figures["undisturbed"], figures["hostile"]
    figures["missed"], figures["slower"] = report.failures(calm, hostile), report.slow(calm, hostile)
    if target := os.environ.get("HOSTILE_JSON"):
        Path(target).write_text(json.dumps(figures, indent=2) + "\n")
    print(report.table(calm, hostile), report.kinds_table(figures["kinds"]), sep="\n\n")
    print(f"\nLogs read from the kubelet: {figures['logs_read']}")
    for text in figures["slower"]:
        print(f"above {report.GOAL_RATIO:g}x (no failure: the machine's own load moves it): {text}")
    for text in figures["missed"]:
        print(f"MISSED: {text}")
    return 1 if figures["missed"] else 0


if __name__ == "__main__":
    sys.exit(main())
