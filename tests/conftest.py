"""What holds for all suites: whoever is told to stop cleans up behind itself."""

from __future__ import annotations

import os
import signal

from hypothesis import settings

from tests.helpers.promtool import assert_firing, promtool, run_rules

__all__ = ["assert_firing", "promtool", "run_rules"]

# A busy machine is no defect: no test fails on the clock. The same commit has the same result: the suites draw the same
# examples each time, and `make test-random` draws new ones.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.register_profile("random", deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


def pytest_configure() -> None:
    """Let SIGTERM end a run as Ctrl-C does, so that fixtures take down what they brought up."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
