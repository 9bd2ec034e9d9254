"""Row 3: an engine that is stalled behind an API server that answers."""

from __future__ import annotations

import contextlib

from tests.e2e.states import nodes, operator_pod
from tests.e2e.states.case import Case, Expected
from tests.e2e.states.victim import GROUP, MESSAGE, pod, serving, suspended, traffic, victim

__all__ = ["serving", "victim"]

STALLED = Expected(
    "Failed", "EngineStalled", ("Stalled", "EngineStalled"), rf"{MESSAGE}.*engine",
    conditions=("EngineHealthy=False:EngineStalled", "Available=False"),
)  # fmt: skip


def test_engine_suspended_under_traffic(victim: Case) -> None:
    found = pod(victim)
    process = nodes.engine(found)
    with suspended(process), traffic(found["status"]["podIP"]):
        victim.suffers(GROUP, "engine process SIGSTOPped under traffic", lambda: nodes.suspend(process))
        victim.shows(STALLED)
        victim.survives_a_restart_of_the_operator()
        victim.heals(lambda: nodes.resume(process))


def test_engine_suspended_while_idle(victim: Case) -> None:
    process = nodes.engine(pod(victim))
    victim.changes({"health": {"syntheticCompletion": "Always"}})
    victim.becomes_ready()
    with suspended(process):
        victim.suffers(
            GROUP, "engine process SIGSTOPped while idle (syntheticCompletion: Always)", lambda: nodes.suspend(process)
        )
        victim.shows(STALLED)
        victim.survives_a_restart_of_the_operator()
        victim.heals(lambda: nodes.resume(process))
    victim.changes({"health": {"syntheticCompletion": None}})


def test_engine_stalled_before_the_operator_started(victim: Case) -> None:
    """A client sends a request to an idle, suspended engine while the operator is away, and waits without end."""
    found = pod(victim)
    process = nodes.engine(found)
    with suspended(process), operator_pod.away(victim.kube), contextlib.ExitStack() as stack:
        nodes.suspend(process)
        stack.enter_context(traffic(found["status"]["podIP"]))
        words = "engine stalled while idle before the operator started, a client waits"
        victim.suffers(GROUP, words, lambda: operator_pod.comes_back(victim.kube))
        victim.shows(STALLED)
        victim.heals(lambda: nodes.resume(process))


def test_stalled_engine_that_the_operator_restarts(victim: Case) -> None:
    found = pod(victim)
    process = nodes.engine(found)
    with suspended(process), traffic(found["status"]["podIP"]):
        words = "engine process SIGSTOPped under traffic (then restartStalled: true)"
        victim.suffers(GROUP, words, lambda: nodes.suspend(process))
        victim.shows(STALLED)
        victim.survives_a_restart_of_the_operator()
        victim.heals(lambda: victim.changes({"health": {"restartStalled": True}}))
    assert pod(victim)["metadata"]["uid"] != found["metadata"]["uid"]
    victim.changes({"health": {"restartStalled": None}})
