"""Run the events, print each figure, and write them where DRAIN_JSON says.

DRAIN_EVENTS selects events by parts of their names, separated by commas. DRAIN_PLAIN=no leaves out the comparison with
a Deployment without the operator, DRAIN_PLAIN=only runs nothing else. DRAIN_WAVES_SECONDS is the length of the waves.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.drain.events import EVENTS, AnyStage, Event, busy_pod
from tools.drain.load import Load, Outcome
from tools.drain.stage import PlainStage, ServerStage
from tools.harness.real_cluster import RealCluster, installed_operator, real_cluster

NODES = 2
STEADY_SECONDS = 10.0
"""Seconds of load before and after an event."""

CLIENTS = 2
"""Clients of each kind: eight together. Half of them keep their connections."""

ANSWER_SECONDS = 120.0
"""Longest time until the first answer through the Service."""

PLAIN = "plain Deployment: "


def selected() -> list[Event]:
    """Return the events that DRAIN_EVENTS names; all without it."""
    parts = [part.strip() for part in os.environ.get("DRAIN_EVENTS", "").split(",") if part.strip()]
    return [event for event in EVENTS if not parts or any(part in event.name for part in parts)]


def measure(stage: AnyStage, event: Event) -> Outcome:
    """Run one event under load."""
    stage.serve(event.replicas, surge=event.surge)
    url = f"http://{busy_pod(stage)['status']['podIP']}:8000" if event.at_one_pod else stage.url()
    with Load(url, clients=CLIENTS) as load:
        try:
            stage.until(lambda: load.answered() > 0, ANSWER_SECONDS)
            time.sleep(STEADY_SECONDS)
            event.act(stage, load)
            time.sleep(STEADY_SECONDS)
        except BaseException:
            print(f"{event.name} was interrupted: {load.so_far().describe()}", flush=True)
            raise
        return load.stop()


@contextmanager
def namespace(cluster: RealCluster, prefix: str) -> Iterator[str]:
    """Yield a namespace; its workloads are gone at the end, so that the next ones have the memory."""
    with cluster.kube.namespace(prefix) as name:
        try:
            yield name
        finally:
            kinds = "vllmservers,deployments" if prefix == "drain" else "deployments"
            cluster.kube.kubectl("-n", name, "delete", kinds, "--all", "--timeout=200s", check=False, timeout=220)
            cluster.kube.kubectl(
                "-n", name, "delete", "pods", "--all", "--force", "--grace-period=0", check=False, timeout=60
            )


def main() -> None:
    """Run what is selected."""
    events, plain = selected(), os.environ.get("DRAIN_PLAIN", "yes")
    figures: dict[str, dict[str, int]] = {"lost": {}, "total": {}}
    with real_cluster(nodes=NODES) as cluster:
        if plain != "only":
            with installed_operator(cluster.kube), namespace(cluster, "drain") as name:
                stage = ServerStage(cluster, name)
                for event in events:
                    record(figures, event.name, measure_in_time(stage, event))
        if plain != "no":
            with namespace(cluster, "plain") as name:
                plain_stage = PlainStage(cluster, name)
                for event in (one for one in events if one.plain):
                    record(figures, PLAIN + event.name, measure_in_time(plain_stage, event))


def measure_in_time(stage: AnyStage, event: Event) -> Outcome:
    """Run one event, and print how long it took."""
    began = time.monotonic()
    outcome = measure(stage, event)
    print(f"{event.name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return outcome


def record(figures: dict[str, dict[str, int]], name: str, outcome: Outcome) -> None:
    """Print the figures of one event, and write all so far."""
    figures["lost"][name], figures["total"][name] = len(outcome.lost), outcome.total
    if outcome.refused:
        figures.setdefault("refused", {})[name] = outcome.refused
    print(f"{name}: {outcome.describe()}", flush=True)
    if path := os.environ.get("DRAIN_JSON"):
        Path(path).write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    # Also in the background of a shell, and when `timeout` ends it: the cluster is left as it was found.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    main()
