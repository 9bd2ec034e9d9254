"""All targets by name, and the rendering of one for a document of a file."""

from __future__ import annotations

from collections.abc import Mapping

from vllm_operator.api.server import VLLMServer
from vllm_operator.targets import cloud_run, compose, gke, karpenter, kubernetes, quadlet, sagemaker
from vllm_operator.targets.target import Manifests, Order, RenderedTarget, Target, TargetError, checked_settings

TARGETS: Mapping[str, Target] = {
    target.name: target
    for target in (
        compose.TARGET,
        quadlet.TARGET,
        kubernetes.TARGET,
        karpenter.TARGET,
        gke.TARGET_NODE_POOL,
        gke.TARGET_AUTOPILOT,
        sagemaker.TARGET,
        cloud_run.TARGET,
    )
}


def render_target(
    name: str,
    server: VLLMServer,
    manifests: Manifests,
    settings: Mapping[str, str] | None = None,
    replicas: int | None = None,
) -> RenderedTarget:
    """Return the files of a target for an accepted server.

    Args:
        name: name of the target.
        server: a server that API server and operator accept.
        manifests: the children that the operator would create for it.
        settings: values of the target's settings; examples stand for those that are not given.
        replicas: number of replicas instead of that of the spec.

    Raises:
        TargetError: an unknown target or setting, or the server cannot run there.
    """
    target = TARGETS.get(name)
    if target is None:
        raise TargetError("--target", f"{name[:80]!r} is unknown: use one of {', '.join(TARGETS)}")
    values, missing = checked_settings(target, settings or {})
    rendered = target.render(Order(server, manifests, values, replicas))
    return RenderedTarget(rendered.files, (*rendered.not_carried, *missing), rendered.steps)
