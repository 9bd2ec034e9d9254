"""Samples of latencies become a spread a row."""

from __future__ import annotations

from tools.bench.latency import spreads


def test_samples_become_a_spread_a_row() -> None:
    samples = [{"back": 0.010, "reverted": 0.020}, {"back": 0.030, "reverted": 0.020}, {"back": 0.011, "reverted": 0.5}]
    assert spreads(samples) == {"back": {"p50": 11, "max": 30}, "reverted": {"p50": 20, "max": 500}}
