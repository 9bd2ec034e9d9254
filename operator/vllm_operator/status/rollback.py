"""Decide whether a rollout fails, so that the operator takes it back."""

from __future__ import annotations

from vllm_operator.status.assessment import Assessment, describe


def rollout_failure(assessment: Assessment) -> str:
    """Return why the replicas of the wanted revision fail; empty while they may still serve.

    A replica that crashed once may serve after its restart. One that crashes again and again, or that no retry can
    help, fails; so does a rollout that reaches its deadline.
    """
    rollout = assessment.rollout
    if not rollout.exists or not rollout.observed or rollout.complete or not rollout.revision:
        return ""
    for replica in assessment.replicas:
        is_new = replica.revision == rollout.revision and not replica.ended
        if is_new and (replica.phase == "CrashLooping" or replica.permanent):
            return describe(replica)
    return "the rollout reached its deadline" if rollout.stuck else ""
