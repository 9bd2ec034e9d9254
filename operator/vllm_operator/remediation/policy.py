"""Which frozen replica's pod may be deleted now, and if none, why not: pure, from the same facts as the status.

A deletion is wrong when the operator errs, so every rule here is a reason to wait. The status itself keeps count of the
deletions (`stalledRestarts`): it outlives the operator, and is written before the pod is deleted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from vllm_operator.kube.fields import get_list, get_str, parse_time, timestamp
from vllm_operator.status.assessment import Assessment, view
from vllm_operator.status.inputs import StatusInputs
from vllm_operator.status.replicas.engine_states import ENGINE_STALLED
from vllm_operator.status.replicas.replica import Replica

FROZEN_SECONDS = 60.0
"""How long a replica must have been `Stalled`: what goes on by itself until then keeps its pod."""

PER_HOUR = 3
HOUR_SECONDS = 3600.0
BACK_OFF_SECONDS = 60.0
"""Pause after the first deletion within an hour; twice as long after each further one."""

AGAIN_SECONDS = 30.0
"""When to look again where no event tells that the reason has gone."""

CLOCK_SLACK_SECONDS = 30.0
"""The pod's times are the API server's, those of the deletions the operator's."""

GRACE_SECONDS = 10
"""Grace period of the deletion: the preStop pause takes 8 s, in which the pod leaves the endpoints. A frozen engine
drains nothing, and would be waited for until the whole drain timeout is over."""

FEW_REPLICAS = 3
"""So many frozen replicas may be a coincidence, even where there are no others."""


@dataclass(frozen=True, slots=True)
class FleetHealth:
    """What the operator sees of all servers.

    Attributes:
        asked: replicas that it asks.
        troubled: those of them that are frozen or give no answer.
        servers: servers that these belong to.
    """

    asked: int = 0
    troubled: int = 0
    servers: int = 0


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done about frozen replicas.

    Attributes:
        delete: the replica whose pod is to be deleted now.
        words: what the operator will do, or why it does not; empty when no replica is frozen.
        again: seconds after which to decide again, where no event will ask for it.
    """

    delete: Replica | None = None
    words: str = ""
    again: float | None = None


@dataclass(frozen=True, slots=True)
class RemediationCase:
    """A frozen replica, and all that speaks for and against deleting its pod."""

    replica: Replica
    seen: Assessment
    everywhere: FleetHealth
    restarts: tuple[datetime, ...]

    @property
    def facts(self) -> StatusInputs:
        """What is known of the server."""
        return self.seen.facts

    def since(self, moment: datetime | None) -> float:
        """Seconds since a moment; none have passed when nobody knows it."""
        return (self.facts.now - moment).total_seconds() if moment else 0.0


Hold = tuple[str, float | None]
"""Why a pod is not deleted, and when to look again."""


def decide(facts: StatusInputs, everywhere: FleetHealth) -> Decision:
    """Decide about the replica of a server that has been frozen for longest."""
    seen = view(facts)
    frozen = sorted(
        (one for one in seen.replicas if one.reason == ENGINE_STALLED), key=lambda one: (one.since, one.pod)
    )
    if not frozen:
        return Decision()
    case = RemediationCase(frozen[0], seen, everywhere, recent_restarts(facts))
    for hold in HOLDS:
        if (found := hold(case)) is not None:
            words, again = found
            return Decision(words=f"the operator does not delete the pod: {words}", again=again)
    return Decision(frozen[0], "the operator deletes the pod")


def recent_restarts(facts: StatusInputs) -> tuple[datetime, ...]:
    """When the operator deleted pods of frozen replicas within the last hour, oldest first."""
    oldest = facts.now - timedelta(seconds=HOUR_SECONDS)
    moments = (parse_time(stamp) for stamp in facts.restarts)
    return tuple(sorted(moment for moment in moments if moment and moment > oldest))


def with_restart(facts: StatusInputs) -> tuple[str, ...]:
    """`stalledRestarts` after one more deletion; those that no longer count are dropped."""
    return tuple(timestamp(moment) for moment in (*recent_restarts(facts), facts.now))


def paused(case: RemediationCase) -> Hold | None:
    """The user wants nothing to be changed."""
    return ("spec.paused is true", None) if case.facts.paused else None


def unowned(case: RemediationCase) -> Hold | None:
    """A pod that is not of our Deployment is not ours, whatever labels it has, and nothing may take its place.

    The Deployment controller names a ReplicaSet after its Deployment and its `pod-template-hash`.
    """
    pod = next((pod for pod in case.facts.observed.pods if get_str(pod, "metadata", "name") == case.replica.pod), None)
    deployment = get_str(case.facts.observed.deployment, "metadata", "name")
    ours = f"{deployment}-{get_str(pod, 'metadata', 'labels', 'pod-template-hash')}"
    owners = get_list(pod, "metadata", "ownerReferences")
    if any(get_str(owner, "kind") == "ReplicaSet" and get_str(owner, "name") == ours for owner in owners):
        return None
    return "it is not of the server's Deployment, so no other may take its place", None


def not_asked(case: RemediationCase) -> Hold | None:
    """What a former process of the operator saw is no ground to delete anything."""
    health = case.facts.health.get(case.replica.pod)
    return (
        None if health and health.reason == "Stalled" and not health.from_status else ("it is being asked again", None)
    )


def just_frozen(case: RemediationCase) -> Hold | None:
    """It may go on by itself."""
    left = FROZEN_SECONDS - case.since(parse_time(case.replica.since))
    return (f"not before it has been frozen for {FROZEN_SECONDS:g} s", left) if left > 0 else None


def suspect_ourselves(case: RemediationCase) -> Hold | None:
    """When most replicas of several servers fail at once, the one who asks is likelier at fault than all of them."""
    of = case.everywhere
    if of.troubled <= FEW_REPLICAS or of.servers < 2 or 2 * of.troubled <= of.asked:
        return None
    words = "most replicas of all servers are frozen or silent at once, so it may be the network or the operator itself"
    return words, AGAIN_SECONDS


def unreachable(case: RemediationCase) -> Hold | None:
    """A replica that gives no answer at all speaks for a network that is cut."""
    silent = next((one for one in case.seen.replicas if one.phase == "Unknown"), None)
    return (f"{silent.pod} does not answer at all, so the network may be cut", None) if silent else None


def rolling_out(case: RemediationCase) -> Hold | None:
    """A rollout that goes on replaces the pod by itself; until then nothing is taken from the last that is ready."""
    seen = case.seen
    if seen.serving or not seen.rollout.exists or seen.rollout.complete or seen.stuck:
        return None
    return "a rollout is under way and no other replica serves", None


def budget(case: RemediationCase) -> Hold | None:
    """What comes back again and again is cured by no restart."""
    if len(case.restarts) < PER_HOUR:
        return None
    words = f"{PER_HOUR} pods were deleted within an hour and froze again, so a restart cures nothing"
    return words, HOUR_SECONDS - case.since(case.restarts[-PER_HOUR])


def one_at_a_time(case: RemediationCase) -> Hold | None:
    """The pod that takes the place of the last one that was deleted must serve first."""
    if not case.restarts:
        return None
    begun = case.restarts[-1] - timedelta(seconds=CLOCK_SLACK_SECONDS)
    ages = {
        get_str(pod, "metadata", "name"): get_str(pod, "metadata", "creationTimestamp")
        for pod in case.facts.observed.pods
    }
    for replica in case.seen.replicas:
        born = parse_time(ages.get(replica.pod, ""))
        fresh = born is not None and born >= begun
        if replica.phase == "Draining" or (fresh and not replica.serving and replica.reason != ENGINE_STALLED):
            return f"{replica.pod} is being replaced or starts", None
    return None


def back_off(case: RemediationCase) -> Hold | None:
    """Each deletion within an hour makes the next one wait for longer."""
    if not case.restarts:
        return None
    pause = BACK_OFF_SECONDS * 2 ** (len(case.restarts) - 1)
    left = pause - case.since(case.restarts[-1])
    return (f"the last one was deleted less than {pause:g} s ago", left) if left > 0 else None


HOLDS: tuple[Callable[[RemediationCase], Hold | None], ...] = (
    paused,
    unowned,
    just_frozen,
    suspect_ourselves,
    unreachable,
    rolling_out,
    budget,
    one_at_a_time,
    back_off,
    not_asked,
)
"""In the order in which they are told; the first that speaks decides. What only this process knows comes last, so that
its successor tells the same."""
