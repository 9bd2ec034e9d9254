"""Samples are divided by their innermost frame."""

from __future__ import annotations

from tools.bench.breakdown import shares


def test_sample_belongs_to_its_innermost_frame() -> None:
    samples = "run (vllm_operator/__main__.py:1);loads (json/__init__.py:3) 3\nworker (kopf/_core/queueing.py:1) 1\n"
    assert shares(samples) == {"JSON and compression": 75.0, "kopf": 25.0}


def test_no_samples_have_no_shares() -> None:
    assert shares("") == {}
