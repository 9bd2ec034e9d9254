"""Shorten logs and messages of other programs for a status: one bounded line without secrets."""

from __future__ import annotations

import functools
import re

MESSAGE_LENGTH = 1024
"""Longest message of a replica or a condition, in characters."""

_SECRETS = re.compile(
    r"\b(hf_|sk-)[A-Za-z0-9_\-]{6,}"
    r"|\b(Bearer\s+)[^\s\"',;]+"
    r"|((?:--api-key|\bapi[-_ ]?key|\bpassword|\bHF_TOKEN|\bHUGGING_FACE_HUB_TOKEN|\bAWS_SECRET_ACCESS_KEY)"
    r"[\"']?(?:\s*[=:]\s*|\s+(?=\S{12,}))[\[(\"']*)[^\s\"',;]+"
    r"|(://)[^/\s:@]*:[^/\s@]+(?=@)",
    re.IGNORECASE,
)
_REASON = re.compile(r"[A-Za-z][A-Za-z0-9]{0,127}\Z")
_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
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


@functools.lru_cache(maxsize=2048)
def mask_secrets(text: str) -> str:
    """Return `text` with `***` for everything that looks like a token, a key or a password."""

    def mask(match: re.Match[str]) -> str:
        return next((group for group in match.groups() if group), "") + "***"

    return _SECRETS.sub(mask, text)


def one_line(text: str, limit: int = MESSAGE_LENGTH) -> str:
    """Return `text` as one line of at most `limit` characters, without secrets (masked before the cut)."""
    flat = mask_secrets(" ".join(_COLOUR.sub("", text).split()))
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def valid_reason(text: str, default: str) -> str:
    """Return `text` when it is a CamelCase word that a condition may carry, else `default`."""
    return text if _REASON.match(text) else default


def without_log_prefix(entry: str) -> str:
    """Return a line of vLLM's log without process, level, time and place."""
    return _LOG_PREFIX.sub("", _COLOUR.sub("", entry))


def most_telling_line(log: str) -> str:
    """Return the line at the end of a failed container's log that says most about the cause; empty without one.

    The last exception by name or argparse's `error:` comes first, then the last line logged as ERROR, then the last
    line. vLLM ends with `Engine core initialization failed. See root cause above`, so such a line counts only where
    there is no other.
    """
    newest_first = [(entry, without_log_prefix(entry)) for entry in reversed(_telling_lines(log))]
    for is_telling in (_names_error, _is_logged_error):
        for entry, message in newest_first:
            if is_telling(entry, message):
                return message
    entry, message = newest_first[0] if newest_first else ("", "")
    return message or entry


def _telling_lines(log: str) -> list[str]:
    """Return the lines of a log that are not empty, without the consequences of an error where there are others."""
    lines = list(filter(None, map(str.strip, _COLOUR.sub("", log).splitlines())))
    return [line for line in lines if not any(part in line for part in _CONSEQUENCES)] or lines


def _names_error(entry: str, message: str) -> bool:
    return bool(_EXCEPTION.match(message)) or "error: " in entry


def _is_logged_error(entry: str, message: str) -> bool:
    return "ERROR" in entry and bool(message) and not message.startswith(_TRACEBACK)
