"""Many servers changed at once, while Kubernetes' own controllers work in short slices: few statuses are written."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.integration.servers import Servers
from tools.harness.audit import AuditLog
from tools.harness.control_plane import Plane
from tools.localcluster.processes import Processes
from vllm_operator.status.settling import SETTLE_SECONDS

NAMES = [f"many-{number}" for number in range(6)]
SLICES = 5
SLICE_SECONDS = 0.04
"""Enough for one of the steps of a rollout: each needs an event that the step before caused."""


@pytest.fixture
def controllers(plane: Plane) -> Iterator[int]:
    """Process id of the controller manager, which goes on afterwards."""
    record = Processes(plane.folder).record("kube-controller-manager")
    assert record is not None
    assert record.alive()
    yield record.pid
    os.kill(record.pid, signal.SIGCONT)


def test_change_is_reported_once_or_twice_with_slow_controllers(
    servers: Servers, audit: AuditLog, controllers: int
) -> None:
    for name in NAMES:
        servers.create(name, settled=False)
    for name in NAMES:
        servers.settled(name)
    mark = audit.mark()
    os.kill(controllers, signal.SIGSTOP)
    for name in NAMES:
        servers.patch(name, {"image": "vllm/vllm-openai:v0.31.0"}, settled=False)
    for _ in range(SLICES):
        time.sleep(SETTLE_SECONDS + 1)
        os.kill(controllers, signal.SIGCONT)
        time.sleep(SLICE_SECONDS)
        os.kill(controllers, signal.SIGSTOP)
    os.kill(controllers, signal.SIGCONT)
    for name in NAMES:
        servers.settled(name, within=60)
    time.sleep(SETTLE_SECONDS + 1)
    written = Counter(write.name for write in audit.writes(mark, namespace=servers.namespace) if write.subresource)
    assert set(written) == set(NAMES)
    assert max(written.values()) <= 2, written
