from __future__ import annotations

import builtins
import json

import pytest

from tests.helpers.fake_vllm_server import FakeVLLMServer, status
from tests.unit.cli.commands.conftest import Run


def test_answer_is_streamed_without_control_characters(run: Run, vllm: FakeVLLMServer) -> None:
    ended = run("chat", "mistral", "Say", "hello", "--system", "Be brief", "--temperature", "0")
    assert (ended.code, ended.stdout) == (0, "Hello world\n")
    assert "generated tokens" in ended.stderr
    [body] = vllm.bodies()
    assert body["messages"] == [{"role": "system", "content": "Be brief"}, {"role": "user", "content": "Say hello"}]
    assert (body["max_tokens"], body["temperature"], body["stream"]) == (512, 0, True)


def test_answer_is_printed_as_json(run: Run, vllm: FakeVLLMServer) -> None:
    ended = run("chat", "mistral", "-o", "json", stdin="hello")
    assert json.loads(ended.stdout)["choices"][0]["content"] == "Hello \x1b[2Jworld"
    assert "\x1b" not in ended.stdout


def test_conversation_keeps_what_was_said(run: Run, vllm: FakeVLLMServer, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["first", "", "second"]

    def read(prompt: str) -> str:
        if not lines:
            raise EOFError
        return lines.pop(0)

    monkeypatch.setattr(builtins, "input", read)
    monkeypatch.setattr("vllm_operator.cli.talk.prompt_text", lambda words: "")
    monkeypatch.setattr("vllm_operator.cli.commands.chat.prompt_text", lambda words: "")
    monkeypatch.setattr("vllm_operator.cli.commands.chat._is_terminal", lambda: True)
    assert run("chat", "mistral").code == 0
    assert [len(body["messages"]) for body in vllm.bodies()] == [1, 3]


def test_empty_prompt_is_a_usage_error(run: Run) -> None:
    assert run("chat", "mistral").code == 2


def test_server_that_serves_nothing_names_the_cause(run: Run, vllm: FakeVLLMServer) -> None:
    ended = run("chat", "crashed", "hello")
    assert ended.code == 1
    assert "no replica of crashed serves: 0/1 replicas serve; crashed-" in ended.stderr


def test_refusal_of_vllm_is_shown(run: Run, vllm: FakeVLLMServer) -> None:
    vllm.answers["/v1/chat/completions"] = status(400, "too \x1b[31mlong")
    ended = run("chat", "mistral", "hello")
    assert ended.code == 1
    assert "mistral-5f9c6d7b8-aaaaa: vLLM answers 400: too " in ended.stderr
    assert "\x1b" not in ended.stderr


def test_conversation_goes_on_after_an_error(run: Run, vllm: FakeVLLMServer, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["far too long", "short"]

    def read(prompt: str) -> str:
        if not lines:
            raise EOFError
        vllm.answers = {"/v1/chat/completions": status(400, "too long")} if len(lines) == 2 else {}
        return lines.pop(0)

    monkeypatch.setattr(builtins, "input", read)
    monkeypatch.setattr("vllm_operator.cli.commands.chat.prompt_text", lambda words: "")
    monkeypatch.setattr("vllm_operator.cli.commands.chat._is_terminal", lambda: True)
    ended = run("chat", "mistral")
    assert ended.code == 0
    assert "too long" in ended.stderr
    assert [body["messages"] for body in vllm.bodies()][-1] == [{"role": "user", "content": "short"}]
