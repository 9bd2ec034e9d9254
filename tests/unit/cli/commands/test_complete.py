from __future__ import annotations

import json

from tests.helpers.fake_vllm_server import FakeVLLMServer
from tests.unit.cli.commands.conftest import Run


def test_completion_continues_a_text(run: Run, vllm: FakeVLLMServer) -> None:
    ended = run("complete", "mistral", "Once", "--max-tokens", "5")
    assert ended.code == 0
    [body] = vllm.bodies("/v1/completions")
    assert (body["prompt"], body["max_tokens"]) == ("Once", 5)
    assert json.loads(run("complete", "mistral", "Once", "-o", "json").stdout)["choices"]


def test_text_is_read_from_standard_input(run: Run, vllm: FakeVLLMServer) -> None:
    assert run("complete", "mistral", stdin="Once\n").code == 0
    assert vllm.bodies("/v1/completions")[0]["prompt"] == "Once"


def test_empty_text_is_a_usage_error(run: Run) -> None:
    assert run("complete", "mistral").code == 2
