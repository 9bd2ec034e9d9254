"""A report whose figures are easy to compute."""

from __future__ import annotations

from vllm_operator.benchmark.records import MeasuredRequest, Sample
from vllm_operator.benchmark.report import Report

ABOUT = {"server": "llm/mistral", "model": "tiny", "version": "0.32.0", "generator": "built-in"}


def report(factor: float = 1.0, **about: object) -> Report:
    """Return a report; `factor` stretches all times."""
    requests = [
        MeasuredRequest(f"concurrent={level}", index * factor, 0.1 * factor, 1.0 * factor, 8, 11)
        for level in (1, 4)
        for index in range(4)
    ]
    requests.append(MeasuredRequest("concurrent=4", 0.0, None, 0.5, error="ServerOverloaded: <full>"))
    samples = [
        Sample(float(second), second, 1.0, 1 + second // 5, 2, 4.0, 8.0, {"Serving": 1, "Loading": second // 5})
        for second in range(10)
    ]
    return Report({**ABOUT, **about}, requests, samples, ("a note",))
