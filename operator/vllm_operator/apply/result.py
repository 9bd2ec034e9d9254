"""Define the results of applying one child and all children of a server."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from vllm_operator.api.names import MANAGER
from vllm_operator.api.problem import Problem
from vllm_operator.apply.admission_changes import AdmissionChanges
from vllm_operator.apply.spec_field_of import MAX_MESSAGE_LENGTH, spec_field_for
from vllm_operator.errors import ApiError, NotSentError
from vllm_operator.kube.kinds import CHILD_KINDS
from vllm_operator.kube.managed_fields import AUTOSCALER_MANAGER, SCALED_BY
from vllm_operator.kube.manifest import Manifest
from vllm_operator.kube.types import Object


@dataclass(frozen=True)
class Written:
    """The operator wrote the child."""


@dataclass(frozen=True)
class Unchanged:
    """The child needs no write, or is being deleted."""


@dataclass(frozen=True)
class NameTaken:
    """Another owner's object has the name of the child."""

    problem: Problem


@dataclass(frozen=True)
class Refused:
    """The API server refuses the child: the same write cannot succeed later."""

    error: ApiError


@dataclass(frozen=True)
class KindGone:
    """The API server no longer serves the optional kind of the child, or its CRD is being deleted."""


@dataclass(frozen=True)
class OwnerGone:
    """The VLLMServer was deleted or replaced during its reconcile, so the operator wrote nothing for it."""


@dataclass(frozen=True)
class Failed:
    """The write failed, or the operator delays it: a later one may succeed."""

    error: ApiError


ChildResult: TypeAlias = Written | Unchanged | NameTaken | Refused | KindGone | OwnerGone | Failed


class RepairLimitError(NotSentError):
    """Another writer changes or deletes a child again and again, so its next repair has to wait.

    Args:
        manifest: the manifest of the child.
        live: the child; None after it was deleted.
        delay: seconds until its next repair.
    """

    def __init__(self, manifest: Manifest, live: Object | None, delay: float) -> None:
        message = f"{_conflict(manifest, live)}: repaired again in {delay:.0f} s"
        super().__init__("RepairLimit", message, retry_after=delay)


@dataclass(frozen=True)
class ApplyResult:
    """The result of applying all children of a server.

    Attributes:
        problems: refusals and taken names.
        written: kinds that the operator wrote.
        edited_concurrently: kinds that another writer changed during our apply. Our response already contains that
            change, so its watch event is ignored, and the server must be requeued.
        monitoring_problems: refusals and taken names of monitoring objects, which block nothing.
        scaling_problems: refusals and taken names of the ScaledObject.
        conflicts: a message for each child that another writer keeps changing or deleting.
        admission_changes: the changes that admission made to the children.
        kinds_gone: optional kinds that the API server no longer serves, or whose CRD is being deleted.
        failure: an error for which a retry may help. The other attributes are then those of the last result without a
            failure: refusals that it reported still hold.
        owner_gone: the server was deleted or replaced during its reconcile.
    """

    problems: tuple[Problem, ...] = ()
    written: tuple[str, ...] = ()
    edited_concurrently: tuple[str, ...] = ()
    monitoring_problems: tuple[Problem, ...] = ()
    scaling_problems: tuple[Problem, ...] = ()
    conflicts: tuple[str, ...] = ()
    admission_changes: AdmissionChanges = field(default_factory=AdmissionChanges)
    kinds_gone: tuple[str, ...] = ()
    failure: ApiError | None = None
    owner_gone: bool = False

    @property
    def needs_recheck(self) -> bool:
        """True when a child is refused, in conflict or invisible to the watches: the server is requeued soon."""
        refused = self.problems or self.monitoring_problems or self.scaling_problems or self.kinds_gone
        return bool(refused or self.conflicts or self.admission_changes.unlabelled)


def result_of_error(manifest: Manifest, error: ApiError) -> ChildResult:
    """Return the result of a write that ended with an error."""
    if error.is_refusal:
        return Refused(error)
    if error.is_kind_gone and CHILD_KINDS[manifest.kind].optional:
        return KindGone()
    return Failed(error)


def name_taken_problem(manifest: Manifest) -> Problem:
    """Return the problem of a child whose name belongs to another owner's object."""
    return Problem(
        "NameTaken",
        f"metadata.name: a {manifest.kind} named {manifest.name} exists and is not this server's: "
        "delete or rename it, or choose another name for the server",
    )


def refusal_problem(manifest: Manifest, error: ApiError) -> Problem:
    """Return the problem of a child that the API server refuses, with the field of the spec and its message."""
    field = spec_field_for(manifest.kind, error.message)
    return Problem(
        "ChildRefused",
        f"{field}: the API server refuses {manifest.kind} {manifest.name}: {error.message[:MAX_MESSAGE_LENGTH]}",
    )


def conflict_note(manifest: Manifest, live: Object | None) -> str:
    """Return the message about a child that another writer keeps changing or deleting, with the remedy."""
    if live and AUTOSCALER_MANAGER in (live["metadata"].get(SCALED_BY) or ()):
        return (
            f"an autoscaler keeps changing the replicas of {manifest.kind} {manifest.name}, and the operator undoes it "
            "each time: delete that HorizontalPodAutoscaler, or set spec.autoscaling"
        )
    conflict = _conflict(manifest, live)
    return f"{conflict}, and the operator undoes it each time: change the VLLMServer instead, or stop that writer"


def _conflict(manifest: Manifest, live: Object | None) -> str:
    """Return who keeps changing or deleting a child."""
    metadata = live["metadata"] if live else {}
    editors = {entry.get("manager", "?") for entry in metadata.get("managedFields") or ()}
    others = (editors | set(metadata.get(SCALED_BY) or ())) - {MANAGER}
    writers, verb = ", ".join(sorted(others)) or "someone", "changing" if live else "deleting"
    return f"{writers} keeps {verb} {manifest.kind} {manifest.name}"
