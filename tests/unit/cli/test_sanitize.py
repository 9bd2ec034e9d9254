from __future__ import annotations

import time

import pytest

from vllm_operator.cli.sanitize import clean, clean_lines


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain text", "plain text"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b31mred", "red"),
        ("a\x1b[2J\x1b[Hb", "ab"),
        ("one\r\ntwo\tthree", "one two three"),
        ("nul\x00 bell\x07 back\x08", "nul bell back"),
        ("right\u202eleft", "rightleft"),
        ("\ud800", "?"),
        ("Grüße 模型", "Grüße 模型"),
        (None, ""),
        (3, "3"),
        ({"a": "\x1b[1m"}, "{'a': '\\x1b[1m'}"),
    ],
)
def test_controls_of_a_terminal_are_removed(raw: object, shown: str) -> None:
    assert clean(raw) == shown


def test_long_text_is_cut_with_a_sign() -> None:
    assert clean("x" * 100, 10) == "x" * 9 + "…"


def test_unfinished_sequences_leave_no_escape() -> None:
    for text in ("\x1b", "\x1b[", "\x1b[31", "\x1b]0;title", "\x1bP+q", "\x1b[" + "1;" * 200 + "m", "\x0b\x0c\x85"):
        assert clean(text).isprintable()
        assert clean_lines(text).replace("\n", "").isprintable()


def test_log_keeps_lines_and_tabs() -> None:
    assert clean_lines("a\tb\r\n\x1b[32mc\x1b[0m\n") == "a\tb\nc\n"


def test_progress_bars_become_lines() -> None:
    assert clean_lines("0%\r50%\r100%\n") == "0%\n50%\n100%\n"


def test_time_is_linear_in_the_text() -> None:
    started = time.process_time()
    for part in ("\x1b[", "\x1b]", "\x9b", "\x1b", "\u202e"):
        clean_lines(part * 200_000)
    assert time.process_time() - started < 20
