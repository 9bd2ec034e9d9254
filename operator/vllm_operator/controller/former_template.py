"""Keep the pod template of a Deployment that an older operator applied, until the spec changes it.

A new template replaces every pod. An upgrade of the operator alone must not do that, so a server from before the
draining middleware gets it with the next change of its pods.
"""

from __future__ import annotations

from collections.abc import Callable

from vllm_operator.apply.drift import matches
from vllm_operator.apply.write_history import was_applied_from
from vllm_operator.desired.drain import has_drain
from vllm_operator.desired.state import DesiredState
from vllm_operator.kube.fields import get
from vllm_operator.kube.kinds import DEPLOYMENT
from vllm_operator.kube.manifest import Manifest
from vllm_operator.kube.types import Object


def lacks_drain(deployment: Object | None) -> bool:
    """Return whether there is a live Deployment whose pods do not drain by the middleware."""
    return deployment is not None and not has_drain(deployment)


def former_state(
    desired: DesiredState, deployment: Object | None, without_drain: Callable[[], DesiredState]
) -> DesiredState | None:
    """Return the desired state that keeps the pods of an older operator; None where they change anyway, or drain.

    Args:
        desired: the desired state of the spec.
        deployment: the live Deployment; None while it does not exist.
        without_drain: returns the desired state of the same spec without the middleware.
    """
    if not desired.drains or deployment is None or not lacks_drain(deployment):
        return None
    former = without_drain()
    return former if has_template_of(deployment, former.manifests) else None


def has_template_of(deployment: Object, manifests: tuple[Manifest, ...]) -> bool:
    """Return whether the pods of a live Deployment are those of its manifest, whatever else differs."""
    manifest = next((one for one in manifests if one.kind == DEPLOYMENT.name), None)
    if manifest is None:
        return False
    if was_applied_from(deployment, manifest):
        return True
    return matches(manifest.body["spec"]["template"], get(deployment, "spec", "template"), "template")
