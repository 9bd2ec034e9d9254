from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vllm_operator.benchmark.figures import all_figures, distribution, percentile, stage_figures, turn_notes
from vllm_operator.benchmark.records import MeasuredRequest


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50))
def test_percentiles_lie_between_the_values_and_grow(values: list[float]) -> None:
    ordered = sorted(values)
    found = [percentile(ordered, percent) for percent in (0, 50, 90, 99, 100)]
    assert found[0] == ordered[0]
    assert found[-1] == ordered[-1]
    assert all(after >= before - 1e-9 for before, after in itertools.pairwise(found))


def test_percentiles_are_interpolated() -> None:
    assert percentile([1.0, 2.0, 3.0, 4.0], 50) == 2.5
    assert percentile([1.0], 99) == 1.0


def test_nothing_has_no_distribution() -> None:
    assert distribution([]) is None


def test_figures_of_a_stage() -> None:
    requests = [
        MeasuredRequest("a", 0.0, 0.5, 2.0, 10, 16),
        MeasuredRequest("a", 1.0, 0.7, 3.0, 10, 16),
        MeasuredRequest("a", 2.0, None, 2.0, error="ServerOverloaded: full"),
    ]
    figures = stage_figures("a", requests)
    assert (figures.requests, figures.failed, figures.seconds) == (3, 1, 4.0)
    assert figures.requests_per_second == 0.5
    assert figures.output_tokens_per_second == 8.0
    # The sum of all latencies, over the time: 7 s of requests in 4 s.
    assert figures.in_flight == pytest.approx(1.75)
    assert figures.latency
    assert figures.latency.percentiles["p50"] == 2.5
    assert figures.errors == {"ServerOverloaded: full": 1}


def test_uncounted_tokens_are_unknown_and_not_zero() -> None:
    assert stage_figures("a", [MeasuredRequest("a", 0.0, 0.1, 1.0)]).output_tokens_per_second is None


def test_a_stage_without_answers_has_no_times() -> None:
    figures = stage_figures("a", [MeasuredRequest("a", 0.0, None, 1.0, error="x")])
    assert (figures.latency, figures.first_token, figures.per_token) == (None, None, None)


def test_stages_keep_their_order() -> None:
    requests = [MeasuredRequest("b", 0, 0.1, 1), MeasuredRequest("a", 2, 0.1, 1), MeasuredRequest("b", 3, 0.1, 1)]
    assert [(one.stage, one.requests) for one in all_figures(requests)] == [("b", 2), ("a", 1)]


def test_conversations_show_what_the_prefix_cache_saves() -> None:
    turns = [MeasuredRequest("turns=1", 0.0, 0.5 / turn, 1.0, 8, 8, turn) for turn in (1, 2)]
    assert turn_notes([*turns, MeasuredRequest("concurrent=1", 0.0, 0.1, 1.0)]) == [
        "turns=1: the time to the first token (p50) is 0.500 s in first turns, 0.250 s in later ones"
    ]
    assert turn_notes(turns[:1]) == []
