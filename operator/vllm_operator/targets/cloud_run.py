"""A service of Cloud Run with a GPU."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vllm_operator.api.spec import possible_replicas
from vllm_operator.desired.rendering.templates import render_template
from vllm_operator.targets.clouds import gpu_of
from vllm_operator.targets.coverage import Coverage
from vllm_operator.targets.files import comment_lines, yaml_file
from vllm_operator.targets.replica import RenderedReplica, read_replica
from vllm_operator.targets.target import NotCarried, Order, RenderedTarget, Setting, Target, TargetError, TargetFile

STARTUP_SECONDS = {True: 1800, False: 600}
"""Longest start of an instance, with and without a GPU: failureThreshold x periodSeconds of the startup probe
(docs.cloud.google.com/run/docs/configuring/healthchecks)."""

STARTUP_PERIOD = 10

SMALLEST = {"nvidia-l4": (4, 16), "nvidia-rtx-pro-6000": (20, 80)}
"""GPU -> CPUs and GiB of memory that an instance has at least ("GPU support for services" in its docs)."""

MOST_CPU, MOST_GIB = 8, 32
"""CPUs and GiB of memory of the largest instance without a GPU, and with an L4."""

LONGEST_REQUEST_SECONDS = 3600
"""Longest request of Cloud Run."""

MOST_CONCURRENCY = 1000
"""Most requests that one instance may have at once."""

LOST: Mapping[str, str] = {
    "metadata.annotations": "annotations of Kubernetes objects mean nothing to Cloud Run",
    "imagePullSecrets": "Cloud Run pulls from Artifact Registry, whose remote repositories mirror other registries",
    "scheduling": "there are no nodes to choose",
    "resources.requests": "Cloud Run has only limits",
    "resources.claims": "dynamic resource claims exist only in Kubernetes",
    "cache": "instances share no disk, and each one downloads the model: put the files in --set model-bucket",
    "service": "Cloud Run gives the service a separate HTTPS address",
    "monitoring": "/metrics of single instances cannot be reached; Cloud Monitoring has Cloud Run's own metrics",
    "health.probeIntervalSeconds": "Cloud Run probes each 10 s",
    "health.syntheticCompletion": "nobody requests completions from an engine to find a stall",
    "health.restartStalled": "nobody requests completions from an engine to find a stall",
    "rollout": "Cloud Run replaces instances by traffic, and ends one 10 s after SIGTERM: longer requests are cut",
    "disruption": "there are no node drains",
    "security.profile": "Cloud Run runs each instance in its own sandbox",
    "security.podSecurityContext": "Cloud Run runs each instance in its own sandbox",
    "security.containerSecurityContext": "Cloud Run runs each instance in its own sandbox",
    "podTemplate": "only image, command, arguments, variables and limits of the container vllm are carried over",
    "paused": "nothing reconciles the files",
}
COVERAGE = Coverage(
    frozenset(
        {
            "metadata.labels",
            "model",
            "image",
            "version",
            "engine",
            "replicas",
            "accelerator",
            "resources.limits",
            "sharedMemory",
            "autoscaling",
            "health.startupTimeoutSeconds",
            "security.apiKeySecretRef",
        }
    ),
    LOST,
)


@dataclass(frozen=True)
class CloudRunPlan:
    """The values of `targets/cloud-run/service.yaml.j2`; None leaves a field out."""

    name: str
    labels: dict[str, str]
    ingress: str
    min_scale: str
    max_scale: str
    concurrency: int
    timeout: int
    accelerator: str | None
    image: str
    command: list[str] | None
    args: list[str]
    env: list[dict[str, Any]]
    port: int
    limits: dict[str, str]
    startup_failures: int
    startup_period: int
    volume_mounts: list[dict[str, Any]]
    volumes: list[dict[str, Any]]
    service_account: str | None


def render_cloud_run(order: Order) -> RenderedTarget:
    """Render service.yaml for `gcloud run services replace`."""
    server, replica = order.server, read_replica(order)
    gpu = gpu_of(replica, server.spec.accelerator.product)
    if gpu and not gpu.cloud_run:
        raise TargetError("spec.accelerator.product", f"Cloud Run has no {gpu.name}: it has {', '.join(SMALLEST)}")
    if replica.devices > 1:
        raise TargetError(
            "spec.accelerator.count", f"an instance of Cloud Run has one GPU, and a replica asks for {replica.devices}"
        )
    if replica.model_claim and not order.settings["model-bucket"]:
        raise TargetError(
            "--set model-bucket",
            f"Cloud Run has no claims: copy the files of {replica.model_claim} to a bucket and name it",
        )
    plan = _plan(order, replica, gpu.cloud_run if gpu else None)
    not_carried = (
        *(NotCarried(*item) for item in COVERAGE.losses(server.spec)),
        *replica.lost,
        *_notes(order, replica, plan),
    )
    text = yaml_file(
        [render_template("targets/cloud-run/service", plan)], comment_lines(server, "cloud-run", not_carried)
    )
    return RenderedTarget((TargetFile("service.yaml", text),), not_carried, tuple(_steps(order, replica)))


def _plan(order: Order, replica: RenderedReplica, accelerator: str | None) -> CloudRunPlan:
    spec, settings = order.server.spec, order.settings
    scaling = spec.autoscaling
    fewest = order.replicas or (scaling.min_replicas if scaling else spec.replicas)
    most = order.replicas or max(1, possible_replicas(spec))
    concurrency = scaling.target_running_requests if scaling else spec.engine.max_num_seqs or 256
    seconds = min(replica.startup_seconds, STARTUP_SECONDS[accelerator is not None])
    mounts, volumes = [{"name": "shm", "mountPath": "/dev/shm"}], [_memory("shm", replica.shared_memory)]
    # The file system of an instance is memory: a separate volume bounds what the cache takes of it.
    mounts.append({"name": "cache", "mountPath": replica.cache_path})
    volumes.append(_memory("cache", int(float(settings["cache-gib"]) * 1024**3)))
    if settings["model-bucket"]:
        mounts.append({"name": "model", "mountPath": replica.model_path})
        bucket = {"bucketName": settings["model-bucket"]}
        volumes.append(
            {
                "name": "model",
                "csi": {"driver": "gcsfuse.run.googleapis.com", "readOnly": True, "volumeAttributes": bucket},
            }
        )
    return CloudRunPlan(
        name=order.server.name.replace(".", "-")[:49].rstrip("-"),
        labels=dict(spec.metadata.labels) if all("/" not in key for key in spec.metadata.labels) else {},
        ingress=settings["ingress"],
        min_scale=str(fewest),
        max_scale=str(max(most, fewest, 1)),
        concurrency=min(concurrency, MOST_CONCURRENCY),
        timeout=LONGEST_REQUEST_SECONDS,
        accelerator=accelerator,
        image=settings["image"] or replica.image,
        command=list(replica.command) if replica.command else None,
        args=list(replica.args),
        env=_environment(replica),
        port=replica.port,
        limits=_limits(replica, accelerator),
        startup_failures=seconds // STARTUP_PERIOD,
        startup_period=STARTUP_PERIOD,
        volume_mounts=mounts,
        volumes=volumes,
        service_account=settings["service-account"] or None,
    )


def _memory(name: str, size: int) -> dict[str, Any]:
    return {"name": name, "emptyDir": {"medium": "Memory", "sizeLimit": f"{max(1, size // 1024**2)}Mi"}}


def _environment(replica: RenderedReplica) -> list[dict[str, Any]]:
    env: list[dict[str, Any]] = [{"name": name, "value": value} for name, value in replica.env.items()]
    for secret in replica.secrets:
        if not secret.optional:
            reference = {"name": _secret(secret.object, secret.key), "key": "latest"}
            env.append({"name": secret.name, "valueFrom": {"secretKeyRef": reference}})
    return env


def _secret(name: str, key: str) -> str:
    """Return the name of a secret of the Secret Manager: letters, digits, dashes and underscores."""
    return f"{name}-{key}".replace(".", "-")


def _limits(replica: RenderedReplica, accelerator: str | None) -> dict[str, str]:
    """Return CPUs and memory: those of the spec, at least what Cloud Run asks for the GPU."""
    cpu, gib = SMALLEST[accelerator] if accelerator else (MOST_CPU, MOST_GIB)
    amounts = {**replica.requests, **replica.limits}
    wanted_cpu = math.ceil(amounts["cpu"]) if "cpu" in amounts else 0
    wanted_gib = math.ceil(amounts["memory"] / 1024**3) if "memory" in amounts else 0
    largest_cpu, largest_gib = (max(cpu, MOST_CPU), max(gib, MOST_GIB))
    default_gib = gib if accelerator == "nvidia-rtx-pro-6000" else MOST_GIB
    limits = {
        "cpu": str(min(max(cpu, wanted_cpu or largest_cpu), largest_cpu)),
        "memory": f"{min(max(gib, wanted_gib or default_gib), largest_gib)}Gi",
    }
    return limits | ({"nvidia.com/gpu": "1"} if accelerator else {})


def _notes(order: Order, replica: RenderedReplica, plan: CloudRunPlan) -> list[NotCarried]:
    notes = []
    spec = order.server.spec
    if spec.autoscaling:
        notes.append(
            NotCarried(
                "spec.autoscaling",
                f"Cloud Run scales by requests per instance (containerConcurrency: {plan.concurrency}) and by CPU, not "
                "by vLLM's running requests or its KV cache, and requests beyond that wait at Cloud Run",
            )
        )
    longest = STARTUP_SECONDS[plan.accelerator is not None]
    if replica.startup_seconds > longest:
        notes.append(
            NotCarried(
                "spec.health.startupTimeoutSeconds",
                f"Cloud Run waits {longest} s for a start, and the spec allows {replica.startup_seconds} s",
            )
        )
    memory = replica.limits.get("memory")
    if memory and f"{math.ceil(memory / 1024**3)}Gi" != plan.limits["memory"]:
        notes.append(
            NotCarried(
                "spec.resources.limits.memory", f"an instance gets {plan.limits['memory']}, the bound of Cloud Run"
            )
        )
    notes.append(NotCarried("spec.sharedMemory", "/dev/shm and the cache are parts of the memory of an instance"))
    notes += [
        NotCarried(f"variable {secret.name}", "an optional secret is left out: Cloud Run refuses one that is missing")
        for secret in replica.secrets
        if secret.optional
    ]
    if spec.metadata.labels and not plan.labels:
        notes.append(NotCarried("spec.metadata.labels", "labels of Google Cloud have no prefix with a slash"))
    return notes


def _steps(order: Order, replica: RenderedReplica) -> list[str]:
    steps = [
        f"gcloud secrets create {_secret(secret.object, secret.key)} --data-file=-  # then type the value, and Ctrl-D"
        for secret in replica.secrets
        if not secret.optional
    ]
    return [*steps, f"gcloud run services replace service.yaml --region={order.settings['region']}"]


TARGET = Target(
    name="cloud-run",
    title="Cloud Run with a GPU (serving.knative.dev/v1)",
    render=render_cloud_run,
    coverage=COVERAGE,
    settings=(
        Setting("region", "us-central1", "region of Cloud Run", r"[a-z]+-[a-z]+[0-9]+", True),
        Setting("image", "", "image in Artifact Registry instead of spec.image", r"[!-~]*"),
        Setting(
            "ingress",
            "internal",
            "internal, internal-and-cloud-load-balancing or all",
            r"internal|internal-and-cloud-load-balancing|all",
        ),
        Setting("model-bucket", "", "bucket of Cloud Storage with the files of the model", r"[a-z0-9._-]*"),
        Setting("cache-gib", "8", "GiB of memory for downloads and compile caches", r"[0-9]{1,2}(\.[0-9]+)?"),
        Setting("service-account", "", "service account of the instances", r"([a-z0-9.-]+@[a-z0-9.-]+)?"),
    ),
)
