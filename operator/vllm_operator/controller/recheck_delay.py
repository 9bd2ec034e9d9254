"""When to reconcile again because of a cause whose end no watch event reports."""

from __future__ import annotations

from vllm_operator.apply.admission_memory import ADMISSION_RECHECK_SECONDS
from vllm_operator.apply.result import ApplyResult
from vllm_operator.controller.reference_resolver import ReferenceCheck
from vllm_operator.controller.requeue import Requeue
from vllm_operator.desired.state import DesiredState

MISSING_REFERENCE_SECONDS = 5.0
"""Delay until a missing Secret or claim is read again: they are not watched."""

REFUSED_SECONDS = 30.0
"""Delay until the operator retries a write that the API server refused, or whose object another owner holds."""

IDLE_RECHECK_SECONDS = 5.0
"""Interval at which a change that waits for an idle replica is decided again."""

REFERENCES_SECONDS = 60.0
"""Interval at which the referenced Secrets are read again."""


def recheck_delay(desired: DesiredState, references: ReferenceCheck, applied: ApplyResult) -> Requeue:
    """Return when to reconcile again."""
    if references.missing:
        return Requeue.after(MISSING_REFERENCE_SECONDS)
    if applied.needs_recheck:
        return Requeue.after(REFUSED_SECONDS)
    return Requeue.earliest(
        Requeue.after(IDLE_RECHECK_SECONDS) if desired.is_held else Requeue.never(),
        Requeue.after(REFERENCES_SECONDS) if desired.references else Requeue.never(),
        Requeue.after(ADMISSION_RECHECK_SECONDS) if applied.admission_changes.notes else Requeue.never(),
    )
