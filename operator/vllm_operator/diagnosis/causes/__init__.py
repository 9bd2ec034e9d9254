"""Diagnose why vLLM ended, from its own log: tables of its messages, each with the remedy.

To add a cause: add a row to one of the tables in this package, and a log of that name below `tests/data/logs/` that a
real vLLM wrote (`python -m tools.vllm_releases.record_logs`), or that is quoted with its link. The first row that
matches wins, so a row stands before those that match a consequence of the same failure.
"""

from __future__ import annotations

import re

from vllm_operator.diagnosis.causes.arguments import ARGUMENTS
from vllm_operator.diagnosis.causes.checkpoint import CHECKPOINT
from vllm_operator.diagnosis.causes.download import DOWNLOAD
from vllm_operator.diagnosis.causes.gpu import GPU
from vllm_operator.diagnosis.causes.process import ENGINE_PROCESS, PROCESS
from vllm_operator.diagnosis.causes.row import Cause
from vllm_operator.diagnosis.diagnosis import Diagnosis
from vllm_operator.diagnosis.log_text import log_lines, most_telling_line, one_line, without_log_prefix
from vllm_operator.kube.fields import get_str
from vllm_operator.kube.types import Object

LOG_SAYS = "its log says: "
"""Text before the diagnosis of a replica that runs and has not started yet."""

MESSAGE_LENGTH = 600

_OCCURRENCES = 8
"""Places of a literal at which its pattern is tried: a log repeats an error a few times, for each process that ends."""

_BEFORE, _AFTER = 256, 1200
"""Characters before and after the start of a literal in which a pattern may match."""


def diagnose_log(log: str) -> Diagnosis | None:
    """Return the cause that a log shows; None when the log is empty.

    Where no row matches, the message is the most telling line of the log. Secrets are masked. The time is linear in
    the length of the log, of which at most LOG_LENGTH characters are read.
    """
    entries = log_lines(log)
    text = "\n".join(map(without_log_prefix, entries))
    # The lower case of this letter alone has two characters, which would move all places behind it.
    lowered = text.replace("\u0130", "i").lower()
    for row, pattern in _PATTERNS:
        if found := _find(row, pattern, text, lowered):
            message = row.message.format(**_groups(found)) if isinstance(row.message, str) else row.message(found)
            return Diagnosis(row.reason, one_line(message, MESSAGE_LENGTH))
    last = one_line(most_telling_line(entries), MESSAGE_LENGTH)
    return Diagnosis("", last) if last else None


def _find(row: Cause, pattern: re.Pattern[str], text: str, lowered: str) -> re.Match[str] | None:
    """Return the match of a row near the first places of one of its literals."""
    if row.unless and row.unless in lowered:
        return None
    for literal in row.literals:
        place = -1
        for _ in range(_OCCURRENCES):
            if (place := lowered.find(literal, place + 1)) < 0:
                break
            if found := pattern.search(text[max(place - _BEFORE, 0) : place + _AFTER]):
                return found
    return None


def log_diagnosis_from_status(entry: Object | None, is_late: bool) -> Diagnosis | None:
    """Return the diagnosis that an entry of `replicaStatuses` holds; None without one of these tables.

    Args:
        entry: the entry in the previous status, if there was one.
        is_late: the progress deadline passed, so that replicas that have not started yet have a diagnosis too.
    """
    reason, phase, message = (get_str(entry, field) for field in ("reason", "phase", "message"))
    if reason not in _REASONS or phase not in ({"CrashLooping", "Loading"} if is_late else {"CrashLooping"}):
        return None
    return Diagnosis(reason, message.partition(LOG_SAYS if phase == "Loading" else ": ")[2])


def _groups(found: re.Match[str]) -> dict[str, str]:
    return {name: value or "?" for name, value in found.groupdict().items()}


CAUSES: tuple[Cause, ...] = (
    *ARGUMENTS,  # a flag or value that vLLM refuses
    *PROCESS,  # network, shared memory and environment of the container
    *GPU,  # GPU memory and driver
    *CHECKPOINT,  # the model's code, architecture and quantization
    *DOWNLOAD,  # the hub, and the disk that vLLM downloads to
    *ENGINE_PROCESS,  # the engine process ended and left no error
)
"""In order: the first row that matches wins."""

_PATTERNS = tuple((row, re.compile(row.pattern, re.IGNORECASE)) for row in CAUSES)
_REASONS = frozenset(row.reason for row in CAUSES)
