"""The common parts of Docker and Podman: devices, ports, the cache as a volume of the machine, and lost fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vllm_operator.api.server import VLLMServer
from vllm_operator.targets.replica import RenderedReplica
from vllm_operator.targets.target import NotCarried, TargetError
from vllm_operator.vllm.arguments import PORT

CARRIED = frozenset(
    {
        "model",
        "image",
        "version",
        "engine",
        "replicas",
        "sharedMemory",
        "resources.limits",
        "accelerator.resourceName",
        "accelerator.count",
        "service.type",
        "service.port",
        "service.nodePort",
        "cache.perReplica",
        "cache.retain",
        "cache.volume",
        "health.startupTimeoutSeconds",
        "rollout.drainTimeoutSeconds",
        "security",
    }
)

_NO_NODES = "the target runs on one machine, so there are no nodes to choose"
_NO_PROBER = "nobody sends completions to the engine to find a stall; watch `vllm:generation_tokens_total`"
_NO_ROLLOUT = "replicas are replaced by hand; stop and start one at a time"

LOST: Mapping[str, str] = {
    "imagePullSecrets": "log in to the registry on the machine",
    "accelerator.product": "the machine has the devices that it has",
    "resources.requests": "a single machine reserves nothing; limits are carried over",
    "resources.claims": "dynamic resource claims exist only in Kubernetes",
    "scheduling": _NO_NODES,
    "cache.size": "a volume of the machine grows as far as its disk",
    "cache.existingClaim": "the cache is a new volume of the machine",
    "cache.storageClassName": "the cache is a volume of the machine",
    "cache.accessModes": "the cache is a volume of the machine",
    "autoscaling": "the number of replicas is fixed, at the fewest that autoscaling allows",
    "service.annotations": "there is no Service",
    "service.labels": "there is no Service",
    "service.spec": "there is no Service",
    "monitoring": "point Prometheus to /metrics of each replica by hand",
    "health.probeIntervalSeconds": "the health check runs each 5 s",
    "health.syntheticCompletion": _NO_PROBER,
    "health.restartStalled": _NO_PROBER,
    "rollout.autoRollback": _NO_ROLLOUT,
    "rollout.waitForIdle": _NO_ROLLOUT,
    "rollout.waitForIdleSeconds": _NO_ROLLOUT,
    "rollout.maxSurge": _NO_ROLLOUT,
    "rollout.maxUnavailable": _NO_ROLLOUT,
    "disruption": "there are no node drains",
    "podTemplate": "only image, command, arguments, variables, limits and rights of vllm are carried over",
    "paused": "nothing reconciles the files",
}

LARGEST_HOST = 256
"""Replicas that files are written for: more do not fit one machine."""


@dataclass(frozen=True)
class Published:
    """The address of the machine at which clients reach the server."""

    address: str
    port: int


def published(server: VLLMServer) -> Published:
    """Return the address to publish: the loopback for a ClusterIP, as only programs of the machine may connect."""
    service = server.spec.service
    if service.type == "ClusterIP":
        return Published("127.0.0.1", service.port if service.port != 80 else PORT)
    return Published("0.0.0.0", service.node_port or service.port)


def health_command(port: int) -> tuple[str, ...]:
    """Return a health check that needs only the Python of the image; not each image has curl."""
    code = f"import urllib.request as r; r.urlopen('http://127.0.0.1:{port}/health', timeout=4)"
    return ("python3", "-c", code)


def device_files(replica: RenderedReplica, first: int) -> tuple[str, ...]:
    """Return the device files of a replica that no runtime of a vendor adds.

    Args:
        first: number of devices that the replicas before use.

    Raises:
        TargetError: a device that needs a device plugin.
    """
    vendor, _, kind = replica.resource.partition("/")
    if not replica.devices or vendor == "nvidia.com":
        return ()
    if replica.resource == "amd.com/gpu":
        # GPU n of the machine is renderD(128 + n) (ROCm, "Running ROCm Docker containers").
        return ("/dev/kfd", *(f"/dev/dri/renderD{128 + first + index}" for index in range(replica.devices)))
    if vendor == "gpu.intel.com":
        return tuple(f"/dev/dri/renderD{128 + first + index}" for index in range(replica.devices))
    if replica.resource in {"aws.amazon.com/neuron", "aws.amazon.com/neurondevice"}:
        return tuple(f"/dev/neuron{first + index}" for index in range(replica.devices))
    raise TargetError(
        "spec.accelerator.resourceName",
        f"{replica.resource} needs a device plugin of Kubernetes: use the target kubernetes, or run the container by "
        f"the documentation of {vendor} ({kind})",
    )


@dataclass(frozen=True)
class CacheSource:
    """The place of the cache on the machine: a directory, or a named volume with options."""

    directory: str = ""
    options: Mapping[str, str] | None = None


def cache_source(cache: Mapping[str, Any]) -> tuple[CacheSource, tuple[NotCarried, ...]]:
    """Return the place of the cache, and what is lost of its volume."""
    path = (cache.get("hostPath") or {}).get("path")
    if path:
        return CacheSource(directory=str(path)), ()
    nfs = cache.get("nfs")
    if nfs:
        mode = "ro" if nfs.get("readOnly") else "rw"
        options = {"type": "nfs", "o": f"addr={nfs['server']},{mode}", "device": f":{nfs['path']}"}
        return CacheSource(options=options), ()
    known = {"name", "emptyDir", "persistentVolumeClaim", "ephemeral"}
    other = sorted(cache.keys() - known)
    lost = tuple(
        NotCarried("spec.cache.volume", f"{kind} is a volume of Kubernetes; the cache is a new volume of the machine")
        for kind in other
    )
    return CacheSource(), lost


def check_replicas(count: int) -> int:
    """Return a number of replicas that fits one machine.

    Raises:
        TargetError: it is larger, or below one.
    """
    if not 1 <= count <= LARGEST_HOST:
        raise TargetError("--replicas", f"{count} replicas: one machine runs 1 to {LARGEST_HOST}")
    return count
