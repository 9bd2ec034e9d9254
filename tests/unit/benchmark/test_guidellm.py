from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vllm_operator.benchmark import guidellm
from vllm_operator.benchmark.generator import Workload
from vllm_operator.benchmark.shapes import ShapeError, Stage

STAGE = Stage("concurrent", 2)
WORKLOAD = Workload((STAGE, Stage("poisson", 0.5)), 20, 6, 10)


def request(**fields: Any) -> dict[str, Any]:
    """One request as GuideLLM 0.8.1 writes it, without the fields that are not read."""
    return {
        "type_": "generative_request_stats",
        "request_start_time": 1795992650.4426813,
        "request_latency": 0.3728928565979004,
        "prompt_tokens": 11,
        "output_tokens": 10,
        "time_to_first_token_ms": 275.2695083618164,
        **fields,
    }


def report(**groups: Any) -> dict[str, Any]:
    return {"metadata": {"version": 2}, "benchmarks": [{"requests": {"successful": [], **groups}}]}


def test_commands_name_load_length_and_tokens() -> None:
    command = guidellm.stage_command("guidellm", "http://x", "tok", STAGE, WORKLOAD, 64)
    assert command[:2] == ["guidellm", "run"]
    assert "kind=concurrent,streams=2" in command
    assert "kind=max_duration,seconds=20" in command
    assert "kind=max_requests,count=6" in command
    assert "kind=static,value=0" in command
    assert "kind=synthetic_text,prompt_tokens=64,output_tokens=10" in command
    rate = guidellm.stage_command("guidellm", "http://x", "tok", WORKLOAD.stages[1], WORKLOAD, 64)
    assert "kind=poisson,rate=0.5" in rate


def test_conversations_need_the_built_in_generator() -> None:
    with pytest.raises(ShapeError, match="leave --generator guidellm out"):
        guidellm.stage_command("guidellm", "http://x", "tok", Stage("turns", 2), WORKLOAD, 64)


def test_requests_of_its_report(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    errored = [request(time_to_first_token_ms=None, output_tokens=None)]
    path.write_text(json.dumps(report(successful=[request()], errored=errored, incomplete=None)))
    answered, failed = guidellm.read_report(path, STAGE)
    assert answered.first_token == pytest.approx(0.2752695)
    assert answered.latency == pytest.approx(0.3728929)
    assert (answered.prompt_tokens, answered.output_tokens, answered.error) == (11, 10, "")
    assert failed.error == "GuideLLM: the request failed"


@pytest.mark.parametrize(
    "text", ["", "{}", "[1]", '{"benchmarks": [{"requests": {"successful": [{"request_start_time": "x"}]}}]}']
)
def test_another_format_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "report.json"
    path.write_text(text)
    with pytest.raises(guidellm.GuideLLMError, match="cannot be read"):
        guidellm.read_report(path, STAGE)


def program(folder: Path, script: str) -> str:
    path = folder / "guidellm"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_a_run_has_the_requests_of_all_stages_from_second_zero(tmp_path: Path) -> None:
    text = json.dumps(report(successful=[request(), request(request_start_time=1795992651.4426813)]))
    script = f"for last; do :; done\ncat > \"${{last#kind=json,path=}}\" <<'E'\n{text}\nE"
    requests = guidellm.run(program(tmp_path, script), "http://x", "tok", WORKLOAD, 8)
    assert [(one.stage, round(one.started, 3)) for one in requests] == [
        ("concurrent=2", 0.0),
        ("concurrent=2", 1.0),
        ("poisson=0.5", 0.0),
        ("poisson=0.5", 1.0),
    ]


def test_a_failed_run_has_its_last_lines(tmp_path: Path) -> None:
    with pytest.raises(guidellm.GuideLLMError, match="ended with 3: no tokenizer"):
        guidellm.run(program(tmp_path, "echo no tokenizer >&2; exit 3"), "http://x", "tok", WORKLOAD, 8)


def test_a_missing_program_is_named() -> None:
    with pytest.raises(guidellm.GuideLLMError, match="could not be started"):
        guidellm.run("/no/such/guidellm", "http://x", "tok", WORKLOAD, 8)
