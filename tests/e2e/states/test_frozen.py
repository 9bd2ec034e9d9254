"""Row 3: an engine that is frozen behind an API server that answers."""

from __future__ import annotations

import contextlib

from tests.e2e.states import nodes, operator_pod
from tests.e2e.states.case import Case, Expected
from tests.e2e.states.victim import GROUP, MESSAGE, frozen, pod, serving, traffic, victim

__all__ = ["serving", "victim"]

STALLED = Expected(
    "Failed", "EngineStalled", ("Stalled", "EngineStalled"), rf"{MESSAGE}.*engine",
    conditions=("EngineHealthy=False:EngineStalled", "Available=False"),
)  # fmt: skip


def test_engine_that_is_frozen_under_traffic(victim: Case) -> None:
    found = pod(victim)
    process = nodes.engine(found)
    with frozen(process), traffic(found["status"]["podIP"]):
        victim.suffers(GROUP, "engine process SIGSTOPped under traffic", lambda: nodes.freeze(process))
        victim.shows(STALLED)
        victim.survives_a_restart_of_the_operator()
        victim.heals(lambda: nodes.thaw(process))


def test_engine_that_is_frozen_while_nobody_asks(victim: Case) -> None:
    process = nodes.engine(pod(victim))
    victim.changes({"health": {"syntheticCompletion": "Always"}})
    victim.becomes_ready()
    with frozen(process):
        victim.suffers(
            GROUP, "engine process SIGSTOPped while idle (syntheticCompletion: Always)", lambda: nodes.freeze(process)
        )
        victim.shows(STALLED)
        victim.survives_a_restart_of_the_operator()
        victim.heals(lambda: nodes.thaw(process))
    victim.changes({"health": {"syntheticCompletion": None}})


def test_engine_that_froze_before_the_operator_first_saw_it(victim: Case) -> None:
    """While the operator is away, a client asks an idle engine that is frozen, and waits for ever."""
    found = pod(victim)
    process = nodes.engine(found)
    with frozen(process), operator_pod.away(victim.kube), contextlib.ExitStack() as stack:
        nodes.freeze(process)
        stack.enter_context(traffic(found["status"]["podIP"]))
        words = "engine froze idle before the operator began, a client waits"
        victim.suffers(GROUP, words, lambda: operator_pod.comes_back(victim.kube))
        victim.shows(STALLED)
        victim.heals(lambda: nodes.thaw(process))


def test_frozen_engine_that_the_operator_restarts(victim: Case) -> None:
    found = pod(victim)
    process = nodes.engine(found)
    with frozen(process), traffic(found["status"]["podIP"]):
        words = "engine process SIGSTOPped under traffic (then restartStalled: true)"
        victim.suffers(GROUP, words, lambda: nodes.freeze(process))
        victim.shows(STALLED)
        victim.survives_a_restart_of_the_operator()
        victim.heals(lambda: victim.changes({"health": {"restartStalled": True}}))
    assert pod(victim)["metadata"]["uid"] != found["metadata"]["uid"]
    victim.changes({"health": {"restartStalled": None}})
