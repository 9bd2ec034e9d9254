"""Units of systemd for Podman (quadlets): one replica, or several behind nginx."""

from __future__ import annotations

from collections.abc import Iterator

from vllm_operator.api.names import child_name
from vllm_operator.targets import host
from vllm_operator.targets.coverage import Coverage
from vllm_operator.targets.files import comment_lines, text_file
from vllm_operator.targets.nginx import IMAGE, Balancer, nginx_configuration
from vllm_operator.targets.replica import RenderedReplica, SecretVariable, read_replica, replica_count
from vllm_operator.targets.target import NotCarried, Order, RenderedTarget, Setting, Target, TargetError, TargetFile

FIRST_PORT = 8001
"""Port of the first of several replicas on the loopback; nginx has the port of the server."""

COVERAGE = Coverage(
    host.CARRIED,
    {**host.LOST, "metadata": "labels and annotations of Kubernetes objects become none of a unit"},
)


def render_quadlet(order: Order) -> RenderedTarget:
    """Render one .container file for each replica, .volume files, and nginx for several replicas."""
    server, replica = order.server, read_replica(order)
    count = host.check_replicas(replica_count(order))
    name = child_name(server.name).replace(".", "-")
    cache, cache_lost = host.cache_source(replica.cache)
    losses = tuple(NotCarried(*item) for item in COVERAGE.losses(server.spec))
    not_carried = (*losses, *cache_lost, *replica.lost, *_notes(order, replica))
    comment = [line.removeprefix("# ") for line in comment_lines(server, "quadlet", not_carried)]
    names = [name] if count == 1 else [f"{name}-{index + 1}" for index in range(count)]
    ports = _ports(order, count)
    files = [
        TargetFile(
            f"{names[index]}.container",
            text_file("quadlet/vllm.container", _values(order, replica, names, index, ports[index], cache, comment)),
        )
        for index in range(count)
    ]
    for volume in _volumes(order, name, count) if not cache.directory else ():
        options = [] if cache.options is None else list(cache.options.items())
        values = {"comment": comment[0], "name": volume, "options": dict(options)}
        files.append(TargetFile(f"{volume}.volume", text_file("quadlet/cache.volume", values)))
    if count > 1:
        files += _balancer_files(order, name, names, ports)
    return RenderedTarget(tuple(files), not_carried, tuple(_steps(name, names, replica)))


def _ports(order: Order, count: int) -> list[int]:
    place = host.published(order.server)
    if count == 1:
        return [place.port]
    first = FIRST_PORT if not FIRST_PORT <= place.port < FIRST_PORT + count else FIRST_PORT + 1000
    return [first + index for index in range(count)]


def _volumes(order: Order, name: str, count: int) -> list[str]:
    cache = order.server.spec.cache
    if cache and cache.per_replica and count > 1:
        return [f"{name}-cache-{index + 1}" for index in range(count)]
    return [f"{name}-cache"]


def _values(
    order: Order,
    replica: RenderedReplica,
    names: list[str],
    index: int,
    port: int,
    cache: host.CacheSource,
    comment: list[str],
) -> dict[str, object]:
    rights = replica.rights
    address = "127.0.0.1" if len(names) > 1 else host.published(order.server).address
    return {
        "comment": comment,
        "name": names[index],
        "image": _full_name(replica.image),
        "entrypoint": _json_list(replica.command) if replica.command else "",
        "args": replica.args,
        "env": [f"{key}={value}" for key, value in replica.env.items()],
        "secrets": [f"{secret_name(item)},type=env,target={item.name}" for item in _needed(replica)],
        "user": rights.user,
        "group": rights.group,
        "drop": [_capability(item) for item in rights.drop],
        "add": [_capability(item) for item in rights.add],
        "no_new_privileges": rights.no_new_privileges,
        "read_only": rights.read_only,
        "privileged": rights.privileged,
        "devices": _devices(order, replica, index),
        "groups": "keep-groups" if replica.resource.startswith(("amd.com/", "gpu.intel.com/")) else "",
        "mounts": _mounts(order, replica, len(names), index, cache),
        "published": f"{address}:{port}:{replica.port}",
        "shm": replica.shared_memory,
        "memory": int(replica.limits.get("memory", 0)),
        "cpus": f"{replica.limits['cpu'].normalize():f}" if "cpu" in replica.limits else "",
        "health": " ".join(_health_word(item) for item in host.health_command(replica.port)),
        "startup_retries": max(1, replica.startup_seconds // 5),
        "start_seconds": replica.startup_seconds + PULL_SECONDS,
        "stop_seconds": replica.stop_seconds,
    }


def _mounts(order: Order, replica: RenderedReplica, count: int, index: int, cache: host.CacheSource) -> list[str]:
    volumes = _volumes(order, child_name(order.server.name).replace(".", "-"), count)
    source = cache.directory or f"{volumes[min(index, len(volumes) - 1)]}.volume"
    # Podman gives the files to the user of the container (U).
    mounts = [f"{source}:{replica.cache_path}" + (":U" if replica.rights.user and not cache.directory else "")]
    if replica.model_claim:
        mounts.append(f"{order.settings['model-dir']}:{replica.model_path}:ro")
    return mounts


def _needed(replica: RenderedReplica) -> list[SecretVariable]:
    """Return the variables whose secrets must exist."""
    return [secret for secret in replica.secrets if not secret.optional]


PULL_SECONDS = 900
"""Seconds to pull an image of 10 GB and more before the start."""


def _full_name(image: str) -> str:
    """Return an image with its registry: Podman may ask for it otherwise. Docker Hub is that of Kubernetes."""
    first, slash, _ = image.partition("/")
    if slash and (first == "localhost" or "." in first or ":" in first):
        return image
    return f"docker.io/{image}" if slash else f"docker.io/library/{image}"


def _json_list(items: tuple[str, ...]) -> str:
    return "[" + ", ".join('"' + item.replace("\\", "\\\\").replace('"', '\\"') + '"' for item in items) + "]"


def _health_word(word: str) -> str:
    """Return a word for the shell that runs the health check in the container."""
    return word if word.isalnum() or word.startswith("-") else "'" + word.replace("'", '"') + "'"


def _capability(name: str) -> str:
    return "all" if name == "ALL" else f"CAP_{name}"


def secret_name(secret: SecretVariable) -> str:
    """Return the name of Podman's secret for a key of a Secret."""
    return f"{secret.object}-{secret.key}".replace(".", "-").replace("_", "-").lower()


def _devices(order: Order, replica: RenderedReplica, index: int) -> tuple[str, ...]:
    """Return the devices of a replica; NVIDIA's by the names of the Container Device Interface."""
    first = index * replica.devices
    if not replica.devices or not replica.resource.startswith("nvidia.com/"):
        return host.device_files(replica, first)
    given = [item for item in order.settings.get("devices", "").split(",") if item]
    if given:
        chosen = given[first : first + replica.devices]
        if len(chosen) < replica.devices:
            raise TargetError("--set devices", f"{len(given)} devices are fewer than the replicas need: name more")
        return tuple(f"nvidia.com/gpu={item}" for item in chosen)
    if replica.resource != "nvidia.com/gpu":
        raise TargetError(
            "--set devices",
            f"name the devices for {replica.resource}, such as --set devices=0:0,0:1 (`nvidia-ctk cdi list`)",
        )
    return tuple(f"nvidia.com/gpu={first + number}" for number in range(replica.devices))


def _balancer_files(order: Order, name: str, names: list[str], ports: list[int]) -> Iterator[TargetFile]:
    place = host.published(order.server)
    balancer = Balancer([f"127.0.0.1:{port}" for port in ports], listen=f"{place.address}:{place.port}")
    yield TargetFile(f"{name}-nginx.conf", nginx_configuration(order.server.name, balancer))
    values = {"name": f"{name}-nginx", "image": _full_name(IMAGE), "units": [f"{item}.service" for item in names]}
    yield TargetFile(f"{name}-nginx.container", text_file("quadlet/nginx.container", values))


def _notes(order: Order, replica: RenderedReplica) -> Iterator[NotCarried]:
    if replica.model_claim:
        yield NotCarried(
            "spec.model.uri", f"copy the files of the claim {replica.model_claim} to {order.settings['model-dir']}"
        )
    for secret in replica.secrets:
        if secret.optional:
            yield NotCarried(f"variable {secret.name}", "a secret of Podman must exist, so an optional one is left out")


def _steps(name: str, names: list[str], replica: RenderedReplica) -> Iterator[str]:
    for secret in _needed(replica):
        yield f"podman secret create {secret_name(secret)} -  # then type the value, and Ctrl-D"
    yield "mkdir -p ~/.config/containers/systemd && cp * ~/.config/containers/systemd/"
    last = f"{name}-nginx" if len(names) > 1 else name
    yield f"systemctl --user daemon-reload && systemctl --user start {last}.service"
    yield "loginctl enable-linger  # keep it running after logout"


TARGET = Target(
    name="quadlet",
    title="systemd units for Podman (quadlets): one replica, or several behind nginx",
    render=render_quadlet,
    coverage=COVERAGE,
    settings=(
        Setting("model-dir", "/srv/models", "directory with the files of a pvc:// model", r"/[A-Za-z0-9._/-]+"),
        Setting("devices", "", "names of NVIDIA's devices for all replicas, such as 0,1", r"[A-Za-z0-9:,-]*"),
    ),
)
