"""The garbage collector, told what this program is like: it parses much JSON, and leaves few cycles behind."""

from __future__ import annotations

import gc

YOUNG_OBJECTS = 20_000
"""New objects after which Python looks for cycles, 700 by default. A parsed object of Kubernetes is some 300 of them,
none in a cycle, so that every other answer of the API server would be searched in vain."""
TURNS = 20
"""Searches of the young after which the older ones are searched too, and searches of those until all are."""


def spare_collector() -> None:
    """Exempt what is there from garbage collection, and search the rest less often.

    To be called when the process has started: modules, models and templates stay for as long as it lives.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, TURNS, TURNS)
