"""An event loop with a clock that jumps, for the tests of the work queue."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.controller.workqueue.scene import JumpingLoop, Run


@pytest.fixture
def run() -> Iterator[Run]:
    """Run a scenario on a jumping loop."""
    loop = JumpingLoop()
    yield loop.run_until_complete
    loop.close()
