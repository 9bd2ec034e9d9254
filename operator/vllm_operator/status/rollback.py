"""Decide whether a rollout fails, so that the operator takes it back."""

from __future__ import annotations

from vllm_operator.status.assessment import Assessment, describe


def rollout_failure(assessment: Assessment, service_failure: str = "") -> str:
    """Return why the replicas of the wanted revision fail; empty while they may still serve.

    A replica that crashed once may serve after its restart. One that crashes again and again, or that no retry can
    help, fails; so does a rollout that reaches its deadline, and one whose replicas serve worse than those before.

    Args:
        assessment: the judgement of the replicas and of the rollout.
        service_failure: why the wanted revision serves worse than the one before it, also when all replicas are new;
            empty while that is not certain.
    """
    rollout = assessment.rollout
    if not rollout.exists or not rollout.observed or not rollout.revision:
        return ""
    if rollout.complete or service_failure:
        return service_failure
    for replica in assessment.replicas:
        is_new = replica.revision == rollout.revision and not replica.ended
        if is_new and (replica.phase == "CrashLooping" or replica.permanent):
            return describe(replica)
    return "the rollout reached its deadline" if rollout.stuck else ""
