"""Charts in a terminal."""

from __future__ import annotations

import pytest

from vllm_operator.client.chart_terminal import TerminalChart, TerminalLine

CHART = TerminalChart(
    "Latency", "request", "seconds", (TerminalLine("one", [1.0, 2.0], [3.0, 4.0]), TerminalLine("two", [1.0], [9.0]))
)


@pytest.mark.parametrize(("width", "height"), [(20, 8), (80, 20), (200, 50)])
def test_chart_has_the_size_that_was_asked_for(width: int, height: int) -> None:
    lines = CHART.text(width, height, color=False).rstrip("\n").splitlines()

    assert len(lines) == height
    assert max(map(len, lines)) <= width


def test_chart_names_title_axes_and_lines() -> None:
    text = CHART.text(80, 20, color=False)

    assert all(word in text for word in ("Latency", "request", "seconds", "one", "two"))
    assert "\x1b" not in text


def test_colors_come_only_when_asked_for() -> None:
    assert "\x1b" in CHART.text(80, 20, color=True)


def test_one_chart_leaves_nothing_for_the_next() -> None:
    CHART.text(80, 20, color=False)

    text = TerminalChart("Other", "x", "y", (TerminalLine("z", [1.0, 2.0], [1.0, 2.0]),)).text(80, 20, color=False)

    assert "Latency" not in text
    assert "one" not in text


def test_names_cannot_drive_the_terminal() -> None:
    lines = (TerminalLine("a\x1b[2J", [1.0], [1.0]), TerminalLine("b", [1.0], [2.0]))

    text = TerminalChart("t\x1b]0;x\x07", "x\n", "y\r", lines).text(80, 20, color=False)

    assert not set(text) & {"\x1b", "\x07", "\r"}


@pytest.mark.parametrize(("width", "height"), [(5, 20), (80, 3)])
def test_size_without_room_for_axes_is_refused(width: int, height: int) -> None:
    with pytest.raises(ValueError, match=f"a chart of {width} x {height} has no room: use at least 20 x 8"):
        CHART.text(width, height, color=False)
