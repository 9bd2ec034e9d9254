"""Nodes for the server on EKS: Karpenter's NodePool and EC2NodeClass, and the VLLMServer for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vllm_operator.api.names import child_name
from vllm_operator.api.spec import possible_replicas
from vllm_operator.desired.accelerator import product_label
from vllm_operator.desired.rendering.templates import render_template
from vllm_operator.targets.clouds import CloudGpu, gpu_of
from vllm_operator.targets.coverage import Coverage, spec_paths
from vllm_operator.targets.files import comment_lines, yaml_file
from vllm_operator.targets.replica import RenderedReplica, read_replica
from vllm_operator.targets.target import NotCarried, Order, RenderedTarget, Setting, Target, TargetError, TargetFile

ROOT_DISK_GIB = 300
"""GiB of the root volume: the image of vLLM with 10 GB and more, and a model in an emptyDir."""

LARGEST_MACHINE = 8
"""GPUs of the largest instance."""

COVERAGE = Coverage(frozenset(spec_paths()), {})
NEURON = frozenset({"aws.amazon.com/neuron", "aws.amazon.com/neuroncore"})

STOP_MARGIN_SECONDS = 60
"""Seconds after which a node ends although pods are on it, in addition to the time that they have to stop."""

CPU_LIMIT = "256"
"""CPUs of a pool without GPUs at most."""


@dataclass(frozen=True)
class NodePoolPlan:
    """The values of `targets/karpenter/nodepool.yaml.j2`."""

    name: str
    node_labels: dict[str, str] | None
    requirements: list[dict[str, Any]]
    taints: list[dict[str, str]] | None
    limits: dict[str, str]
    expire_after: str
    grace_period: str


@dataclass(frozen=True)
class NodeClassPlan:
    """The values of `targets/karpenter/ec2nodeclass.yaml.j2`."""

    name: str
    ami: str
    role: str
    discovery: str
    device: str
    root_size: str


def render_karpenter(order: Order) -> RenderedTarget:
    """Render the NodePool and the EC2NodeClass."""
    server, replica = order.server, read_replica(order)
    name = child_name(server.name, "vllm").replace(".", "-")
    plan = _pool(order, replica, name)
    ami = order.settings["ami"]
    # Bottlerocket keeps images and volumes on a second disk.
    device = "/dev/xvdb" if ami.startswith("bottlerocket") else "/dev/xvda"
    node_class = NodeClassPlan(
        name, ami, order.settings["role"], order.settings["cluster"], device, f"{ROOT_DISK_GIB}Gi"
    )
    not_carried = tuple(_notes(order, replica))
    comment = comment_lines(server, "karpenter", not_carried)
    files = (
        TargetFile(
            "ec2nodeclass.yaml", yaml_file([render_template("targets/karpenter/ec2nodeclass", node_class)], comment)
        ),
        TargetFile("nodepool.yaml", yaml_file([render_template("targets/karpenter/nodepool", plan)], comment[:1])),
    )
    steps = ("kubectl apply --server-side -f ec2nodeclass.yaml -f nodepool.yaml", "kubectl get nodepools,nodeclaims")
    return RenderedTarget(files, not_carried, steps)


def _pool(order: Order, replica: RenderedReplica, name: str) -> NodePoolPlan:
    server = order.server
    selector = dict(server.spec.scheduling.node_selector)
    if replica.devices and replica.resource not in NEURON:
        selector[product_label(replica.resource)] = server.spec.accelerator.product or ""
    # Karpenter only makes nodes for pods whose node selector it can satisfy: labels that it does not know stand in the
    # template, and those that it knows are requirements.
    labels = {key: value for key, value in selector.items() if not _is_known(key)}
    return NodePoolPlan(
        name=name,
        node_labels=labels or None,
        requirements=[*_requirements(order, replica), *(_in(key, selector[key]) for key in selector.keys() - labels)],
        taints=_taints(replica),
        limits=_limits(order, replica),
        expire_after=order.settings["expire-after"],
        grace_period=f"{replica.stop_seconds + STOP_MARGIN_SECONDS}s",
    )


def _requirements(order: Order, replica: RenderedReplica) -> list[dict[str, Any]]:
    settings = order.settings
    common = [_in("kubernetes.io/arch", settings["arch"]), _in("karpenter.sh/capacity-type", settings["capacity"])]
    if replica.devices and replica.resource in NEURON:
        return [*common, _in("karpenter.k8s.aws/instance-accelerator-manufacturer", "aws")]
    gpu = gpu_of(replica, order.server.spec.accelerator.product)
    return [*common, *(_gpu_requirements(gpu, replica.devices) if gpu else ())]


def _taints(replica: RenderedReplica) -> list[dict[str, str]] | None:
    """Return the taint that the operator's pods tolerate, and that keeps pods without a GPU away."""
    return [{"key": replica.resource, "value": "present", "effect": "NoSchedule"}] if replica.devices else None


def _limits(order: Order, replica: RenderedReplica) -> dict[str, str]:
    """Return the largest size of the pool: the devices of all replicas."""
    if not replica.devices:
        return {"cpu": CPU_LIMIT}
    replicas = order.replicas or max(1, possible_replicas(order.server.spec))
    return {replica.resource: str(replica.devices * replicas)}


def _is_known(label: str) -> bool:
    """Return whether Karpenter knows a label by itself: it is a requirement, and no label of the template."""
    return label.startswith(("karpenter.", "topology.", "node.kubernetes.io/", "kubernetes.io/"))


def _in(key: str, value: str) -> dict[str, Any]:
    return {"key": key, "operator": "In", "values": value.split(",")}


def _gpu_requirements(gpu: CloudGpu, devices: int) -> list[dict[str, Any]]:
    if not gpu.karpenter:
        raise TargetError("spec.accelerator.product", f"no instance of EC2 is known to have {gpu.name}")
    if devices > LARGEST_MACHINE:
        raise TargetError(
            "spec.accelerator.count", f"{devices} GPUs of one replica: an instance has at most {LARGEST_MACHINE}"
        )
    prefix = "karpenter.k8s.aws/instance-gpu"
    result: list[dict[str, Any]] = [
        _in(f"{prefix}-name", gpu.karpenter),
        {"key": f"{prefix}-count", "operator": "Gt", "values": [str(devices - 1)]},
    ]
    if gpu.karpenter == "a100":
        result.append({"key": f"{prefix}-memory", "operator": "Gt", "values": [str(gpu.memory_mib - 1)]})
    return result


def _notes(order: Order, replica: RenderedReplica) -> list[NotCarried]:
    notes = [
        NotCarried("nodes", "the VLLMServer stays as it is: apply it to the cluster, where the operator runs"),
        NotCarried(
            "scheduling", "a node is not replaced while a pod is on it (WhenEmpty): a model takes minutes to load"
        ),
    ]
    if replica.devices:
        notes.append(
            NotCarried("device plugin", f"a device plugin must announce {replica.resource}; Karpenter installs none")
        )
    return notes


TARGET = Target(
    name="karpenter",
    title="nodes for the server on EKS: Karpenter's NodePool and EC2NodeClass (v1)",
    render=render_karpenter,
    coverage=COVERAGE,
    settings=(
        Setting(
            "cluster",
            "my-cluster",
            "EKS cluster (value of the tag karpenter.sh/discovery)",
            r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}",
            True,
        ),
        Setting("role", "KarpenterNodeRole-my-cluster", "IAM role of the nodes", r"[\w+=,.@-]{1,64}", True),
        Setting("ami", "al2023@latest", "AMI alias of Karpenter", r"(al2023|bottlerocket)@[A-Za-z0-9.-]+"),
        Setting("arch", "amd64", "CPU architectures, such as amd64", r"(amd64|arm64)(,(amd64|arm64))?"),
        Setting(
            "capacity",
            "on-demand",
            "capacity types: on-demand, spot, reserved",
            r"(on-demand|spot|reserved)(,(on-demand|spot|reserved))*",
        ),
        Setting("expire-after", "Never", "longest life of a node, such as 720h", r"Never|([0-9]+(s|m|h))+"),
    ),
)
