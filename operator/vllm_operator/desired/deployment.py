"""The Deployment of the replicas."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from vllm_operator.api.names import CONTAINER, child_name, recommended_labels, selector_labels
from vllm_operator.api.server import VLLMServer
from vllm_operator.api.spec import Spec, managed_replicas
from vllm_operator.desired.accelerator import container_resources, device_count, node_selector, tolerations
from vllm_operator.desired.cache_volume import CACHE_ENV, CACHE_PATH, cache_volume
from vllm_operator.desired.drain import DrainPlan
from vllm_operator.desired.model_dump import dump_model, merge_patch
from vllm_operator.desired.rollout import PRE_STOP_SECONDS, RolloutPlan, rollout_plan
from vllm_operator.settings import is_ipv6_cluster
from vllm_operator.vllm.arguments import (
    API_KEY,
    HF_TOKEN,
    HOST_FLAG,
    PORT,
    container_arguments,
    engine_values,
    extra_flags,
)
from vllm_operator.vllm.model_source import MODEL_PATH, ResolvedModel, resolve_model
from vllm_operator.vllm.tracing import trace_environment

POD_SECURITY_CONTEXT: dict[str, Any] = {
    "runAsNonRoot": True,
    "runAsUser": 1000,
    "runAsGroup": 1000,
    "fsGroup": 1000,
    "fsGroupChangePolicy": "OnRootMismatch",
    "seccompProfile": {"type": "RuntimeDefault"},
}
CONTAINER_SECURITY_CONTEXT: dict[str, Any] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
}
"""Settings that the restricted Pod Security Standard requires."""

ASSIGNED_BY_NAMESPACE = frozenset({"runAsUser", "runAsGroup", "fsGroup", "fsGroupChangePolicy"})
"""Defaults that the profile openshift leaves out: its admission assigns them from the range of the namespace."""

CONNECTION_ENV = {"VLLM_HTTP_TIMEOUT_KEEP_ALIVE": "90"}
"""Seconds for which vLLM keeps an idle connection. With its default of 5 s nearly each probe would open a connection,
at twice the cost, and a gateway that keeps connections for the usual 60 s would meet closed ones."""


@dataclass(frozen=True)
class DeploymentPlan:
    """The values of `kubernetes/deployment.yaml.j2`; None leaves a field out."""

    name: str
    replicas: int | None
    rollout: RolloutPlan
    selector: dict[str, str]
    pod_labels: dict[str, str]
    pod_annotations: dict[str, str] | None
    container: str
    image: str
    image_pull_secrets: list[dict[str, Any]] | None
    command: tuple[str, ...] | None
    args: tuple[str, ...]
    env: list[dict[str, Any]]
    port: int
    resources: dict[str, Any]
    volume_mounts: list[dict[str, Any]]
    volumes: list[dict[str, Any]]
    pod_security_context: dict[str, Any]
    container_security_context: dict[str, Any]
    node_selector: dict[str, str] | None
    tolerations: list[dict[str, Any]] | None
    affinity: dict[str, Any] | None
    topology_spread_constraints: list[dict[str, Any]] | None
    priority_class_name: str | None
    runtime_class_name: str | None
    scheduler_name: str | None
    pre_stop: dict[str, Any]
    overlay: dict[str, Any] | None
    drain: DrainPlan | None


def deployment_plan(
    server: VLLMServer, pod_annotations: Mapping[str, str], drain: DrainPlan | None = None
) -> DeploymentPlan:
    """Return the Deployment of a server; its `replicas` is None while an autoscaler owns the number.

    Args:
        server: an accepted server.
        pod_annotations: annotations of its pods.
        drain: what its pods need to drain by themselves; None lets them pause before vLLM stops.

    Raises:
        InvalidSpecError: a number in extraArgs is invalid.
    """
    plan = _pausing_plan(server, pod_annotations)
    return _draining(plan, server.spec, drain) if drain else plan


def _draining(plan: DeploymentPlan, spec: Spec, drain: DrainPlan) -> DeploymentPlan:
    """Return the plan with all that its pods need to drain."""
    own = {variable.name for variable in spec.engine.env}
    return replace(
        plan,
        rollout=rollout_plan(spec, drains=True),
        pod_annotations={**(plan.pod_annotations or {}), **drain.annotations},
        args=(*plan.args, *drain.arguments),
        env=[*(item for item in drain.env if item["name"] not in own), *plan.env],
        volume_mounts=[*plan.volume_mounts, drain.mount],
        volumes=[*plan.volumes, drain.volume],
        pre_stop=drain.pre_stop,
        drain=drain,
    )


def _pausing_plan(server: VLLMServer, pod_annotations: Mapping[str, str]) -> DeploymentPlan:
    """Return the Deployment whose pods pause before vLLM stops."""
    spec, scheduling, security = server.spec, server.spec.scheduling, server.spec.security
    model, values = resolve_model(spec.model), engine_values(spec)
    devices = device_count(spec, values)
    return DeploymentPlan(
        name=child_name(server.name),
        replicas=managed_replicas(spec, server.bounds),
        rollout=rollout_plan(spec),
        selector=selector_labels(server.name),
        pod_labels=recommended_labels(server.name),
        pod_annotations=dict(pod_annotations) or None,
        container=CONTAINER,
        image=spec.image,
        image_pull_secrets=dump_model(spec.image_pull_secrets) or None,
        command=tuple(spec.engine.command or ()) or None,
        args=(*container_arguments(spec, model), *_host_arguments(spec)),
        env=_environment(server),
        port=PORT,
        resources=container_resources(spec, devices),
        volume_mounts=_volume_mounts(model),
        volumes=_volumes(server, model),
        pod_security_context=merge_patch(_pod_context(security.profile), security.pod_security_context),
        container_security_context=merge_patch(CONTAINER_SECURITY_CONTEXT, security.container_security_context),
        node_selector=node_selector(spec) or None,
        tolerations=tolerations(spec, devices) or None,
        affinity=scheduling.affinity,
        topology_spread_constraints=_spread(server) or None,
        priority_class_name=scheduling.priority_class_name or None,
        runtime_class_name=scheduling.runtime_class_name or None,
        scheduler_name=scheduling.scheduler_name or None,
        pre_stop={"sleep": {"seconds": PRE_STOP_SECONDS}},
        overlay=spec.pod_template,
        drain=None,
    )


def _host_arguments(spec: Spec) -> tuple[str, ...]:
    """Return the address to listen on, for pods whose first address is IPv6: without it, vLLM binds IPv4 alone.

    `::` takes IPv4 connections too.
    """
    families = spec.service.spec.ip_families if spec.service.spec else None
    is_ipv6 = families[0] == "IPv6" if families else is_ipv6_cluster()
    if not is_ipv6 or any(flag.name == HOST_FLAG for flag in extra_flags(spec)):
        return ()
    return (f"{HOST_FLAG}=::",)


def _pod_context(profile: str) -> dict[str, Any]:
    left_out = ASSIGNED_BY_NAMESPACE if profile == "openshift" else frozenset()
    return {name: value for name, value in POD_SECURITY_CONTEXT.items() if name not in left_out}


def _environment(server: VLLMServer) -> list[dict[str, Any]]:
    """Return the variables: cache, connection, tracing, Secrets by reference, and those of the spec, which win."""
    spec, defaults = server.spec, CACHE_ENV | CONNECTION_ENV | trace_environment(server)
    env: dict[str, dict[str, Any]] = {name: {"name": name, "value": value} for name, value in defaults.items()}
    secrets = {HF_TOKEN: spec.model.token_secret_ref, API_KEY: spec.security.api_key_secret_ref}
    for name, reference in secrets.items():
        if reference is not None:
            env[name] = {"name": name, "valueFrom": {"secretKeyRef": dump_model(reference)}}
    own: list[dict[str, Any]] = dump_model(spec.engine.env)
    # Those of the spec keep their order: `$(NAME)` refers to a variable that comes before.
    replaced = {item["name"] for item in own}
    return [item for name, item in env.items() if name not in replaced] + own


def _volumes(server: VLLMServer, model: ResolvedModel) -> list[dict[str, Any]]:
    shm = {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": server.spec.shared_memory}}
    volumes = [cache_volume(server), shm]
    if model.claim:
        volumes.append({"name": "model", "persistentVolumeClaim": {"claimName": model.claim, "readOnly": True}})
    return volumes


def _volume_mounts(model: ResolvedModel) -> list[dict[str, Any]]:
    mounts: list[dict[str, Any]] = [
        {"name": "model-cache", "mountPath": CACHE_PATH},
        {"name": "shm", "mountPath": "/dev/shm"},
    ]
    if model.claim:
        mounts.append({"name": "model", "mountPath": MODEL_PATH, "readOnly": True})
    return mounts


def _spread(server: VLLMServer) -> list[dict[str, Any]]:
    """Return the spread constraints of the spec, with a selector where they have none; else a spread over nodes."""
    selector = {"matchLabels": selector_labels(server.name)}
    constraints = server.spec.scheduling.topology_spread_constraints
    if constraints is not None:
        return [{"labelSelector": selector, **item} for item in dump_model(constraints)]
    default = {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}
    # Without the pod-template hash, old pods would count while a rollout replaces them.
    return [{**default, "labelSelector": selector, "matchLabelKeys": ["pod-template-hash"]}]
