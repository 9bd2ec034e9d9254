"""What comes of writing children: refusals, taken names, and failures that may pass."""

from __future__ import annotations

from dataclasses import dataclass, field

from vllm_operator.api.names import MANAGER
from vllm_operator.api.problem import Problem
from vllm_operator.apply.admission_changes import AdmissionChanges
from vllm_operator.apply.owner import Owner
from vllm_operator.apply.spec_field_of import origin
from vllm_operator.errors import ApiError
from vllm_operator.kube.kinds import CHILD_KINDS
from vllm_operator.kube.managed_fields import AUTOSCALER_MANAGER, SCALED_BY
from vllm_operator.kube.manifest import Manifest
from vllm_operator.kube.types import Object


class OwnerGoneError(ApiError):
    """The VLLMServer was deleted or replaced during the pass."""

    def __init__(self, server: Owner) -> None:
        super().__init__(None, "OwnerGone", f"{server.key} is gone")


class ContestedError(ApiError):
    """Someone else changes or deletes a child again and again: it is left for a while."""

    def __init__(self, manifest: Manifest, live: Object | None, pause: float) -> None:
        message = f"{fight(manifest, live)}: repaired again in {pause:.0f} s"
        super().__init__(None, "Contested", message, retry_after=pause)


def fight(manifest: Manifest, live: Object | None) -> str:
    """Who keeps changing or deleting a child."""
    metadata = live["metadata"] if live else {}
    edits = {entry.get("manager", "?") for entry in metadata.get("managedFields") or ()}
    others = (edits | set(metadata.get(SCALED_BY) or ())) - {MANAGER}
    whom, what = ", ".join(sorted(others)) or "someone", "changing" if live else "deleting"
    return f"{whom} keeps {what} {manifest.kind} {manifest.name}"


def fight_note(manifest: Manifest, live: Object | None) -> str:
    """The same for the user, with the way out."""
    if live and AUTOSCALER_MANAGER in (live["metadata"].get(SCALED_BY) or ()):
        return (
            f"an autoscaler keeps changing the replicas of {manifest.kind} {manifest.name}, which are put back each "
            "time: delete that HorizontalPodAutoscaler, or set spec.autoscaling"
        )
    return f"{fight(manifest, live)}, which is undone each time: change the VLLMServer, or have them leave it alone"


@dataclass(frozen=True)
class ApplyResult:
    """What came of a pass over the children.

    Attributes:
        problems: refusals and taken names.
        written: kinds that were written.
        edited_concurrently: kinds that another writer changed during our apply. Our response already contains that
            change, so its watch event is ignored, and the server must be requeued.
        monitoring_refusals: refusals of optional kinds, which block nothing.
        conflicts: who keeps changing or deleting which child.
        admission_changes: what admission made of the children.
        kinds_gone: optional kinds that the API server no longer serves, or whose CRD is being deleted.
        failure: why the pass did not go through, when that may pass.
        owner_gone: whether the server was deleted or replaced during the pass.
    """

    problems: tuple[Problem, ...] = ()
    written: tuple[str, ...] = ()
    edited_concurrently: tuple[str, ...] = ()
    monitoring_refusals: tuple[Problem, ...] = ()
    conflicts: tuple[str, ...] = ()
    admission_changes: AdmissionChanges = field(default_factory=AdmissionChanges)
    kinds_gone: tuple[str, ...] = ()
    failure: ApiError | None = None
    owner_gone: bool = False

    @property
    def needs_recheck(self) -> bool:
        """True when a child is refused, in conflict or invisible to the watches: the server is requeued soon."""
        refused = self.problems or self.monitoring_refusals or self.kinds_gone
        return bool(refused or self.conflicts or self.admission_changes.unlabelled)


def is_final(manifest: Manifest, error: BaseException) -> bool:
    """True for an answer that trying again at once cannot change: a refusal, or an optional kind that is gone."""
    if not isinstance(error, ApiError):
        return False
    return error.is_refusal or (error.is_kind_gone and CHILD_KINDS[manifest.kind].optional)


def name_taken(manifest: Manifest) -> Problem:
    """The name of a child belongs to someone else."""
    return Problem(
        "NameTaken",
        f"metadata.name: a {manifest.kind} named {manifest.name} exists and is not this server's: "
        "delete or rename it, or choose another name for the server",
    )


def refusal(manifest: Manifest, error: ApiError) -> Problem:
    """The API server refuses a child, in its own words."""
    field = origin(manifest.kind, error.message)
    return Problem(
        "ChildRefused",
        f"{field}: the API server refuses {manifest.kind} {manifest.name}: {error.message}",
    )
