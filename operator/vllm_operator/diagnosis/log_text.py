"""Text that others wrote, made fit for a status: one line, bounded, without secrets, the useful part first."""

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
_USELESS = (
    "See root cause above",
    "Engine core initialization failed",
    "EngineCore encountered an issue. See stack trace",
)


@functools.lru_cache(maxsize=2048)
def mask_secrets(text: str) -> str:
    """`text` with whatever looks like a token, a key or a password replaced by `***`."""

    def hidden(match: re.Match[str]) -> str:
        return next((group for group in match.groups() if group), "") + "***"

    return _SECRETS.sub(hidden, text)


def one_line(text: str, limit: int = MESSAGE_LENGTH) -> str:
    """`text` as one line of at most `limit` characters without secrets (masked before it is cut)."""
    flat = mask_secrets(" ".join(_COLOUR.sub("", text).split()))
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def valid_reason(text: str, default: str) -> str:
    """`text` when it is a CamelCase word that a condition may carry, else `default`."""
    return text if _REASON.match(text) else default


def without_log_prefix(entry: str) -> str:
    """A line of vLLM's log without process, level, time and place."""
    return _LOG_PREFIX.sub("", _COLOUR.sub("", entry))


def most_telling_line(log: str) -> str:
    """The line of a dead container's last words that tells most; empty when they hold none.

    vLLM ends with `Engine core initialization failed. See root cause above`, so that line comes last: first an
    exception by name, then argparse's `error:`, then any line logged as ERROR, then the last line.
    """
    lines = [stripped for stripped in (raw.strip() for raw in _COLOUR.sub("", log).splitlines()) if stripped]
    useful = [entry for entry in lines if not any(word in entry for word in _USELESS)] or lines
    bare = [(entry, without_log_prefix(entry)) for entry in reversed(useful)]
    for entry, words in bare:
        if _EXCEPTION.match(words) or "error: " in entry:
            return words
    for entry, words in bare:
        if "ERROR" in entry and words and not words.startswith(("File ", "^", "~", "Traceback")):
            return words
    return bare[0][1] or bare[0][0] if bare else ""
