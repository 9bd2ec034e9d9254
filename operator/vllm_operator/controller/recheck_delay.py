"""When to reconcile again because of a cause whose end no watch event reports."""

from __future__ import annotations

from datetime import datetime

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

TIMER_SECONDS = 0.01
"""Delay after a change of the bounds, so that a timer that is early by a rounding error does not run twice."""

REFERENCES_SECONDS = 60.0
"""Interval at which the referenced Secrets are read again."""


def recheck_delay(desired: DesiredState, references: ReferenceCheck, applied: ApplyResult, now: datetime) -> Requeue:
    """Return when to reconcile again."""
    return Requeue.earliest(_next_bounds(desired, now), _recheck(desired, references, applied))


def _next_bounds(desired: DesiredState, now: datetime) -> Requeue:
    """Return when the schedule changes the bounds."""
    bounds = desired.server.bounds
    if bounds is None or bounds.until is None:
        return Requeue.never()
    return Requeue.after(max((bounds.until - now).total_seconds(), 0.0) + TIMER_SECONDS)


def _recheck(desired: DesiredState, references: ReferenceCheck, applied: ApplyResult) -> Requeue:
    if references.missing:
        return Requeue.after(MISSING_REFERENCE_SECONDS)
    if applied.needs_recheck:
        return Requeue.after(REFUSED_SECONDS)
    return Requeue.earliest(
        Requeue.after(IDLE_RECHECK_SECONDS) if desired.is_held else Requeue.never(),
        Requeue.after(REFERENCES_SECONDS) if desired.references else Requeue.never(),
        Requeue.after(ADMISSION_RECHECK_SECONDS) if applied.admission_changes.notes else Requeue.never(),
    )
