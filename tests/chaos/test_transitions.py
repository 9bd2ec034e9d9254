"""500 random transitions over the whole schema, each followed by its reverse: TRANSITIONS, TRANSITION_SEED."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest

from tests.integration.transitions import Run
from tools.harness.control_plane import Plane
from tools.harness.kube import Kube
from tools.harness.operator_process import OperatorProcess

TRANSITIONS = int(os.environ.get("TRANSITIONS", "500"))
SEED = int(os.environ.get("TRANSITION_SEED", "0")) or random.randrange(1, 1_000_000)
"""Return a new seed for every run, or the given one: it is printed, and repeats the same transitions."""

PLAYERS = 40


@pytest.fixture
def namespace(kube: Kube, plane: Plane) -> Iterator[str]:
    """Create a namespace with its own operator."""
    with kube.namespace("transitions") as name:
        process = OperatorProcess(plane.kubeconfig, plane.folder / "logs" / f"{name}.log", ["--namespace", name])
        process.start()
        try:
            process.wait_ready()
            yield name
            assert process.alive(), process.tail()
        finally:
            process.stop()


async def test_every_change_is_applied_or_refused_and_its_reverse_leaves_no_trace(
    kube: Kube, plane: Plane, namespace: str
) -> None:
    await Run(kube.kubeconfig, plane.audit, namespace, TRANSITIONS, SEED, PLAYERS).check()
