"""Texts that take patterns with overlapping repeats quadratic time, and a check that a function takes linear time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

SHORT_SECONDS = 0.05
"""CPU time that needs no comparison: the event loop may stand still for as long."""

RATIO = 12.0
"""Largest ratio of the times at 4n and n: linear time gives 4, quadratic time 16."""

CHARACTERS = tuple("a1A-_/:=.,;+*&?@#%$|\\\"'`()[]{}<> \t\n\r\0\x1b\x07\x9b\x85\u0130\u200b\u2028é漢😀")
UNITS = (
    *CHARACTERS,
    *(
        "://a:a:",
        "://a@",
        "\x1b]",
        "\x1b[",
        "\x1b[3",
        "\x1bP",
        "\x9d",
        "(pid=",
        "(a pid=1",
        "Error",
        "a.",
        "a.b",
        "[x:1",
    ),
    *(
        "token=",
        "key: ",
        "'key': '",
        '"key": "',
        "key=[",
        "key=(",
        "key={",
        "a_key='",
        'token:\\"',
        "--api-key ",
        "sk-",
    ),
    *("hf_", "eyJ", "AKIA", "Bearer ", "Authorization: ", "Authorization: a ", "-----BEGIN PRIVATE KEY-----", "-----"),
    *("key, value", "key value=", "password: x ", "hf_A1", "x@", "'--token', ", "name: A_TOKEN value: "),
    *('sandbox "', 'sandbox "0123456789abcdef', "0123456789abcdef", "failed ", "failed x", "MountVolume", "a b "),
    *(
        "data:image/png;base64," + "iVBORw0KGgo" * 90 + "\n",
        "x" * 1999 + "\n",
        "-" * 1999 + "\n",
        "é\u200b",
        "A b\x1b[0m",
    ),
)


def repeat(unit: str, length: int) -> str:
    """Return a text of a length that repeats a unit."""
    return (unit * (length // len(unit) + 1))[:length]


def around(literals: Iterable[str]) -> list[str]:
    """Return units that hold a literal alone, before and after runs of each class of characters."""
    fills = ("-", "x", "1", " ", ":", "x ", "(", "'")
    return [
        unit for text in literals for unit in (text, *(text + f * 700 for f in fills), *(f * 300 + text for f in fills))
    ]


def cpu_seconds(call: Callable[[str], object], text: str) -> float:
    """Return the shortest CPU time of three calls: other threads and processes do not count."""

    def once() -> float:
        started = time.thread_time()
        call(text)
        return time.thread_time() - started

    return min(once() for _ in range(3))


def assert_linear(call: Callable[[str], object], unit: str, length: int) -> None:
    """Check that the time at `length` characters is short, or at most linear against that at a quarter of them."""
    started = time.thread_time()
    call(repeat(unit, length))
    if time.thread_time() - started < SHORT_SECONDS / 5:
        return
    at_length = cpu_seconds(call, repeat(unit, length))
    if at_length < SHORT_SECONDS:
        return
    at_quarter = cpu_seconds(call, repeat(unit, length // 4))
    assert at_length < RATIO * at_quarter, f"{unit[:40]!r}: {at_quarter:.4f} s, and {at_length:.4f} s for four times it"
    assert at_length < 10 * SHORT_SECONDS, f"{unit[:40]!r}: {at_length:.4f} s"
