"""What holds for all suites: whoever is told to stop cleans up behind itself."""

from __future__ import annotations

import signal

from hypothesis import settings

from tests.helpers.promtool import assert_firing, promtool, run_rules

__all__ = ["assert_firing", "promtool", "run_rules"]

# A busy machine is no defect: no test fails on the clock.
settings.register_profile("whatever the machine does", deadline=None)
settings.load_profile("whatever the machine does")


def pytest_configure() -> None:
    """Let SIGTERM end a run as Ctrl-C does, so that fixtures take down what they brought up."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
