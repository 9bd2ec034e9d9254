"""Counters of a real vLLM 0.32, recorded while its engine process was suspended (`tests/stalled_engine/record.py`)."""

from __future__ import annotations

import pytest

from tests.helpers.fake_vllm import RECORDED_METRICS
from tests.helpers.paths import DATA
from vllm_operator.probing.engine_counters import MAX_ENGINES, EngineCounters, parse_engine_counters
from vllm_operator.probing.stall_heuristics import has_progressed
from vllm_operator.vllm.releases import load_release, release_numbers

RECORDED = DATA / "engine_counters"


def recorded(name: str) -> EngineCounters:
    """Return counters that were recorded of the real server."""
    counters = parse_engine_counters((RECORDED / f"{name}.txt").read_bytes())
    assert counters is not None
    return counters


def test_busy_engine_makes_progress_and_reports_its_requests() -> None:
    assert recorded("busy").requests == {"0": 8.0}
    assert has_progressed(recorded("busy"), recorded("busy-later"))


def test_suspended_engine_keeps_every_counter_and_its_requests() -> None:
    before, after = recorded("busy-suspended"), recorded("busy-suspended-later")
    assert before.progress == after.progress
    assert after.requests == {"0": 8.0}


def test_resumed_engine_makes_progress() -> None:
    assert has_progressed(recorded("busy-suspended-later"), recorded("busy-resumed"))


def test_requests_to_an_engine_suspended_while_idle_show_as_connections_only() -> None:
    before, requested = recorded("idle"), recorded("idle-suspended-requested")
    assert requested.progress == before.progress
    assert requested.requests == {"0": 0.0}
    assert requested.finished == before.finished
    assert before.connections is not None
    assert requested.connections == before.connections + 5


def test_requests_given_up_by_clients_count_as_finished_without_progress() -> None:
    requested, given_up = recorded("idle-suspended-requested"), recorded("idle-suspended-given-up")
    assert given_up.progress == requested.progress
    assert given_up.finished == requested.finished + 5


def test_whole_metrics_body_is_parsed() -> None:
    counters = parse_engine_counters(RECORDED_METRICS.encode())
    assert counters is not None
    assert set(counters.progress) == {"0"}
    assert counters.process_start is not None


def test_engines_of_one_replica_are_separate() -> None:
    body = (
        b"\nvllm:num_requests_running{engine=\"0\",model_name=\"m\"} 3.0"
        b"\nvllm:num_requests_running{engine=\"1\",model_name=\"m\"} 4.0"
        b"\n# HELP vllm:num_requests_waiting x"
        b"\nvllm:num_requests_waiting{engine=\"0\",model_name=\"m\"} 2.0"
        b"\nvllm:num_requests_waiting{engine=\"1\",model_name=\"m\"} 0.0"
        b"\nvllm:num_requests_waiting_by_reason{engine=\"0\",reason=\"capacity\"} 9.0"
        b"\nvllm:generation_tokens_total{engine=\"0\",model_name=\"m\"} 10.0"
        b"\nvllm:generation_tokens_total{engine=\"1\",model_name=\"m\"} 20.0\n"
    )  # fmt: skip
    assert parse_engine_counters(body) == EngineCounters(
        {"0": b"3.0 2.0 10.0", "1": b"4.0 0.0 20.0"}, {"0": 5.0, "1": 4.0}
    )


def test_only_inference_counts_as_finished() -> None:
    lines = [
        ('handler="/v1/chat/completions",method="POST",status="2xx"', 7),
        ('handler="/score",method="POST",status="2xx"', 2),
        ('handler="/v1/rerank",method="POST",status="2xx"', 1),
        ('handler="/classify",method="POST",status="2xx"', 1),
        ('handler="/v1/audio/transcriptions",method="POST",status="2xx"', 1),
        ('handler="/v1/completions",method="POST",status="4xx"', 100),
        ('handler="/v1/completions",method="GET",status="2xx"', 100),
        ('handler="/tokenize",method="POST",status="2xx"', 100),
        ('handler="/v1/models",method="GET",status="2xx"', 100),
    ]
    body = "\nvllm:num_requests_running 0.0\n" + "".join(f"http_requests_total{{{k}}} {v}.0\n" for k, v in lines)
    counters = parse_engine_counters(body.encode())
    assert counters is not None
    assert counters.finished == 12


def test_sleeping_engine_has_no_counters() -> None:
    text = (RECORDED / "idle.txt").read_text()
    asleep = text.replace('sleep_state="awake"} 1.0', 'sleep_state="awake"} 0.0')
    assert asleep != text
    assert parse_engine_counters(asleep.encode()) is None


@pytest.mark.parametrize(
    "body",
    [b"", b"\n", b"<html>", b"\x00\xff" * 9, b"python_info 1.0\nprocess_open_fds 9.0\n", b"\nhttp_requests_total"],
)
def test_body_without_engine_counters_is_none(body: bytes) -> None:
    assert parse_engine_counters(body) is None


@pytest.mark.parametrize("end", [b"", b" ", b"{", b'{engine="', b'{engine="7"} x', b"{} nan\n", b" 1e999", b"}" * 99])
def test_junk_after_a_name_is_harmless(end: bytes) -> None:
    parse_engine_counters(b"\nvllm:num_requests_running" + end)


@pytest.mark.parametrize("number", release_numbers(), ids=lambda number: ".".join(map(str, number)))
def test_every_measured_release_exports_the_counters(number: tuple[int, int, int]) -> None:
    needed = {
        "vllm:num_requests_running",
        "vllm:num_requests_waiting",
        "vllm:prompt_tokens_total",
        "vllm:generation_tokens_total",
        "vllm:iteration_tokens_total",
        "http_requests_total",
    }
    assert needed - set(load_release(number).metrics) == set()


def test_long_values_and_thousands_of_engines_are_kept_in_few_bytes() -> None:
    series = "".join(
        f'{family}{{engine="{engine}"}} {"1" * 600}\n'
        for family in ("vllm:num_requests_running", "vllm:prompt_tokens_total", "vllm:generation_tokens_total")
        for engine in range(500)
    )
    counters = parse_engine_counters(series.encode())
    assert counters is not None
    assert len(counters.progress) == MAX_ENGINES
    assert sum(map(len, counters.progress.values())) <= MAX_ENGINES * 512


def test_many_series_of_one_engine_are_kept_as_a_hash_that_changes() -> None:
    def body(last: int) -> bytes:
        series = "".join(f'vllm:prompt_tokens_total{{engine="0",x="{index}"}} 1000000.0\n' for index in range(200))
        return f'{series}vllm:prompt_tokens_total{{engine="0",x="z"}} {last}\n'.encode()

    before, same, after = (parse_engine_counters(body(last)) for last in (1, 1, 2))
    assert before is not None
    assert after is not None
    assert before == same
    assert has_progressed(before, after)
    assert len(before.progress["0"]) == 16
