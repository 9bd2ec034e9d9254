"""The events of an autoscaler: a scale-down, waves of load, and a server that goes to sleep and is woken."""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC, datetime

from tools.drain.load import Load
from tools.drain.stage import IDLE_SECONDS, NAME, Scaling, ServerStage
from vllm_operator.api.names import GROUP, KIND

WAVES_SECONDS = float(os.environ.get("DRAIN_WAVES_SECONDS", "1800"))
"""Length of the waves."""

WAVE_SECONDS = 300.0
"""A wave: half of it under all clients, half of it under few."""

FEW_CLIENTS = 1
MOST_REPLICAS = 3
AUTOSCALER_SECONDS = 300.0
"""Longest time until the autoscaler has changed the number: it looks each 15 s, and a replica needs a minute."""

REFUSED_SECONDS = 10.0
"""Seconds of requests to a server that sleeps."""


def _server(stage: object) -> ServerStage:
    assert isinstance(stage, ServerStage), "only a server of the operator has an autoscaler"
    return stage


def scale_down_by_autoscaler(stage: object, _: Load) -> None:
    """Let the HorizontalPodAutoscaler scale to one replica, because its target is above the load."""
    server = _server(stage)
    server.autoscale(Scaling(3, MOST_REPLICAS, target=50))
    before = server.names()
    server.autoscale(Scaling(1, MOST_REPLICAS, target=50))
    server.until(lambda: len(server.names()) == 1, AUTOSCALER_SECONDS)
    server.gone(before - server.names())
    server.settle(1)


def waves(stage: object, load: Load) -> None:
    """Let the load rise and fall, and the HorizontalPodAutoscaler follow it."""
    server = _server(stage)
    server.autoscale(Scaling(1, MOST_REPLICAS, target=2))
    began = time.monotonic()
    seen: list[int] = []
    while (elapsed := time.monotonic() - began) < WAVES_SECONDS:
        load.active = None if elapsed % WAVE_SECONDS < WAVE_SECONDS / 2 else FEW_CLIENTS
        replicas = len(server.names())
        if not seen or seen[-1] != replicas:
            seen.append(replicas)
            print(f"    {elapsed:.0f} s: {replicas} replicas", file=sys.stderr, flush=True)
        time.sleep(2)
    load.active = FEW_CLIENTS
    server.until(lambda: len(server.names()) == 1, 2 * AUTOSCALER_SECONDS)
    server.settle(1)
    assert max(seen) > 1, "the autoscaler never added a replica"
    print(f"    replicas: {' -> '.join(map(str, seen))}", flush=True)


def zero_and_back(stage: object, load: Load) -> None:
    """Let an idle server go to sleep, refuse requests, be woken, serve, and go to sleep again."""
    server = _server(stage)
    server.autoscale(Scaling(0, MOST_REPLICAS, target=50))
    _sleep(server, load)
    load.expect_refusals = True
    load.active = None
    time.sleep(REFUSED_SECONDS)
    wake = {"metadata": {"annotations": {f"{GROUP}/wake": datetime.now(UTC).isoformat(timespec="seconds")}}}
    server.kube.patch(KIND, NAME, server.namespace, wake)
    answered = load.answered()
    server.until(lambda: load.answered() >= answered + 4, AUTOSCALER_SECONDS)
    load.expect_refusals = False
    time.sleep(REFUSED_SECONDS)
    _sleep(server, load)
    server.autoscale(Scaling(1, MOST_REPLICAS, target=50))
    server.settle(1)


def _sleep(server: ServerStage, load: Load) -> None:
    load.active = 0
    server.until(lambda: not server.names(stopping=True), AUTOSCALER_SECONDS + IDLE_SECONDS)
