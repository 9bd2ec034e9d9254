"""Texts that pods leave behind: logs and termination messages, hostile ones and honest ones that cost as much."""

from __future__ import annotations

from itertools import cycle, islice

LINE = 3_900
LINES = 200
TERMINATION_BYTES = 4_096
"""Size that the kubelet cuts a termination message at."""

PREFIXES = ("error: argument ", "ValueError: ", "RuntimeError: ", "torch.OutOfMemoryError: ", "huggingface_hub.errors.")
PATTERNS = ("-", "x", "://a:a:", "--a", "a.a.", "key=", "\x1b[0m", '"token": "', "../", "é", "\\u0000", "{" * 8)


def log(prefix: str, pattern: str, line: int = LINE, lines: int = LINES) -> bytes:
    """Return a log whose lines are one prefix and one repeated pattern."""
    text = prefix + pattern * (line // len(pattern))
    return (text + "\n").encode() * lines


def honest() -> bytes:
    """Return the log of a crash in which clients sent images as data URLs."""
    url = "data:image/png;base64," + "iVBORw0KGgoAAAANSUhEUg" * (LINE // 22)
    lines = [f'INFO 11-24 12:00:00 [logger.py:39] Received request chat-{number}: "{url}"' for number in range(20)]
    return ("\n".join(lines) + "\nRuntimeError: CUDA error: an illegal memory access was encountered\n").encode()


LOGS = [honest(), *(log(prefix, pattern) for prefix, pattern in zip(cycle(PREFIXES), PATTERNS, strict=False))]
"""Logs, one for each read in turn."""


def termination_message(number: int) -> str:
    """Return a message of the kubelet's full size; each number has another."""
    prefix = next(islice(cycle(PREFIXES), number % len(PREFIXES), None))
    pattern = PATTERNS[number % len(PATTERNS)]
    text = f"{number} {prefix}" + pattern * TERMINATION_BYTES
    return text.encode()[:TERMINATION_BYTES].decode(errors="ignore")
