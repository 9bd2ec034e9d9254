"""Docker compose: one replica, or several behind nginx."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from vllm_operator.api.names import child_name
from vllm_operator.desired.rendering.templates import render_template
from vllm_operator.targets import host
from vllm_operator.targets.coverage import Coverage
from vllm_operator.targets.files import comment_lines, yaml_file
from vllm_operator.targets.nginx import DOCKER_RESOLVER, IMAGE, Balancer, nginx_configuration
from vllm_operator.targets.replica import RenderedReplica, read_replica, replica_count
from vllm_operator.targets.target import NotCarried, Order, RenderedTarget, Target, TargetFile

LABELS_LOST = "annotations become no label of a container"
COVERAGE = Coverage(
    host.CARRIED | {"metadata.labels"},
    {**host.LOST, "metadata.annotations": LABELS_LOST},
)


@dataclass(frozen=True)
class ComposeServicePlan:
    """One replica among the services of a compose file."""

    service: str
    ports: list[str] | None
    device_files: list[str] | None
    volumes: list[dict[str, Any]]
    depends_on: dict[str, Any] | None
    reservations: dict[str, Any] | None


@dataclass(frozen=True)
class BalancerPlan:
    """The service of nginx."""

    service: str
    image: str
    ports: list[str]
    depends_on: dict[str, Any]


@dataclass(frozen=True)
class CacheOwnerPlan:
    """The service that gives the cache to the user of vLLM, and ends."""

    service: str
    command: list[str]
    volumes: list[dict[str, Any]]


@dataclass(frozen=True)
class ComposeRights:
    """User and rights of the containers; None leaves a field out."""

    user: str | None
    cap_drop: list[str] | None
    cap_add: list[str] | None
    security_opt: list[str] | None
    privileged: bool | None
    read_only: bool | None
    tmpfs: list[str] | None


@dataclass(frozen=True)
class ComposePlan:
    """The values of `targets/compose/compose.yaml.j2`; None leaves a field out."""

    project: str
    image: str
    entrypoint: list[str] | None
    command: list[str]
    environment: dict[str, str]
    rights: ComposeRights
    group_add: list[str] | None
    port: str
    shm_size: str
    stop_grace_period: str
    start_period: str
    health_test: list[str]
    limits: dict[str, str] | None
    labels: dict[str, str] | None
    replicas: list[ComposeServicePlan]
    balancer: BalancerPlan | None
    cache_owner: CacheOwnerPlan | None
    volumes: dict[str, Any] | None


def escape(text: str) -> str:
    """Return a text in which compose replaces nothing: it reads `$NAME` as a variable, and `$$` as a dollar sign."""
    return text.replace("$", "$$")


def render_compose(order: Order) -> RenderedTarget:
    """Render compose.yaml, nginx.conf for several replicas, and an example of the file with the secrets."""
    server, replica = order.server, read_replica(order)
    count = host.check_replicas(replica_count(order))
    cache, cache_lost = host.cache_source(replica.cache)
    plan = _plan(order, replica, count, cache)
    losses = tuple(NotCarried(*item) for item in COVERAGE.losses(server.spec))
    not_carried = (*losses, *cache_lost, *replica.lost, *_notes(replica))
    comment = comment_lines(server, "compose", not_carried)
    files = [TargetFile("compose.yaml", yaml_file([render_template("targets/compose/compose", plan)], comment))]
    if plan.balancer:
        balancer = Balancer([f"{item.service}:{replica.port}" for item in plan.replicas], resolver=DOCKER_RESOLVER)
        files.append(TargetFile("nginx.conf", nginx_configuration(server.name, balancer)))
    if variables := _environment_file(replica):
        files.append(TargetFile(".env.example", variables))
    copy = ("cp .env.example .env && chmod 600 .env  # then fill in the values",) if variables else ()
    return RenderedTarget(tuple(files), not_carried, (*copy, "docker compose up --detach --wait"))


def _plan(order: Order, replica: RenderedReplica, count: int, cache: host.CacheSource) -> ComposePlan:
    server = order.server
    name = child_name(server.name).replace(".", "-")
    names = [name] if count == 1 else [f"{name}-{index + 1}" for index in range(count)]
    volumes = {} if cache.directory else dict.fromkeys(_cache_volumes(order, len(names)), _volume_options(cache))
    owner = _cache_owner(name, replica, list(volumes))
    services = [_service(order, replica, names, index, cache, owner) for index in range(count)]
    return ComposePlan(
        project=name,
        image=escape(replica.image),
        entrypoint=[escape(item) for item in replica.command or ()] or None,
        command=[escape(item) for item in replica.args],
        environment=_escaped(replica.env) | _secret_variables(replica),
        rights=_rights(replica),
        group_add=_groups(services[0].device_files),
        port=str(replica.port),
        shm_size=str(replica.shared_memory),
        stop_grace_period=f"{replica.stop_seconds}s",
        start_period=f"{replica.startup_seconds}s",
        health_test=["CMD", *host.health_command(replica.port)],
        limits=_limits(replica.limits),
        labels=_escaped(server.spec.metadata.labels) or None,
        replicas=services,
        balancer=_balancer(order, name, names) if count > 1 else None,
        cache_owner=owner,
        volumes=volumes or None,
    )


def _escaped(values: Mapping[str, str]) -> dict[str, str]:
    return {key: escape(value) for key, value in values.items()}


def _rights(replica: RenderedReplica) -> ComposeRights:
    rights = replica.rights
    return ComposeRights(
        user=_user(replica),
        cap_drop=list(rights.drop) or None,
        cap_add=list(rights.add) or None,
        security_opt=["no-new-privileges:true"] if rights.no_new_privileges else None,
        privileged=rights.privileged or None,
        read_only=rights.read_only or None,
        tmpfs=["/tmp"] if rights.read_only else None,
    )


def _groups(device_files: list[str] | None) -> list[str] | None:
    """Return the groups of the device files of AMD's and Intel's GPUs."""
    return ["video", "render"] if any("/dri/" in path for path in device_files or ()) else None


def _user(replica: RenderedReplica) -> str | None:
    if replica.rights.user is None:
        return None
    group = replica.rights.group
    return f"{replica.rights.user}" if group is None else f"{replica.rights.user}:{group}"


def _cache_volumes(order: Order, count: int) -> list[str]:
    cache = order.server.spec.cache
    if cache and cache.per_replica and count > 1:
        return [f"cache-{index + 1}" for index in range(count)]
    return ["cache"]


def _volume_options(cache: host.CacheSource) -> dict[str, Any]:
    if cache.options is None:
        return {}
    return {"driver": "local", "driver_opts": _escaped(cache.options)}


def _service(
    order: Order,
    replica: RenderedReplica,
    names: list[str],
    index: int,
    cache: host.CacheSource,
    owner: CacheOwnerPlan | None,
) -> ComposeServicePlan:
    volumes = _cache_volumes(order, len(names))
    volume = volumes[min(index, len(volumes) - 1)]
    place = host.published(order.server)
    mounts: list[dict[str, Any]] = [
        {"type": "bind", "source": escape(cache.directory), "target": replica.cache_path}
        if cache.directory
        else {"type": "volume", "source": volume, "target": replica.cache_path}
    ]
    if replica.model_claim:
        source = "${MODEL_DIR:?set MODEL_DIR to the directory that holds the model}"
        mounts.append({"type": "bind", "source": source, "target": replica.model_path, "read_only": True})
    first = index * replica.devices
    return ComposeServicePlan(
        service=names[index],
        ports=[f"{place.address}:{place.port}:{replica.port}"] if len(names) == 1 else None,
        device_files=[f"{path}:{path}" for path in host.device_files(replica, first)] or None,
        volumes=mounts,
        depends_on={owner.service: {"condition": "service_completed_successfully"}} if owner else None,
        reservations=_reservations(replica, first, alone=len(names) == 1),
    )


def _reservations(replica: RenderedReplica, first: int, *, alone: bool) -> dict[str, Any] | None:
    """Return the GPUs of a replica: any for a single replica, and separate ones for each of several."""
    if not replica.devices or not replica.resource.startswith("nvidia.com/"):
        return None
    device: dict[str, Any] = {"driver": "nvidia", "capabilities": ["gpu"]}
    if replica.resource != "nvidia.com/gpu":
        numbers = range(first + 1, first + replica.devices + 1)
        device["device_ids"] = [f"${{MIG_DEVICE_{number}:?set it to a UUID of nvidia-smi -L}}" for number in numbers]
    elif alone:
        device["count"] = replica.devices
    else:
        device["device_ids"] = [str(first + index) for index in range(replica.devices)]
    return {"devices": [device]}


def _limits(limits: Mapping[str, Decimal]) -> dict[str, str] | None:
    result = {}
    if "cpu" in limits:
        result["cpus"] = f"{limits['cpu'].normalize():f}"
    if "memory" in limits:
        result["memory"] = str(int(limits["memory"]))
    return result or None


def _balancer(order: Order, name: str, names: list[str]) -> BalancerPlan:
    place = host.published(order.server)
    return BalancerPlan(
        service=f"{name}-nginx",
        image=IMAGE,
        ports=[f"{place.address}:{place.port}:80"],
        depends_on={item: {"condition": "service_started"} for item in names},
    )


def _cache_owner(name: str, replica: RenderedReplica, volumes: list[str]) -> CacheOwnerPlan | None:
    if not volumes or not replica.rights.user:
        return None
    paths = [f"/volumes/{volume}" for volume in volumes]
    mounts = [{"type": "volume", "source": volume, "target": path} for volume, path in zip(volumes, paths, strict=True)]
    return CacheOwnerPlan(f"{name}-cache-owner", [_user(replica) or "", *paths], mounts)


def _secret_variables(replica: RenderedReplica) -> dict[str, str]:
    return {
        secret.name: f"${{{_variable(secret.name)}:-}}"
        if secret.optional
        else f"${{{_variable(secret.name)}:?set it in .env, from key {secret.key} of {secret.kind} {secret.object}}}"
        for secret in replica.secrets
    }


def _variable(name: str) -> str:
    """Return a name that compose can replace: letters, digits and underscores."""
    return "".join(letter if letter.isalnum() or letter == "_" else "_" for letter in name)


def _environment_file(replica: RenderedReplica) -> str:
    lines = [
        line
        for secret in replica.secrets
        for line in (
            f"# Key {secret.key} of the {secret.kind} {secret.object}: kubectl get {secret.kind.lower()} "
            f"{secret.object} -o yaml",
            f"{_variable(secret.name)}=",
        )
    ]
    if replica.model_claim:
        lines += [f"# Directory with the files of the claim {replica.model_claim}", "MODEL_DIR="]
    return "".join(f"{line}\n" for line in lines)


def _notes(replica: RenderedReplica) -> tuple[NotCarried, ...]:
    """Return what the target has in another way."""
    notes = [
        NotCarried(
            "spec.health", "Docker reports an unhealthy container and does not restart it; it restarts one that exits"
        )
    ]
    if replica.model_claim:
        notes.append(
            NotCarried("spec.model.uri", f"copy the files of the claim {replica.model_claim} to a directory: MODEL_DIR")
        )
    return tuple(notes)


TARGET = Target(
    name="compose",
    title="Docker compose: one replica, or several behind nginx",
    render=render_compose,
    coverage=COVERAGE,
)
