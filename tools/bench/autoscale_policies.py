"""Simulate a step of load under several scaling policies: `python -m tools.bench.autoscale_policies`.

Either clients have one request in flight each (closed), or requests arrive at a constant rate and queue up until enough
replicas serve (open). A replica that loads takes none, and counts as the HorizontalPodAutoscaler counts one without
metrics. The autoscaler syncs every 15 s.
"""

from __future__ import annotations

import json
import math
from typing import Any

from vllm_operator.controller.replica_calculator import ScalingHistory, replicas_for
from vllm_operator.desired.autoscaler import DEFAULT_BEHAVIOR, KUBERNETES_DEFAULT_BEHAVIOR

SYNC_SECONDS = 15
SECONDS = 3600
TARGET = 50
CLIENTS = (140, 390, 790)
STARTS = (40, 200, 600)
REQUEST_SECONDS = 30
MAX_REPLICAS = 100

FORMER_BEHAVIOR: dict[str, Any] = {
    "scaleUp": {
        "stabilizationWindowSeconds": 0,
        "selectPolicy": "Max",
        "policies": [{"type": "Pods", "value": 2, "periodSeconds": 180}],
    },
    "scaleDown": DEFAULT_BEHAVIOR["scaleDown"],
}
"""Former policy of the operator: two replicas in three minutes."""

BEHAVIORS = {"former": FORMER_BEHAVIOR, "kubernetes": KUBERNETES_DEFAULT_BEHAVIOR, "now": DEFAULT_BEHAVIOR}


def simulate(behavior: dict[str, Any], clients: int, start_seconds: int, *, is_open: bool) -> dict[str, int]:
    """Return seconds until enough replicas are wanted and serve, and by how many the most exceed what is needed.

    Args:
        behavior: the behavior of the autoscaler.
        clients: requests in flight; in the open kind, those of a fleet that is large enough.
        start_seconds: seconds until a new replica serves.
        is_open: requests go on arriving while others wait.
    """
    in_flight = float(clients)
    ready_at, most, history = [0], 1, ScalingHistory()
    right = math.ceil(clients / TARGET)
    wanted_after = served_after = -1
    for now in range(0, SECONDS, SYNC_SECONDS):
        serving = sum(at <= now for at in ready_at)
        current = len(ready_at)
        wanted = replicas_for([in_flight / serving] * serving, current - serving, TARGET)
        allowed = min(history.limit(current, wanted, behavior, now), MAX_REPLICAS)
        history.record(allowed - current, now)
        ready_at += [now + start_seconds] * (allowed - current)
        del ready_at[allowed:]
        most = max(most, len(ready_at))
        if is_open:
            finished = min(in_flight, serving * TARGET) * SYNC_SECONDS / REQUEST_SECONDS
            in_flight = max(in_flight + clients * SYNC_SECONDS / REQUEST_SECONDS - finished, 0.0)
        if wanted_after < 0 and len(ready_at) >= right:
            wanted_after = now
        if served_after < 0 and serving >= right:
            served_after = now
    return {"wanted_after": wanted_after, "served_after": served_after, "overshoot": max(most - right, 0)}


def compare() -> list[dict[str, Any]]:
    """Return a row for each policy, load and start."""
    return [
        {"policy": name, "replicas": math.ceil(clients / TARGET), "start": start, "open": is_open}
        | simulate(behavior, clients, start, is_open=is_open)
        for is_open in (False, True)
        for clients in CLIENTS
        for start in STARTS
        for name, behavior in BEHAVIORS.items()
    ]


if __name__ == "__main__":
    for row in compare():
        print(json.dumps(row))
