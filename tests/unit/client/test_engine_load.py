"""The load of engines from vLLM's metrics."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.paths import DATA
from vllm_operator.client.engine_load import MAX_SERIES, EngineLoad, parse_engine_load

RECORDED = (DATA / "vllm-0.32-metrics.txt").read_text()
QUEUE = 'vllm:num_requests_running{engine="0",model_name="m"} 3.0\nvllm:num_requests_waiting{engine="0"} 2.0\n'


def test_recorded_metrics_of_a_real_server_are_read() -> None:
    load = parse_engine_load(RECORDED.encode())

    assert load == EngineLoad(0, 0, generated_tokens=16, prompt_tokens=19, started=1795464823.48)


def test_engines_and_models_are_summed() -> None:
    metrics = QUEUE + 'vllm:num_requests_running{engine="1",model_name="m"} 4\n'

    assert parse_engine_load(metrics) == EngineLoad(7, 2)


def test_other_series_with_the_same_start_are_left_out() -> None:
    metrics = QUEUE + 'vllm:num_requests_waiting_by_reason{reason="capacity"} 50\n'

    assert parse_engine_load(metrics) == EngineLoad(3, 2)


@pytest.mark.parametrize(
    "metrics",
    [
        "",
        "<html></html>",
        "vllm:num_requests_running 3\n",
        'vllm:num_requests_running{engine="0 3\nvllm:num_requests_waiting 1\n',
        "vllm:num_requests_running x\nvllm:num_requests_waiting 1\n",
        b"\xff\xfe\x00",
    ],
)
def test_answer_that_is_no_vllms_shows_no_load(metrics: str | bytes) -> None:
    assert parse_engine_load(metrics) is None


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-Inf", "-5"])
def test_values_that_make_no_sense_are_left_out(value: str) -> None:
    load = parse_engine_load(QUEUE + f"vllm:generation_tokens_total {value}\n")

    assert load == EngineLoad(3, 2)


def test_number_of_series_is_bounded() -> None:
    metrics = QUEUE + 'vllm:num_requests_running{engine="1"} 1\n' * 10_000

    load = parse_engine_load(metrics)

    assert load is not None
    assert load.running == 3 + MAX_SERIES - 2


@pytest.mark.parametrize(
    "line", ["vllm:num_requests_running{" + "a" * 5000 + "} 1", "vllm:num_requests_running " + "9" * 5000]
)
def test_long_lines_are_left_out(line: str) -> None:
    assert parse_engine_load(QUEUE + line + "\n") == EngineLoad(3, 2)


@given(st.text(max_size=300) | st.builds(lambda text: f"vllm:num_requests_running{text}", st.text(max_size=100)))
def test_any_text_is_a_load_or_none(text: str) -> None:
    assert parse_engine_load(text) is None or isinstance(parse_engine_load(text), EngineLoad)
