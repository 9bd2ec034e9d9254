"""Load from GuideLLM (0.8), when it is installed: run its command for each stage, and read its JSON."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vllm_operator.benchmark.generator import Workload
from vllm_operator.benchmark.records import MeasuredRequest
from vllm_operator.benchmark.shapes import ShapeError, Stage

PROGRAM = "guidellm"
LARGEST_OUTPUT = 512 * 1024 * 1024
"""Bytes of its JSON that are read; a request takes about 5 KiB."""

START_SECONDS = 300
"""Seconds in addition to the load itself: it starts processes and loads a tokenizer."""

OUTCOMES = {
    "successful": "",
    "errored": "GuideLLM: the request failed",
    "incomplete": "GuideLLM: the stage ended first",
}


class GuideLLMError(Exception):
    """GuideLLM is missing, or did not end well."""


def installed() -> str | None:
    """Return the path of GuideLLM; None where it is not installed."""
    return shutil.which(PROGRAM)


def stage_command(program: str, url: str, tokenizer: str, stage: Stage, workload: Workload, words: int) -> list[str]:
    """Return the command of one stage, without its output.

    Raises:
        ShapeError: GuideLLM has no such load here.
    """
    if stage.kind == "turns":
        raise ShapeError("turns is a load of the built-in generator: leave --generator guidellm out")
    rate = "streams" if stage.kind == "concurrent" else "rate"
    constraints = [f"kind=max_duration,seconds={workload.seconds:g}"]
    if workload.most_requests:
        constraints.append(f"kind=max_requests,count={workload.most_requests}")
    return [
        program,
        "run",
        *("--backend", f"kind=openai_http,target={url}"),
        *("--profile", f"kind={stage.kind},{rate}={stage.level:g}"),
        *(part for constraint in constraints for part in ("--constraint", constraint)),
        *("--data", f"kind=synthetic_text,prompt_tokens={words},output_tokens={workload.output_tokens}"),
        *("--tokenizer", f"kind=huggingface_auto,model={tokenizer}"),
        *("--seed", f"kind=static,value={workload.seed}"),
        "--disable-console",
    ]


def run(program: str, url: str, tokenizer: str, workload: Workload, words: int) -> list[MeasuredRequest]:
    """Run all stages; return their requests, with seconds since the first.

    Raises:
        GuideLLMError: it fails; the message has its last lines.
        ShapeError: a stage that it does not have.
    """
    requests: list[MeasuredRequest] = []
    for stage in workload.stages:
        command = stage_command(program, url, tokenizer, stage, workload, words)
        with tempfile.TemporaryDirectory(prefix="vllm-bench-") as folder:
            path = Path(folder) / "report.json"
            _run([*command, "--output", f"kind=json,path={path}"], workload.seconds + START_SECONDS)
            requests += read_report(path, stage)
    first = min((request.started for request in requests), default=0.0)
    return [_moved(request, first) for request in requests]


def _run(command: Sequence[str], seconds: float) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, errors="replace")
    except subprocess.TimeoutExpired:
        raise GuideLLMError(f"GuideLLM did not end within {seconds:.0f} s") from None
    except OSError as error:
        raise GuideLLMError(f"GuideLLM could not be started: {error.strerror}") from error
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines()[-5:]
        raise GuideLLMError(f"GuideLLM ended with {done.returncode}: {' '.join(' '.join(lines).split())[:600]}")


def read_report(path: Path, stage: Stage) -> list[MeasuredRequest]:
    """Return the requests in a JSON report of GuideLLM 0.8; `started` is in seconds since 1970.

    Raises:
        GuideLLMError: the file is missing, too large or has another form.
    """
    try:
        if path.stat().st_size > LARGEST_OUTPUT:
            raise GuideLLMError(f"the report of GuideLLM has more than {LARGEST_OUTPUT} bytes: measure for less time")
        body = json.loads(path.read_text(errors="replace"))
        return [request for one in body["benchmarks"] for request in _requests(one["requests"], stage)]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise GuideLLMError(f"the report of GuideLLM cannot be read ({error}); this reads the format of 0.8") from error


def _requests(groups: Mapping[str, Any], stage: Stage) -> Iterator[MeasuredRequest]:
    for outcome, error in OUTCOMES.items():
        for item in groups.get(outcome) or ():
            if item.get("request_start_time") is None:
                continue
            first = item.get("time_to_first_token_ms")
            yield MeasuredRequest(
                stage=stage.name,
                started=float(item["request_start_time"]),
                first_token=float(first) / 1000 if first is not None and not error else None,
                latency=float(item.get("request_latency") or 0.0),
                prompt_tokens=item.get("prompt_tokens"),
                output_tokens=item.get("output_tokens"),
                error=error,
            )


def _moved(request: MeasuredRequest, first: float) -> MeasuredRequest:
    return MeasuredRequest(
        request.stage,
        request.started - first,
        request.first_token,
        request.latency,
        request.prompt_tokens,
        request.output_tokens,
        request.turn,
        request.error,
    )
