"""Shorten logs and messages of other programs for a status: one bounded line without secrets."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable

from vllm_operator.diagnosis.secrets import mask_secrets

MESSAGE_LENGTH = 1024
"""Longest message of a replica or a condition, in characters."""

LINES = 200
LINE_LENGTH = 2000
"""Characters that are read of a line. The longest lines that vLLM ends with list its choices in about 1,000."""

LOG_LENGTH = 256 * 1024
"""Characters that are read of the end of a log: as many as the operator requests bytes."""

_MASK_SLACK = 512
"""Characters behind the limit that are masked too: masks make a text shorter."""

_CUT_TAIL = 256
"""Characters at a cut of which the last word is dropped."""

_CACHED_LENGTH = 512
"""Longest text whose result is kept, in characters. 2,048 of them are at most 8 MiB with their results."""

_RAW_FACTOR = 4
"""Characters of a raw text that are read for each character of a message: colours and blanks are removed."""

_REASON = re.compile(r"[A-Za-z][A-Za-z0-9]{0,127}\Z")
_TERMINAL_CODES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]{0,64}[ -/]{0,8}[@-~]?"  # CSI: colours, cursor
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"  # OSC and other strings
    r"|\x1b[ -/]{0,8}[0-~]?"
)
"""Control sequences of terminals (ECMA-48): old versions of kubectl print them."""

_BLANK_CONTROLS = "\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f\x85"
"""Control characters that end lines or words."""

_INVISIBLE = dict.fromkeys(
    {
        *(code for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in _BLANK_CONTROLS),
        *(0xAD, 0x61C, 0x180E, 0xFEFF, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070)),
        *range(0xFFF9, 0xFFFC),
        *range(0xE0000, 0xE0080),
    }
) | dict.fromkeys(range(0xD800, 0xE000), "?")
"""Character -> its replacement: none for controls and for marks that hide or turn text, `?` for lone surrogates."""
# "(EngineCore pid=98) ERROR 10-02 09:11:12 [core.py:866] " before vLLM's own words.
_LOG_PREFIX = re.compile(
    r"^\s*(?:\([^()]*pid=\d+\)\s*)?(?:(?:ERROR|CRITICAL|INFO|WARNING|DEBUG)\s+[\d\- :.,]+\s*)?(?:\[[^\]\s]+:\d+\]\s?)?"
)
# pydantic writes what is wrong below the exception: "  Value error, ...".
_EXCEPTION = re.compile(
    r"^(?:Value error, |Assertion failed, )|^(?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*(?:Error|Exception|Interrupt)\b(?::\s*\S|$)"
)
_TRACEBACK = ("File ", "^", "~", "Traceback")
_CONSEQUENCES = (
    "See root cause above",
    "Engine core initialization failed",
    "EngineCore encountered an issue. See stack trace",
)
"""Parts of lines that vLLM logs after an error, and that do not name its cause."""


def strip_controls(text: str) -> str:
    """Return `text` without control sequences of terminals, control characters and invisible marks; lines stay."""
    return text if text.isascii() and text.isprintable() else _TERMINAL_CODES.sub("", text).translate(_INVISIBLE)


def one_line(text: str, limit: int = MESSAGE_LENGTH) -> str:
    """Return `text` as one line of at most `limit` characters, without secrets and control characters.

    The time depends on `limit` and not on the length of the text: it is cut first, with room for what masks remove.
    """
    return _short_line(text, limit) if len(text) <= _CACHED_LENGTH else _line(text, limit)


def _line(text: str, limit: int) -> str:
    raw = text[: _RAW_FACTOR * (limit + _MASK_SLACK)]
    flat = " ".join(strip_controls(raw).split())
    part = flat[: limit + _MASK_SLACK]
    is_cut = len(part) < len(flat) or len(raw) < len(text)
    if is_cut and not raw[-1:].isspace():
        part = _without_last_word(part)
    masked = mask_secrets(part)
    return masked if len(masked) <= limit and not is_cut else masked[: limit - 1] + "…"


def _without_last_word(text: str) -> str:
    """Return a text that was cut without the word at the cut: the first part of a secret has no shape."""
    start = text.rfind(" ", len(text) - _CUT_TAIL)
    return text[: start if start >= 0 else -_CUT_TAIL]


_short_line = functools.lru_cache(maxsize=2048)(_line)


def valid_reason(text: str, default: str) -> str:
    """Return `text` when it is a CamelCase word that a condition may carry, else `default`."""
    return text if _REASON.match(text) else default


def log_lines(log: str) -> list[str]:
    """Return the last LINES lines of a log, each cut to LINE_LENGTH and without control characters."""
    return [strip_controls(line[:LINE_LENGTH]) for line in log[-LOG_LENGTH:].splitlines()[-LINES:]]


def without_log_prefix(entry: str) -> str:
    """Return a line of vLLM's log, free of control characters, without process, level, time and place."""
    return _LOG_PREFIX.sub("", entry, count=1)


def most_telling_line(lines: Iterable[str]) -> str:
    """Return the line at the end of a failed container's log that says most about the cause; empty without one.

    The last exception by name or argparse's `error:` comes first, then the last line logged as ERROR, then the last
    line. vLLM ends with `Engine core initialization failed. See root cause above`, so such a line counts only where
    there is no other.
    """
    newest_first = [(entry, without_log_prefix(entry)) for entry in reversed(_telling_lines(lines))]
    for is_telling in (_names_error, _is_logged_error):
        for entry, message in newest_first:
            if is_telling(entry, message):
                return message
    entry, message = newest_first[0] if newest_first else ("", "")
    return message or entry


def _telling_lines(lines: Iterable[str]) -> list[str]:
    """Return the lines that are not empty, without the consequences of an error where there are others."""
    filled = list(filter(None, map(str.strip, lines)))
    return [line for line in filled if not any(part in line for part in _CONSEQUENCES)] or filled


def _names_error(entry: str, message: str) -> bool:
    return bool(_EXCEPTION.match(message)) or "error: " in entry


def _is_logged_error(entry: str, message: str) -> bool:
    return "ERROR" in entry and bool(message) and not message.startswith(_TRACEBACK)
