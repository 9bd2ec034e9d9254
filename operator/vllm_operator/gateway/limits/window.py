"""A counter of the last minute."""

from __future__ import annotations

import math
from collections import deque

WINDOW_SECONDS = 60
"""Length of the window of every limit."""


class CountWindow:
    """Count over the last `WINDOW_SECONDS`, in steps of one second.

    No 60 seconds have more than the limit. A count leaves the window when its whole second has left it.
    """

    __slots__ = ("_steps", "total")

    def __init__(self) -> None:
        self._steps: deque[list[int]] = deque()
        self.total = 0

    def add(self, amount: int, now: float) -> None:
        """Count an amount at a time."""
        self.expire(now)
        second = int(now)
        if self._steps and self._steps[-1][0] == second:
            self._steps[-1][1] += amount
        else:
            self._steps.append([second, amount])
        self.total += amount

    def expire(self, now: float) -> None:
        """Forget the counts that have left the window."""
        # The counts of second n are of any moment up to n + 1, and leave 60 seconds after that.
        while self._steps and self._steps[0][0] + WINDOW_SECONDS + 1 <= now:
            self.total -= self._steps.popleft()[1]

    def seconds_until(self, most: int, now: float) -> float:
        """Return the seconds until at most `most` are counted; 0 when they are already."""
        self.expire(now)
        left = self.total
        for second, amount in self._steps:
            if left <= most:
                break
            left -= amount
            if left <= most:
                return max(0.0, second + WINDOW_SECONDS + 1 - now)
        return 0.0 if left <= most else math.inf
