"""Draw the lines of a chart as text, by plotext."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass

MIN_WIDTH, MIN_HEIGHT = 20, 8
"""Columns and rows below which plotext has no room for axes."""
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
"""Characters that could drive the terminal."""
_LOCK = threading.Lock()
"""plotext has one figure for the whole process."""


@dataclass(frozen=True, slots=True)
class TerminalLine:
    """One line of a chart."""

    name: str
    xs: list[float]
    ys: list[float]


@dataclass(frozen=True, slots=True)
class TerminalChart:
    """The content of a chart in the terminal."""

    title: str
    x_label: str
    y_label: str
    lines: tuple[TerminalLine, ...]

    def text(self, width: int, height: int, *, color: bool) -> str:
        """Return the chart as text of some columns and rows.

        Raises:
            ValueError: it is too small for axes.
            ImportError: plotext is not installed.
        """
        if width < MIN_WIDTH or height < MIN_HEIGHT:
            raise ValueError(f"a chart of {width} x {height} has no room: use at least {MIN_WIDTH} x {MIN_HEIGHT}")
        try:
            import plotext
        except ImportError as error:
            raise ImportError("charts in the terminal need plotext: pip install 'vllm-operator[charts]'") from error
        with _LOCK:
            figure = plotext.figure
            figure.clear()
            # The size is the caller's, also where the output is no terminal.
            plotext.terminal.limit(False, False)
            figure.plot_size(width, height)
            figure.title(_plain(self.title))
            figure.label(_plain(self.x_label), axis="x")
            figure.label(_plain(self.y_label), axis="y")
            for line in self.lines:
                signal = figure.signal(line.xs, line.ys)
                if len(self.lines) > 1:
                    signal.label(_plain(line.name))
                figure.draw(signal.lines(len(line.xs) > 1))
            text = str(figure.build())
            figure.clear()
            return text if color else str(plotext.uncolorize(text))


def _plain(text: str) -> str:
    """Return a text without characters that could drive the terminal."""
    return CONTROL.sub(" ", text)
