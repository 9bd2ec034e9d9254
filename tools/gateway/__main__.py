"""Run the events, print each figure, and write them where GATEWAY_JSON says.

GATEWAY_EVENTS selects events by parts of their names, separated by commas.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

from tools.drain.__main__ import namespace
from tools.drain.load import Load, Lost, Outcome
from tools.gateway.events import EVENTS, Event, status
from tools.gateway.stage import FIRST_KEY, GatewayStage
from tools.harness.real_cluster import installed_operator, real_cluster

NODES = 2
STEADY_SECONDS = 8.0
"""Seconds of load before and after an event."""
CLIENTS = 2
"""Clients of each kind: eight together. Half of them keep their connections."""
ANSWER_SECONDS = 120.0
"""Longest time until the first answer through the gateway."""
SECONDS = (1, 2, 2, 5, 5, 10, 20)
"""How long an answer should take."""


def selected(is_local: bool) -> list[Event]:
    """Return the events that GATEWAY_EVENTS names, all without it, as far as the cluster allows them."""
    parts = [part.strip() for part in os.environ.get("GATEWAY_EVENTS", "").split(",") if part.strip()]
    chosen = [event for event in EVENTS if not parts or any(part in event.name for part in parts)]
    return [event for event in chosen if is_local or not event.only_local]


def measure(stage: GatewayStage, event: Event) -> Outcome:
    """Run one event under load."""
    stage.notes = {}
    stage.serve(event.replicas)
    load = Load(stage.url(), clients=CLIENTS, seconds=SECONDS, key=FIRST_KEY)
    if event.idle:
        event.act(stage, load)
        return Outcome()
    with load:
        try:
            stage.until(lambda: load.answered() > 0, ANSWER_SECONDS)
            time.sleep(STEADY_SECONDS)
            event.act(stage, load)
            time.sleep(STEADY_SECONDS)
        except BaseException:
            print(f"{event.name} was interrupted: {load.so_far().describe()}", flush=True)
            raise
        return load.stop()


def main() -> None:
    """Run what is selected; end with 1 where a request was lost that no rule allows."""
    figures: dict[str, dict[str, object]] = {}
    failed = False
    with real_cluster(nodes=NODES) as cluster, installed_operator(cluster.kube), namespace(cluster, "drain") as name:
        stage = GatewayStage(cluster, name)
        for event in selected(cluster.is_local):
            began = time.monotonic()
            outcome = measure(stage, event)
            print(f"{event.name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
            figures[event.name] = report(event, outcome, stage)
            failed |= bool(unallowed(event, outcome, stage))
            if path := os.environ.get("GATEWAY_JSON"):
                Path(path).write_text(json.dumps(figures, indent=2))
        print(cluster.kube.kubectl("-n", name, "get", "vllmgateways", "-o", "wide").stdout, flush=True)
        print(json.dumps(status(stage), indent=1), flush=True)
    sys.exit(int(failed))


def unallowed(event: Event, outcome: Outcome, stage: GatewayStage) -> list[Lost]:
    """Return the lost requests, without those that were inside a replica that ended without a word."""
    until = stage.notes.get("second until which it took requests", 0) if event.cuts else 0
    return [lost for lost in outcome.lost if lost.second > until]


def report(event: Event, outcome: Outcome, stage: GatewayStage) -> dict[str, object]:
    """Print the figures of one event, and return them."""
    streamed = sum(lost.streamed for lost in outcome.lost)
    print(f"{event.name}: {outcome.describe()}", flush=True)
    for name, value in stage.notes.items():
        print(f"    {name}: {value:g}", flush=True)
    later = len(unallowed(event, outcome, stage))
    figures = {"lost": len(outcome.lost), "lost streams": streamed, "lost and not inside": later}
    return {**figures, "total": outcome.total, **stage.notes}


if __name__ == "__main__":
    # Also in the background of a shell, and when `timeout` ends it: the cluster is left as it was found.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    main()
