"""A SageMaker endpoint with the vLLM image of AWS (Deep Learning Containers)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vllm_operator.api.names import child_name
from vllm_operator.api.spec import Spec, possible_replicas
from vllm_operator.desired.rendering.templates import render_template
from vllm_operator.targets.clouds import gpu_of, smallest
from vllm_operator.targets.coverage import Coverage
from vllm_operator.targets.files import comment_lines, json_file, text_file
from vllm_operator.targets.replica import RenderedReplica, read_replica
from vllm_operator.targets.target import NotCarried, Order, RenderedTarget, Setting, Target, TargetError, TargetFile
from vllm_operator.vllm.arguments import API_KEY, DRAIN_FLAG, HF_TOKEN, completable_flags, extra_flags
from vllm_operator.vllm.flags import Flag, read_flags

ECR = re.compile(r"[0-9]{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com(\.cn)?/.+")
"""Image in a private registry of AWS, which SageMaker needs."""

AWS_IMAGE = "763104351884.dkr.ecr.{region}.amazonaws.com/vllm:server-sagemaker-cuda-v1"
"""AWS's image of vLLM for SageMaker: it reads the arguments from SM_VLLM_* and serves port 8080
(https://aws.github.io/deep-learning-containers/vllm/deployment/sagemaker/)."""

INFERENCE_AMI = "al2-ami-sagemaker-inference-gpu-3-1"
"""Image of the instances with a driver for CUDA 12.9, which AWS's image of vLLM needs (the same page)."""

PREFIX = "SM_VLLM_"
LONGEST_VALUE = 1024
"""Characters of one variable (EnvironmentValue in SageMaker's API)."""

MOST_VARIABLES = 100
"""Variables of one container (EnvironmentMap in SageMaker's API)."""

LONGEST_START_SECONDS = 3600
"""Largest ContainerStartupHealthCheckTimeoutInSeconds."""

SHORTEST_START_SECONDS = 60

CPU_INSTANCE = "ml.c7i.8xlarge"
"""Instance of a server without GPUs."""

MODEL_FOLDER = "/opt/ml/model"
"""Folder in which SageMaker puts the files of ModelDataSource."""

_NO_STALL = "nobody requests completions from an engine to find a stall; SageMaker asks /ping"
LOST: Mapping[str, str] = {
    "metadata": "labels and annotations of Kubernetes objects become no tags",
    "imagePullSecrets": "SageMaker pulls only from ECR, by its role",
    "accelerator.count": "an instance has the GPUs that its type has",
    "resources": "an instance has the CPUs and the memory that its type has",
    "sharedMemory": "SageMaker sets the size of /dev/shm",
    "scheduling": "there are no nodes to choose",
    "cache": "each instance downloads the model; name the files in S3 by --set model-s3 for a faster start",
    "service": "SageMaker gives the endpoint an address; clients call InvokeEndpoint",
    "monitoring": "/metrics of instances cannot be reached; CloudWatch has SageMaker's own metrics",
    "health.probeIntervalSeconds": _NO_STALL,
    "health.syntheticCompletion": _NO_STALL,
    "health.restartStalled": _NO_STALL,
    "rollout": "SageMaker replaces instances as its deployment configuration says",
    "disruption": "there are no node drains",
    "security": "clients sign their requests for IAM; an API key is not checked",
    "podTemplate": "only arguments and variables of the container vllm are carried over",
    "paused": "nothing reconciles the files",
}
COVERAGE = Coverage(
    frozenset(
        {
            "model",
            "image",
            "version",
            "engine",
            "replicas",
            "accelerator.resourceName",
            "accelerator.product",
            "autoscaling",
            "health.startupTimeoutSeconds",
        }
    ),
    LOST,
)


@dataclass(frozen=True)
class EndpointPlan:
    """The values of the templates in `targets/sagemaker`; None leaves a field out."""

    model: str
    config: str
    endpoint: str
    role: str
    image: str
    environment: dict[str, str]
    model_source: dict[str, Any] | None
    instance: str
    ami: str | None
    count: int
    startup_seconds: int
    fewest: int
    most: int
    target: int
    resource_id: str


def render_sagemaker(order: Order) -> RenderedTarget:
    """Render the bodies of the calls that create model, endpoint and autoscaling, and a script of these calls."""
    server, replica = order.server, read_replica(order)
    environment, lost = _environment(replica, order.server.spec)
    plan = _plan(order, replica, environment)
    losses = tuple(NotCarried(*item) for item in COVERAGE.losses(server.spec))
    not_carried = (*losses, *replica.lost, *lost, *_notes(order, replica, plan))
    names = ["model", "endpoint-config", "endpoint"]
    if server.spec.autoscaling:
        names += ["scalable-target", "scaling-policy"]
    files = [
        TargetFile(f"{name}.json", json_file(render_template(f"targets/sagemaker/{name}", plan))) for name in names
    ]
    script = {
        "comment": comment_lines(server, "sagemaker", not_carried),
        "region": order.settings["region"],
        "token": any(secret.name == HF_TOKEN for secret in replica.secrets),
        "scaling": server.spec.autoscaling is not None,
        "endpoint": plan.endpoint,
    }
    files.insert(0, TargetFile("create-endpoint.sh", text_file("sagemaker/create-endpoint.sh", script)))
    return RenderedTarget(tuple(files), not_carried, ("sh create-endpoint.sh",))


def _plan(order: Order, replica: RenderedReplica, environment: dict[str, str]) -> EndpointPlan:
    spec, settings = order.server.spec, order.settings
    gpu = gpu_of(replica, spec.accelerator.product)
    instance = settings["instance"] or CPU_INSTANCE
    if gpu:
        _, found = smallest(gpu.sagemaker, gpu, replica.devices, "SageMaker")
        instance = settings["instance"] or found
    if replica.model_claim and not settings["model-s3"]:
        raise TargetError(
            "--set model-s3",
            f"SageMaker has no claims: copy the files of {replica.model_claim} to S3 and name the prefix, such as "
            "s3://bucket/model/",
        )
    scaling = spec.autoscaling
    fewest = order.replicas or (scaling.min_replicas if scaling else max(1, spec.replicas))
    name = child_name(order.server.name).replace(".", "-").strip("-")
    image = replica.image if ECR.fullmatch(replica.image) else AWS_IMAGE.format(region=settings["region"])
    source = None
    if settings["model-s3"]:
        place = {"S3Uri": settings["model-s3"], "S3DataType": "S3Prefix", "CompressionType": "None"}
        source = {"S3DataSource": place}
    return EndpointPlan(
        model=name,
        config=name,
        endpoint=name,
        role=settings["role"],
        image=image,
        environment=environment,
        model_source=source,
        instance=instance,
        ami=INFERENCE_AMI if gpu else None,
        count=fewest,
        startup_seconds=min(max(replica.startup_seconds, SHORTEST_START_SECONDS), LONGEST_START_SECONDS),
        fewest=fewest,
        most=possible_replicas(spec),
        target=scaling.target_running_requests if scaling else 0,
        resource_id=f"endpoint/{name}/variant/primary",
    )


def _environment(replica: RenderedReplica, spec: Spec) -> tuple[dict[str, str], tuple[NotCarried, ...]]:
    """Return the variables: SM_VLLM_* for each argument, and those of the container.

    Raises:
        TargetError: a value is longer than SageMaker takes, or there are too many.
    """
    env, lost = {}, []
    for flag in read_flags(replica.args, (*completable_flags(), *(item.name for item in extra_flags(spec)))):
        if flag.name == DRAIN_FLAG:
            lost.append(NotCarried("spec.rollout.drainTimeoutSeconds", "SageMaker ends an instance when it chooses"))
            continue
        name, value = _variable(flag, replica)
        if len(flag.values) > 1:
            lost.append(
                NotCarried(f"argument {flag.name}", f"only the first of {len(flag.values)} values is carried over")
            )
        env[name] = value
    # SageMaker's image has its own folders; a path outside of them may not be writable.
    own = {key: value for key, value in replica.env.items() if not value.startswith(replica.cache_path)}
    env |= {key: value for key, value in own.items() if key not in {"HOME", "USER", "LOGNAME"}}
    lost += [
        NotCarried(f"variable {secret.name}", "SageMaker reads no secrets: add it to model.json")
        for secret in replica.secrets
        if secret.name not in {API_KEY, HF_TOKEN}
    ]
    _check_size(env)
    return env, tuple(lost)


def _check_size(env: Mapping[str, str]) -> None:
    if len(env) > MOST_VARIABLES:
        raise TargetError("spec.engine", f"{len(env)} arguments and variables: SageMaker takes {MOST_VARIABLES}")
    for name, value in env.items():
        if len(value) > LONGEST_VALUE:
            raise TargetError("spec.engine", f"{name} has {len(value)} characters: SageMaker takes {LONGEST_VALUE}")


def _variable(flag: Flag, replica: RenderedReplica) -> tuple[str, str]:
    """Return the variable that AWS's image turns into a flag: `true` becomes a switch."""
    name = flag.name.removeprefix("--")
    if flag.negated:
        name = f"no-{name}"
    value = flag.values[0] if flag.values else "true"
    if flag.name == "--model" and replica.model_claim:
        value = MODEL_FOLDER + value.removeprefix(replica.model_path)
    return PREFIX + name.upper().replace("-", "_"), value


def _notes(order: Order, replica: RenderedReplica, plan: EndpointPlan) -> Iterator[NotCarried]:
    spec = order.server.spec
    if plan.image != replica.image:
        yield NotCarried(
            "spec.image",
            f"SageMaker pulls only from ECR; AWS's image of vLLM replaces it, with its own release: {plan.image}",
        )
    if spec.autoscaling:
        yield NotCarried(
            "spec.autoscaling",
            "the endpoint scales on requests at once per instance, as SageMaker counts them, not on vLLM's running "
            "requests or its KV cache",
        )
    if replica.startup_seconds > LONGEST_START_SECONDS:
        yield NotCarried("spec.health.startupTimeoutSeconds", f"SageMaker waits {LONGEST_START_SECONDS} s for a start")
    if any(secret.name == HF_TOKEN for secret in replica.secrets):
        yield NotCarried("spec.model.tokenSecretRef", "the script takes it from $HF_TOKEN; it is readable in the model")
    yield NotCarried("paths", "clients send completions to InvokeEndpoint, not to /v1 (docs of AWS's image: routes)")


TARGET = Target(
    name="sagemaker",
    title="a SageMaker endpoint with AWS's image of vLLM",
    render=render_sagemaker,
    coverage=COVERAGE,
    settings=(
        Setting("region", "us-east-1", "region of AWS", r"[a-z]{2}(-[a-z]+)+-[0-9]", True),
        Setting(
            "role",
            "arn:aws:iam::111122223333:role/SageMakerExecutionRole",
            "ARN of the execution role",
            r"arn:aws[a-z-]*:iam::[0-9]{12}:role/[\w+=,.@/-]+",
            True,
        ),
        Setting("instance", "", "instance type instead of the smallest that fits", r"(ml\.[a-z0-9-]+\.[a-z0-9]+)?"),
        Setting("model-s3", "", "prefix in S3 with the files of the model", r"(s3://[a-z0-9.-]+/[!-~]*)?"),
    ),
)
