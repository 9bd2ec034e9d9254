"""Causes in vLLM's arguments."""

from __future__ import annotations

import pytest

from vllm_operator.diagnosis.causes import diagnose_log


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--max-model-length 4096", "this vLLM has no --max-model-length: did you mean --max-model-len?"),
        ("--no-such-thing=hunter2 --zzz", "this vLLM has no --no-such-thing, --zzz: correct or remove it"),
        (
            "--shutdown-timeout 120",
            "this vLLM has no --shutdown-timeout: the operator passes it to the vLLM that the spec",
        ),
        ("--reasoning-parser qwen3", "this vLLM has no --reasoning-parser: remove spec.engine.reasoningParser, or use"),
        ("--performance-mode=hunter2", "this vLLM has no --performance-mode: use a newer image, or remove it"),
        ("hunter2", "vLLM received a value that belongs to no flag: correct engine.extraArgs"),
    ],
)
def test_unknown_flags_are_named_without_their_values(arguments: str, message: str) -> None:
    found = diagnose_log(f"api_server.py: error: unrecognized arguments: {arguments}")

    assert found
    assert found.reason == "UnknownFlag"
    assert found.message.startswith(message)
    assert "hunter2" not in found.message


def test_missing_adapter_is_named_by_its_path() -> None:
    for line in (
        "Loading lora sql failed: No adapter found for /adapters/sql",
        "ValueError: No adapter found for /adapters/sql",
    ):
        found = diagnose_log(line)
        assert found
        assert found.reason == "AdapterNotFound"
        assert found.message.startswith("there is no LoRA adapter at /adapters/sql")
