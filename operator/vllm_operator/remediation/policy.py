"""Decide which stalled replica's pod the operator deletes now, and if none, why not. Pure; uses the assessment alone.

A wrong deletion removes a working replica, so every rule here is a reason to wait. The status keeps the count of the
deletions (`stalledRestarts`): it survives a restart of the operator, and the operator writes it before the deletion.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from vllm_operator.kube.fields import format_timestamp, get_str, parse_time
from vllm_operator.kube.ownership import is_replica_of
from vllm_operator.remediation.fleet import FleetHealth
from vllm_operator.status.assessment import Assessment
from vllm_operator.status.inputs import StatusInputs
from vllm_operator.status.replicas.engine_states import ENGINE_STALLED
from vllm_operator.status.replicas.replica import Replica

STALLED_SECONDS = 60.0
"""Seconds for which a replica must have been `Stalled`: one that recovers by itself within them keeps its pod."""

PER_HOUR = 3
HOUR_SECONDS = 3600.0
BACKOFF_SECONDS = 60.0
"""Seconds between the first deletion within an hour and the second; doubled after each further one."""

RECHECK_SECONDS = 30.0
"""Seconds until the next decision where no watch event reports that the reason has gone."""

CLOCK_SLACK_SECONDS = 30.0
"""Seconds by which two clocks may differ: the API server sets a pod's times, the operator those of its deletions."""

GRACE_SECONDS = 10
"""Grace period of the deletion in seconds. The preStop hook takes 8 s, in which the pod leaves the endpoints. A stalled
engine finishes no request, so the kubelet would otherwise wait for the whole drain timeout."""

FEW_REPLICAS = 3
"""Number of unresponsive replicas up to which the operator treats them as separate failures, not as a cut network."""

FEW_NAMESPACES = 1
"""Number of other namespaces that may be affected by their own tenants' doing: one tenant must not stop another one."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The decision about the stalled replicas of one server.

    Attributes:
        delete: the replica whose pod the operator deletes now; None when it waits, or no replica is stalled.
        note: what the operator does, or why it waits, for the status; empty when no replica is stalled.
        requeue_after: seconds until the next decision; None where a watch event triggers it.
    """

    delete: Replica | None = None
    note: str = ""
    requeue_after: float | None = None


@dataclass(frozen=True, slots=True)
class RemediationCase:
    """A stalled replica, and everything that the blockers consider.

    Attributes:
        restarts: times of the deletions within the last hour, oldest first.
    """

    replica: Replica
    assessment: Assessment
    fleet: FleetHealth
    restarts: tuple[datetime, ...]

    @property
    def inputs(self) -> StatusInputs:
        """The status inputs of the server."""
        return self.assessment.inputs

    def seconds_since(self, moment: datetime | None) -> float:
        """Return the seconds since a moment; 0 when the moment is unknown."""
        return (self.inputs.now - moment).total_seconds() if moment else 0.0


Blocker = tuple[str, float | None]
"""Reason why the operator does not delete the pod, and the seconds until the next decision."""


def decide(assessment: Assessment, fleet: FleetHealth) -> Decision:
    """Decide about the replica of a server that has been stalled for longest."""
    stalled = sorted(
        (replica for replica in assessment.replicas if replica.reason == ENGINE_STALLED),
        key=lambda replica: (replica.since, replica.pod),
    )
    if not stalled:
        return Decision()
    case = RemediationCase(stalled[0], assessment, fleet, recent_restarts(assessment.inputs))
    for blocker in BLOCKERS:
        if (found := blocker(case)) is not None:
            reason, requeue_after = found
            return Decision(note=f"the operator does not delete the pod: {reason}", requeue_after=requeue_after)
    return Decision(stalled[0], "the operator deletes the pod")


def has_stalled_replica(assessment: Assessment) -> bool:
    """Return whether there is anything to decide."""
    return any(replica.reason == ENGINE_STALLED for replica in assessment.replicas)


def with_decision(assessment: Assessment, decision: Decision) -> Assessment:
    """Return the assessment with the note of a decision, and with its deletion counted in `stalledRestarts`."""
    inputs = replace(assessment.inputs, remediation_note=decision.note)
    if decision.delete is not None:
        moments = (*recent_restarts(inputs), inputs.now)
        inputs = replace(inputs, stalled_restarts=tuple(format_timestamp(moment) for moment in moments))
    return replace(assessment, inputs=inputs)


def recent_restarts(inputs: StatusInputs) -> tuple[datetime, ...]:
    """Return when the operator deleted pods of stalled replicas within the last hour, oldest first."""
    oldest = inputs.now - timedelta(seconds=HOUR_SECONDS)
    moments = (parse_time(stamp) for stamp in inputs.stalled_restarts)
    return tuple(sorted(moment for moment in moments if moment and moment > oldest))


def server_paused(case: RemediationCase) -> Blocker | None:
    """Wait while the user pauses the server."""
    return ("spec.paused is true", None) if case.inputs.paused else None


def not_owned(case: RemediationCase) -> Blocker | None:
    """Leave a pod alone that the server's Deployment does not own, whatever labels it has: nothing would replace it.

    The snapshot leaves such pods out already. A wrong deletion is dear enough for a second check.
    """
    pod = next((pod for pod in case.inputs.snapshot.pods if get_str(pod, "metadata", "name") == case.replica.pod), None)
    deployment = get_str(case.inputs.snapshot.deployment, "metadata", "name")
    if pod is not None and is_replica_of(pod, deployment):
        return None
    return "the server's Deployment does not own it, so nothing would replace it", None


def not_confirmed(case: RemediationCase) -> Blocker | None:
    """Wait until this process itself has probed the replica: the result of a former process is not enough."""
    health = case.inputs.health.get(case.replica.pod)
    return (
        None
        if health and health.reason == "Stalled" and not health.from_status
        else ("this operator process has not probed it yet", None)
    )


def stalled_briefly(case: RemediationCase) -> Blocker | None:
    """Wait for `STALLED_SECONDS`, in which the engine may recover by itself."""
    left = STALLED_SECONDS - case.seconds_since(parse_time(case.replica.since))
    return (f"not before the engine has been stalled for {STALLED_SECONDS:g} s", left) if left > 0 else None


def most_replicas_affected(case: RemediationCase) -> Blocker | None:
    """Wait when most replicas of several servers fail at once: the operator or the network is likelier at fault.

    The replicas of the server's own namespace count, or the other namespaces, each once.
    """
    fleet = case.fleet
    own = fleet.unresponsive > FEW_REPLICAS and fleet.servers > 1 and 2 * fleet.unresponsive > fleet.probed
    others = fleet.affected_namespaces > FEW_NAMESPACES and 2 * fleet.affected_namespaces > fleet.namespaces
    if not own and not others:
        return None
    reason = "most replicas of all servers are stalled or silent at once"
    return f"{reason}, so the cause may be the network or the operator itself", RECHECK_SECONDS


def other_replica_unreachable(case: RemediationCase) -> Blocker | None:
    """Wait while another replica is `Unknown`: that points to a cut network."""
    silent = next((replica for replica in case.assessment.replicas if replica.phase == "Unknown"), None)
    return (f"{silent.pod} does not answer at all, so the network may be interrupted", None) if silent else None


def rolling_out(case: RemediationCase) -> Blocker | None:
    """Wait while a rollout goes on and no replica serves: it replaces the pod itself, and keeps the last ready one."""
    assessment = case.assessment
    rollout = assessment.rollout
    if assessment.serving or not rollout.exists or rollout.complete or assessment.is_stuck:
        return None
    return "a rollout is under way and no other replica serves", None


def deletions_exhausted(case: RemediationCase) -> Blocker | None:
    """Wait after `PER_HOUR` deletions within an hour: a restart does not help an engine that stalls again each time."""
    if len(case.restarts) < PER_HOUR:
        return None
    reason = f"it deleted {PER_HOUR} pods within an hour and engines stalled again, so a restart is no remedy"
    return reason, HOUR_SECONDS - case.seconds_since(case.restarts[-PER_HOUR])


def one_at_a_time(case: RemediationCase) -> Blocker | None:
    """Wait until the pod that replaces the last deleted one serves."""
    if not case.restarts:
        return None
    begun = case.restarts[-1] - timedelta(seconds=CLOCK_SLACK_SECONDS)
    created = {
        get_str(pod, "metadata", "name"): get_str(pod, "metadata", "creationTimestamp")
        for pod in case.inputs.snapshot.pods
    }
    for replica in case.assessment.replicas:
        moment = parse_time(created.get(replica.pod, ""))
        is_new = moment is not None and moment >= begun
        if replica.phase == "Draining" or (is_new and not replica.serving and replica.reason != ENGINE_STALLED):
            return f"{replica.pod} terminates or starts", None
    return None


def backing_off(case: RemediationCase) -> Blocker | None:
    """Wait after a deletion, for twice as long with each further one within an hour."""
    if not case.restarts:
        return None
    delay = BACKOFF_SECONDS * 2 ** (len(case.restarts) - 1)
    left = delay - case.seconds_since(case.restarts[-1])
    return (f"it deleted the last one less than {delay:g} s ago", left) if left > 0 else None


BLOCKERS: tuple[Callable[[RemediationCase], Blocker | None], ...] = (
    server_paused,  # the user wants no change
    not_owned,  # nothing would replace the pod
    stalled_briefly,  # it may recover by itself
    most_replicas_affected,  # the operator or the network may be at fault
    other_replica_unreachable,  # the network may be cut
    rolling_out,  # the rollout replaces the pod
    deletions_exhausted,  # a restart does not help
    one_at_a_time,  # the last replacement must serve first
    backing_off,  # time for the last replacement
    not_confirmed,  # last: it differs between processes, so a new leader still reports the reasons above
)
"""In order: the first blocker that applies decides, and the status reports it."""
