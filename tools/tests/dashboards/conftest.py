"""Fixtures that run the real promtool."""

from tests.helpers.promtool import promtool, run_rules

__all__ = ["promtool", "run_rules"]
