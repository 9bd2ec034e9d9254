"""Measure how fast servers follow a spike of load: `make bench-autoscale`.

A real API server and controller manager; the pods become Ready by themselves and answer as vLLM 0.32 with the numbers
of the load (`tools.harness.fake_fleet`). The spike goes from no request to several replicas' worth, at random moments
within the sync period of the autoscaler, on AUTOSCALE_ROUNDS servers side by side, and by all ways to scale at once.

AUTOSCALE_ONLY chooses what is measured, such as builtin,fastpath,cost. AUTOSCALE_JSON=FILE writes the figures too.
KEDA and Prometheus are built from their Go modules where the cache lacks them; without AUTOSCALE_KEDA=1 they are left
out.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tools.bench.autoscale_cost import cost_of_fast_path, cost_of_replicas
from tools.harness import rights
from tools.harness.control_plane import control_plane
from tools.harness.crds import install_keda_crd
from tools.harness.fake_fleet import FakeFleet, offer_metrics_api, wait_until_served
from tools.harness.keda import keda_and_prometheus
from tools.harness.kube import Kube, Object
from tools.harness.operator_process import OperatorProcess
from vllm_operator.api.crd import crd
from vllm_operator.api.names import API_VERSION, KIND

ROUNDS = int(os.environ.get("AUTOSCALE_ROUNDS", "5"))
TARGET = 50
SPIKE = 4
"""Replicas that the spike needs."""
START_SECONDS = 20.0
"""Seconds until a new replica is Ready: it takes no load before."""
LIMIT_SECONDS = 90.0
WATCH_SECONDS = 45.0
"""Seconds after the spike in which the most replicas are looked for."""
NAMESPACE = "bench"
WAYS: dict[str, Object] = {
    "builtin": {},
    "fastpath": {"fastPath": True},
    "operator": {"source": "operator"},
    "operator-fastpath": {"source": "operator", "fastPath": True},
}
"""Ways to scale that need no other program, by name."""


def server(name: str, scaling: Object) -> Object:
    """Return a VLLMServer that scales as `scaling` says."""
    spec = {
        "model": {"uri": "hf://tiny-org/tiny"},
        "autoscaling": {"maxReplicas": 10, "targetRunningRequests": TARGET, **scaling},
    }
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": spec}


class Spikes:
    """Spikes of load on one server."""

    def __init__(self, kube: Kube, fleet: FakeFleet, scaling: Object, label: str) -> None:
        self._kube = kube
        self._fleet = fleet
        self._scaling = scaling
        self._label = label

    def measure(self) -> dict[str, Any]:
        """Return seconds from the spike to the wanted replicas, and the overshoot; all rounds run side by side."""
        with ThreadPoolExecutor(ROUNDS) as pool:
            rounds = list(pool.map(self._round, range(ROUNDS)))
        seconds = [value for value, _ in rounds]
        known = [value for value in seconds if value is not None]
        return {
            "p50": round(statistics.median(known), 2) if known else None,
            "max": round(max(known), 2) if len(known) == len(seconds) else None,
            "overshoot": max(most for _, most in rounds) - SPIKE,
            "rounds": [None if value is None else round(value, 2) for value in seconds],
        }

    def _round(self, turn: int) -> tuple[float | None, int]:
        """Return the seconds of one spike on a new server, and the most replicas."""
        name = f"{self._label}-{turn}"
        self._kube.create(server(name, self._scaling), NAMESPACE)
        self._kube.eventually(lambda: name in self._fleet.ready.values(), within=120)
        # Past the first sync of a new autoscaler, at a random moment of its period.
        time.sleep(20 + random.uniform(0, 15))
        began = time.monotonic()
        self._fleet.in_flight[name] = TARGET * SPIKE - 5
        reached, highest = self._watch(name, began)
        print(f"{name}: {reached if reached is None else round(reached, 1)} s, at most {highest}", flush=True)
        self._fleet.in_flight.pop(name)
        self._kube.delete(KIND, name, NAMESPACE)
        return reached, highest

    def _watch(self, name: str, began: float) -> tuple[float | None, int]:
        reached, highest = None, 0
        while time.monotonic() - began < (LIMIT_SECONDS if reached is None else WATCH_SECONDS):
            wanted = self._kube.must_get("Deployment", name, NAMESPACE)["spec"].get("replicas", 0)
            highest = max(highest, wanted)
            if reached is None and wanted >= SPIKE:
                reached = time.monotonic() - began
            time.sleep(0.05)
        return reached, highest


def bench() -> dict[str, Any]:
    """Run every measurement."""
    chosen = os.environ.get("AUTOSCALE_ONLY", "builtin,fastpath,operator,operator-fastpath,keda,cost").split(",")
    figures: dict[str, Any] = {"spike_to_replicas": SPIKE, "start_seconds": START_SECONDS}
    with ExitStack() as stack:
        plane = stack.enter_context(control_plane())
        kube = plane.kube()
        kube.apply(crd(), "--server-side")
        kube.wait_for_crds("vllmservers.vllm-operator.dev")
        install_keda_crd(kube)
        kubeconfig = rights.lend(kube, plane.folder / "operator.kubeconfig")
        options = offer_metrics_api(kube, rights.SYSTEM, rights.NAME)
        operator = OperatorProcess(kubeconfig, plane.folder / "logs" / "operator.log", options)
        kube.reports.append(operator.tail)
        operator.start()
        stack.callback(operator.kill)
        operator.wait_ready()
        wait_until_served(kube)
        kube.kubectl("create", "namespace", NAMESPACE)
        fleet = stack.enter_context(FakeFleet(kube, NAMESPACE, 51, START_SECONDS).running())
        ways = dict(WAYS)
        if "keda" in chosen and os.environ.get("AUTOSCALE_KEDA"):
            prometheus = stack.enter_context(keda_and_prometheus(kube, plane.folder, NAMESPACE))
            ways["keda"] = {"source": "keda", "keda": {"serverAddress": prometheus.url}}
        spikes = {name: Spikes(kube, fleet, way, name) for name, way in ways.items() if name in chosen}
        with ThreadPoolExecutor(len(ways)) as pool:
            figures |= zip(spikes, pool.map(Spikes.measure, spikes.values()), strict=True)
    if "cost" in chosen:
        figures["cost"] = asyncio.run(cost_of_replicas())
        figures["fastpath_cost"] = asyncio.run(cost_of_fast_path())
    return figures


if __name__ == "__main__":
    result = bench()
    print(json.dumps(result, indent=2))
    if path := os.environ.get("AUTOSCALE_JSON"):
        Path(path).write_text(json.dumps(result, indent=2))
