"""Hold a change of the pods of a single replica back until it is idle: while it is replaced, nothing serves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from vllm_operator.apply.drift import matches
from vllm_operator.apply.rollback import with_body
from vllm_operator.controller.server_state import ServerState
from vllm_operator.desired.state import DesiredState
from vllm_operator.informers.snapshot import Snapshot
from vllm_operator.kube.fields import get, get_int
from vllm_operator.kube.kinds import DEPLOYMENT
from vllm_operator.kube.manifest import Manifest
from vllm_operator.kube.types import Object


def held_until_idle(
    state: ServerState, snapshot: Snapshot, desired: DesiredState, loads: Mapping[str, float], now: datetime
) -> DesiredState:
    """Return the desired state with the pods that run now, while their change waits.

    The change waits as long as the replica runs requests, or its load is unknown, and `waitForIdleSeconds` at most. An
    operator that starts again begins to count again.

    Args:
        state: the state of the server, which keeps since when the change waits.
        snapshot: the objects of the server.
        desired: its desired state.
        loads: pod name -> requests that run or wait in it.
        now: the present time.
    """
    deployment, seconds = snapshot.deployment, desired.server.wait_for_idle
    if seconds is None or deployment is None or not _must_wait(deployment, desired, snapshot, loads):
        state.held_since = None
        return desired
    state.held_since = min(state.held_since or now, now)
    if (now - state.held_since).total_seconds() >= seconds:
        return desired
    manifests = tuple(_with_live_pods(one, deployment) if _is_deployment(one) else one for one in desired.manifests)
    return replace(desired, manifests=manifests, is_held=True)


def _must_wait(deployment: Object, desired: DesiredState, snapshot: Snapshot, loads: Mapping[str, float]) -> bool:
    """Return whether a single replica that serves would be replaced while it is busy."""
    wanted = next((one.body["spec"]["template"] for one in desired.manifests if _is_deployment(one)), None)
    is_single = get_int(deployment, "spec", "replicas") == 1 and desired.server.replicas in {None, 1}
    serves = get_int(deployment, "status", "availableReplicas") == 1
    if wanted is None or not is_single or not serves:
        return False
    if matches(wanted, get(deployment, "spec", "template"), "template"):
        return False
    names = [pod["metadata"]["name"] for pod in snapshot.pods]
    return any(loads.get(name, 1.0) > 0 for name in names)


def _is_deployment(manifest: Manifest) -> bool:
    return manifest.kind == DEPLOYMENT.name


def _with_live_pods(manifest: Manifest, deployment: Object) -> Manifest:
    """Return the manifest with the pod template of the live Deployment."""
    body = manifest.body
    body["spec"]["template"] = get(deployment, "spec", "template")
    return with_body(manifest, body)
