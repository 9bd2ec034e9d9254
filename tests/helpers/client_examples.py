"""The examples of the client library, and what each prints."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

from tests.helpers.paths import REPOSITORY

FOLDER = REPOSITORY / "examples" / "client"
EXAMPLES = sorted(FOLDER.glob("*.py"))
PRINTED: dict[str, tuple[str, ...]] = {
    "chat.py": (r"tiny: (stop|length) after \d+ ms", r"\d+ tokens in, \d+ out"),
    "chat_async.py": (r"What is a pod\? .+ \(\d+\.\d\d s\)", r"What is a Deployment\? .+"),
    "streaming.py": (r"completion_tokens=\d+", r"first token after \d+\.\d{3} s"),
    "openai_sdk.py": (r"completion_tokens=\d+",),
    "batch.py": (r"^99 answered, 1 failed$", r"^InvalidRequest: .*max_tokens"),
    "batch_threads.py": (r"^25 outcomes in the order of the questions$", r"^25 resumed, 15 sent$"),
    "batch_file.py": (
        r"^BatchFileSummary\(total=50, answered=50, failed=0, resumed=0\)$",
        r"^BatchFileSummary\(total=50, answered=50, failed=0, resumed=50\)$",
        r"^q\d+ ",
    ),
    "charts.py": (r"Latency \(s\)", r"^latency\.svg$", r"Throughput", r"^throughput\.png$"),
    "queue_depth.py": (r"^\d+ samples, \d+ running at most$", r"^queue\.html$"),
    "ready.py": (r"^tiny serves \d+ tokens, by vLLM \d+\.\d+", r"^http://127\.0\.0\.1:\d+ healthy \('tiny',\)$"),
    "errors.py": (
        r"^too long: the model holds \d+ tokens",
        r"^wrong request, field \w+: ",
        r"^no such model; there are \['tiny'\]$",
        r"^nothing listens there",
    ),
    "resilience.py": (
        r"^attempt 1 failed with ConnectionRefused",
        r"^circuit breaker of http://127\.0\.0\.1:9: closed -> open$",
        r"^answer 7 from http://127\.0\.0\.1:\d+ after 1 attempts$",
    ),
    "metrics.py": (
        r'^vllm_client_requests_total\{model="tiny",status="success"\} 2\.0$',
        r'^vllm_client_tokens_generated_total\{model="tiny"\} \d+\.0$',
        r"^vllm_client_active_requests 0\.0$",
    ),
}
"""Patterns of lines that each example prints against a server with the model `tiny`."""


async def run_example(path: Path, url: str) -> str:
    """Run an example against a server, and return what it prints.

    Raises:
        AssertionError: it fails, or does not print what it should.
    """
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "operator")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(path),
        url,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    text = output.decode()
    assert process.returncode == 0, text + errors.decode()
    missing = [pattern for pattern in PRINTED[path.name] if not re.search(pattern, text, re.MULTILINE)]
    assert missing == [], text
    return text
