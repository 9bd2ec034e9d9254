from __future__ import annotations

import io
import sys

import pytest

from tests.helpers.plugin import Terminal
from vllm_operator.cli import console


def printed(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO) -> str:
    monkeypatch.setattr(sys, "stdout", stream)
    console.out().print("text", style="bold red")
    return stream.getvalue()


def test_terminal_gets_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert "\x1b[" in printed(monkeypatch, Terminal())


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_terminal_without_colours_gets_none(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv(name, value)
    assert "31" not in printed(monkeypatch, Terminal())


def test_pipe_gets_no_colours_and_no_wrapped_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert printed(monkeypatch, io.StringIO()) == "text\n"


def test_progress_prints_nothing_on_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with console.progress("waiting"):
        pass
    assert stream.getvalue() == ""


def test_progress_shows_its_text_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", stream)
    with console.progress("waiting\x1b[2J"):
        pass
    assert "waiting" in stream.getvalue()
    assert "\x1b[2J" not in stream.getvalue()
