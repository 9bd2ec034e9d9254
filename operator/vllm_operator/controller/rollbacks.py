"""Take back the rollouts that fail, of the servers that ask for it."""

from __future__ import annotations

from dataclasses import replace

from vllm_operator.apply.rollback import with_rollback
from vllm_operator.controller.server_state import ServerState
from vllm_operator.desired.state import DesiredState
from vllm_operator.informers.snapshot import Snapshot
from vllm_operator.kube.kinds import DEPLOYMENT
from vllm_operator.status.assessment import Assessment
from vllm_operator.status.rollback import rollout_failure


def desired_with_rollback(state: ServerState, snapshot: Snapshot, desired: DesiredState) -> DesiredState:
    """Return the desired state with the pods that served last, where the new ones fail and the spec asks for that."""
    if not desired.server.auto_rollback:
        return desired
    manifests = tuple(
        with_rollback(one, snapshot.deployment, state.rollout_failure) if one.kind == DEPLOYMENT.name else one
        for one in desired.manifests
    )
    return replace(desired, manifests=manifests)


def must_roll_back(state: ServerState, desired: DesiredState, assessment: Assessment, service_failure: str) -> bool:
    """Record why a rollout fails; return True when the next reconcile is to take it back.

    Args:
        state: the state of the server.
        desired: its desired state.
        assessment: the judgement of its replicas and its rollout.
        service_failure: why the wanted revision serves worse than the one before; empty while that is not certain.
    """
    before, inputs = state.rollout_failure, assessment.inputs
    may_act = desired.server.auto_rollback and not inputs.rolled_back and not inputs.paused and not inputs.problems
    state.rollout_failure = rollout_failure(assessment, service_failure) if may_act else ""
    return bool(state.rollout_failure) and not before
