from __future__ import annotations

import pytest

from vllm_operator.benchmark.records import MeasuredRequest


@pytest.mark.parametrize(
    ("first", "latency", "tokens", "expected"),
    [(0.2, 1.2, 11, 0.1), (0.2, 0.2, 1, None), (None, 1.0, 5, None), (0.1, 1.0, None, None)],
)
def test_seconds_per_token_leave_the_first_out(
    first: float | None, latency: float, tokens: int | None, expected: float | None
) -> None:
    request = MeasuredRequest("a", 0.0, first, latency, output_tokens=tokens)
    assert request.seconds_per_token == (pytest.approx(expected) if expected is not None else None)
