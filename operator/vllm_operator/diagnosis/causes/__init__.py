"""Why vLLM ended, told from its own log: a table of what it says, and what to do about it.

To add a cause: add a row to one of the tables beside this file, and a log of that name below
`tests/data/logs/` that a real vLLM wrote (`python -m tools.vllm_releases.record_logs`), or that is quoted with
its link. The first row that matches wins, so a row stands before those whose words its own failure causes as well.
"""

from __future__ import annotations

import re

from vllm_operator.diagnosis.causes.arguments import ARGUMENTS
from vllm_operator.diagnosis.causes.checkpoint import CHECKPOINT
from vllm_operator.diagnosis.causes.download import DOWNLOAD
from vllm_operator.diagnosis.causes.engine import ENGINE
from vllm_operator.diagnosis.causes.gpu import GPU
from vllm_operator.diagnosis.causes.process import POD
from vllm_operator.diagnosis.causes.row import Cause
from vllm_operator.diagnosis.diagnosis import Diagnosis
from vllm_operator.diagnosis.log_text import most_telling_line, one_line, without_log_prefix
from vllm_operator.kube.fields import get_str
from vllm_operator.kube.types import Object

LOG_SAYS = "its log says: "
"""Stands before the diagnosis of a replica that has not come up."""

LINES = 200
LINE_LENGTH = 4000
MESSAGE_LENGTH = 600


def diagnose(log: str) -> Diagnosis | None:
    """The cause that a log tells; None when it holds nothing at all.

    What no row knows is told by its last line of an error. Secrets are masked.
    """
    entries = [entry[:LINE_LENGTH] for entry in log.splitlines()[-LINES:]]
    words = "\n".join(map(without_log_prefix, entries))
    for row, pattern in _PATTERNS:
        if found := pattern.search(words):
            told = row.message.format(**_groups(found)) if isinstance(row.message, str) else row.message(found)
            return Diagnosis(row.reason, one_line(told, MESSAGE_LENGTH))
    last = one_line(most_telling_line("\n".join(entries)), MESSAGE_LENGTH)
    return Diagnosis("", last) if last else None


def diagnosis_from_status(entry: Object | None, late: bool) -> Diagnosis | None:
    """The diagnosis that an entry of `replicaStatuses` tells; None where it tells none of these tables.

    Args:
        entry: the entry in the previous status, if there was one.
        late: pods that do not come up are diagnosed too.
    """
    why, phase, words = (get_str(entry, field) for field in ("reason", "phase", "message"))
    if why not in _REASONS or phase not in ({"CrashLooping", "Loading"} if late else {"CrashLooping"}):
        return None
    return Diagnosis(why, words.partition(LOG_SAYS if phase == "Loading" else ": ")[2])


def _groups(found: re.Match[str]) -> dict[str, str]:
    return {name: value or "?" for name, value in found.groupdict().items()}


CAUSES: tuple[Cause, ...] = (*ARGUMENTS, *POD, *GPU, *CHECKPOINT, *DOWNLOAD, *ENGINE)
"""In this order: the first that matches wins."""

_PATTERNS = tuple((row, re.compile(row.pattern, re.IGNORECASE)) for row in CAUSES)
_REASONS = frozenset(row.reason for row in CAUSES)
