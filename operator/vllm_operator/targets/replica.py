"""One replica as the operator would run it, read from the rendered Deployment: image, arguments, variables, resources.

Targets without Kubernetes are rendered from it, so that the Deployment stays the only source of arguments and
variables, `spec.podTemplate` included.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from vllm_operator.api.names import CONTAINER
from vllm_operator.desired.cache_volume import CACHE_PATH
from vllm_operator.desired.rollout import STOP_MARGIN_SECONDS, rollout_plan
from vllm_operator.kube.quantity import parse_quantity
from vllm_operator.targets.target import NotCarried, Order
from vllm_operator.vllm.arguments import PORT
from vllm_operator.vllm.expansion import expand, references
from vllm_operator.vllm.model_source import MODEL_PATH

KNOWN_VOLUMES = frozenset({"model-cache", "shm", "model"})
"""Volumes of the Deployment that each target carries over in its own way."""

KNOWN_FIELDS = frozenset(
    {
        "name",
        "image",
        "command",
        "args",
        "env",
        "ports",
        "resources",
        "securityContext",
        "terminationMessagePolicy",
        "startupProbe",
        "readinessProbe",
        "livenessProbe",
        "lifecycle",
        "volumeMounts",
    }
)
"""Fields of the container that the operator sets; others come from `spec.podTemplate`."""


@dataclass(frozen=True)
class SecretVariable:
    """A variable whose value is in a Secret or ConfigMap, and that the target must get in another way."""

    name: str
    kind: str
    object: str
    key: str
    optional: bool


@dataclass(frozen=True)
class Rights:
    """User and rights of the process; None where the image decides."""

    user: int | None
    group: int | None
    drop: tuple[str, ...]
    add: tuple[str, ...]
    no_new_privileges: bool
    read_only: bool
    privileged: bool


@dataclass(frozen=True)
class RenderedReplica:
    """One replica.

    Attributes:
        command: command instead of the image's entrypoint; None to keep that.
        args: arguments of vLLM, with all variables replaced.
        env: variables with a plain value.
        secrets: variables from Secrets and ConfigMaps.
        devices: number of devices.
        limits: CPU and memory limits and others, as numbers.
        shared_memory: size of /dev/shm in bytes.
        startup_seconds: seconds for the start.
        stop_seconds: seconds from SIGTERM to SIGKILL.
        model_claim: claim that holds the model at MODEL_PATH.
        cache: volume of the cache as the pod has it.
        lost: parts of the pod that no target without Kubernetes has.
    """

    image: str
    command: tuple[str, ...] | None
    args: tuple[str, ...]
    env: dict[str, str]
    secrets: tuple[SecretVariable, ...]
    resource: str
    devices: int
    limits: dict[str, Decimal]
    requests: dict[str, Decimal]
    rights: Rights
    shared_memory: int
    startup_seconds: int
    stop_seconds: int
    model_claim: str | None
    cache: Mapping[str, Any]
    lost: tuple[NotCarried, ...]
    port: int = PORT
    cache_path: str = CACHE_PATH
    model_path: str = MODEL_PATH


def read_replica(order: Order) -> RenderedReplica:
    """Return the replica of a server from its rendered Deployment."""
    server = order.server
    pod = _pod(order)
    container = next(item for item in pod["containers"] if item["name"] == CONTAINER)
    plain, secrets, lost = _variables(container.get("env") or [])
    limits, requests = _amounts(container, "limits"), _amounts(container, "requests")
    resource = server.spec.accelerator.resource_name
    volumes: dict[str, dict[str, Any]] = {item["name"]: item for item in pod["volumes"]}
    claim = volumes.get("model", {}).get("persistentVolumeClaim")
    plan = rollout_plan(server.spec)
    return RenderedReplica(
        image=container["image"],
        command=_expanded(container.get("command"), plain) or None,
        args=_expanded(container.get("args"), plain),
        env=plain,
        secrets=secrets,
        resource=resource,
        devices=int(limits.get(resource, 0)),
        limits=_without(limits, resource),
        requests=_without(requests, resource),
        rights=_rights(pod, container),
        shared_memory=int(parse_quantity(server.spec.shared_memory) or 0),
        startup_seconds=plan.startup_period * plan.startup_failures,
        stop_seconds=server.spec.rollout.drain_timeout_seconds + STOP_MARGIN_SECONDS,
        model_claim=claim["claimName"] if claim else None,
        cache=volumes.get("model-cache", {}),
        lost=(*lost, *_lost_in_arguments(container, secrets), *_lost_in_pod(pod, container)),
    )


def _pod(order: Order) -> dict[str, Any]:
    deployment = next(item for item in order.manifests if item["kind"] == "Deployment")
    pod: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return pod


def _amounts(container: Mapping[str, Any], kind: str) -> dict[str, Decimal]:
    resources = (container.get("resources") or {}).get(kind) or {}
    values = {name: parse_quantity(value) for name, value in resources.items()}
    return {name: value for name, value in values.items() if value is not None}


def _without(amounts: Mapping[str, Decimal], resource: str) -> dict[str, Decimal]:
    return {name: value for name, value in amounts.items() if name != resource}


def _expanded(items: Sequence[Any] | None, variables: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(expand(str(item), variables) for item in items or ())


def _variables(
    items: list[dict[str, Any]],
) -> tuple[dict[str, str], tuple[SecretVariable, ...], tuple[NotCarried, ...]]:
    """Return plain variables, variables from Secrets and ConfigMaps, and those that only a pod has."""
    plain: dict[str, str] = {}
    secrets: list[SecretVariable] = []
    lost: list[NotCarried] = []
    for item in items:
        name, source = item["name"], item.get("valueFrom") or {}
        reference = source.get("secretKeyRef") or source.get("configMapKeyRef")
        if reference:
            kind = "Secret" if source.get("secretKeyRef") else "ConfigMap"
            optional = bool(reference.get("optional"))
            secrets.append(SecretVariable(name, kind, reference["name"], reference["key"], optional))
        elif source:
            lost.append(NotCarried(f"variable {name}", f"only a pod has its source, {next(iter(source))}"))
        else:
            plain[name] = expand(item.get("value") or "", plain)
    return plain, tuple(secrets), tuple(lost)


def _lost_in_arguments(container: Mapping[str, Any], secrets: tuple[SecretVariable, ...]) -> Iterator[NotCarried]:
    """Return the references to variables whose value is in a Secret: they stay as text."""
    hidden = {secret.name for secret in secrets}
    for field in ("command", "args"):
        for item in container.get(field) or ():
            for name in references(str(item)):
                if name in hidden:
                    yield NotCarried(
                        f"argument {str(item)[:80]}", f"$({name}) is not replaced: the value is in a Secret"
                    )


def _lost_in_pod(pod: Mapping[str, Any], container: Mapping[str, Any]) -> Iterator[NotCarried]:
    path = "spec.podTemplate.spec"
    for field, word in (("initContainers", "init container"), ("containers", "container")):
        for item in pod.get(field) or ():
            if item.get("name") != CONTAINER:
                yield NotCarried(f"{path}.{field}", f"the {word} {str(item.get('name'))[:80]} is left out")
    for item in pod.get("volumes") or ():
        if item.get("name") not in KNOWN_VOLUMES:
            yield NotCarried(f"{path}.volumes", f"the volume {str(item.get('name'))[:80]} is left out")
    for field in sorted(container.keys() - KNOWN_FIELDS):
        yield NotCarried(f"{path}.containers", f"the field {field[:80]} of the container {CONTAINER} is left out")


def _rights(pod: Mapping[str, Any], container: Mapping[str, Any]) -> Rights:
    context = {**(pod.get("securityContext") or {}), **(container.get("securityContext") or {})}
    capabilities = context.get("capabilities") or {}
    user, group = context.get("runAsUser"), context.get("runAsGroup")
    return Rights(
        user=user if isinstance(user, int) else None,
        group=group if isinstance(group, int) else None,
        drop=tuple(capabilities.get("drop") or ()),
        add=tuple(capabilities.get("add") or ()),
        no_new_privileges=context.get("allowPrivilegeEscalation") is False,
        read_only=context.get("readOnlyRootFilesystem") is True,
        privileged=context.get("privileged") is True,
    )


def replica_count(order: Order) -> int:
    """Return the number of replicas: the one that was asked for, the fewest of the autoscaler, or that of the spec."""
    spec = order.server.spec
    if order.replicas is not None:
        return order.replicas
    return max(1, spec.autoscaling.min_replicas if spec.autoscaling else spec.replicas)
