"""A pulse is read from the `/metrics` of a real vLLM 0.32 whose engine was stopped (tests/stalled_engine/record.py)."""

from __future__ import annotations

import pytest

from tests.helpers.fake_vllm import RECORDED_METRICS
from tests.helpers.paths import DATA
from vllm_operator.probing.engine_counters import EngineCounters, parsed_pulse
from vllm_operator.probing.stall_heuristics import moved
from vllm_operator.vllm.releases import load_release, release_numbers

PULSES = DATA / "pulses"


def recorded(name: str) -> EngineCounters:
    """A pulse of the real server."""
    pulse = parsed_pulse((PULSES / f"{name}.txt").read_bytes())
    assert pulse is not None
    return pulse


def test_busy_engine_moves_and_says_what_it_holds() -> None:
    assert recorded("busy").held == {"0": 8.0}
    assert moved(recorded("busy"), recorded("busy-later"))


def test_frozen_engine_keeps_every_number_and_those_of_its_requests() -> None:
    before, after = recorded("busy-frozen"), recorded("busy-frozen-later")
    assert before.engines == after.engines
    assert after.held == {"0": 8.0}


def test_engine_that_goes_on_moves() -> None:
    assert moved(recorded("busy-frozen-later"), recorded("busy-thawed"))


def test_requests_to_an_engine_that_froze_idle_show_as_connections_only() -> None:
    before, asked = recorded("idle"), recorded("idle-frozen-asked")
    assert asked.engines == before.engines
    assert asked.held == {"0": 0.0}
    assert asked.answered == before.answered
    assert before.connections is not None
    assert asked.connections == before.connections + 5


def test_requests_that_were_given_up_count_as_answered_though_no_engine_moved() -> None:
    asked, given_up = recorded("idle-frozen-asked"), recorded("idle-frozen-given-up")
    assert given_up.engines == asked.engines
    assert given_up.answered == asked.answered + 5


def test_whole_answer_of_a_server_is_read() -> None:
    pulse = parsed_pulse(RECORDED_METRICS.encode())
    assert pulse is not None
    assert set(pulse.engines) == {"0"}
    assert pulse.process is not None


def test_engines_of_one_replica_are_told_apart() -> None:
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
    assert parsed_pulse(body) == EngineCounters({"0": b"3.0 2.0 10.0", "1": b"4.0 0.0 20.0"}, {"0": 5.0, "1": 4.0})


def test_only_inference_counts_as_answered() -> None:
    lines = [
        ('handler="/v1/chat/completions",method="POST",status="2xx"', 7),
        ('handler="/v1/completions",method="POST",status="4xx"', 100),
        ('handler="/v1/completions",method="GET",status="2xx"', 100),
        ('handler="/tokenize",method="POST",status="2xx"', 100),
        ('handler="/v1/models",method="GET",status="2xx"', 100),
    ]
    body = "\nvllm:num_requests_running 0.0\n" + "".join(f"http_requests_total{{{k}}} {v}.0\n" for k, v in lines)
    pulse = parsed_pulse(body.encode())
    assert pulse is not None
    assert pulse.answered == 7


def test_engine_that_sleeps_is_not_judged() -> None:
    text = (PULSES / "idle.txt").read_text()
    asleep = text.replace('sleep_state="awake"} 1.0', 'sleep_state="awake"} 0.0')
    assert asleep != text
    assert parsed_pulse(asleep.encode()) is None


@pytest.mark.parametrize(
    "body",
    [b"", b"\n", b"<html>", b"\x00\xff" * 9, b"python_info 1.0\nprocess_open_fds 9.0\n", b"\nhttp_requests_total"],
)
def test_server_without_engine_numbers_has_no_pulse(body: bytes) -> None:
    assert parsed_pulse(body) is None


@pytest.mark.parametrize("end", [b"", b" ", b"{", b'{engine="', b'{engine="7"} x', b"{} nan\n", b" 1e999", b"}" * 99])
def test_junk_behind_a_name_is_harmless(end: bytes) -> None:
    parsed_pulse(b"\nvllm:num_requests_running" + end)


@pytest.mark.parametrize("number", release_numbers(), ids=lambda number: ".".join(map(str, number)))
def test_every_measured_release_has_numbers_that_tell_a_frozen_engine(number: tuple[int, int, int]) -> None:
    needed = {
        "vllm:num_requests_running",
        "vllm:num_requests_waiting",
        "vllm:prompt_tokens_total",
        "vllm:generation_tokens_total",
        "vllm:iteration_tokens_total",
        "http_requests_total",
    }
    assert needed - set(load_release(number).metrics) == set()
