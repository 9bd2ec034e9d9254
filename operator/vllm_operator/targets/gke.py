"""Nodes for the server on GKE: a node pool, or an Autopilot cluster; and the VLLMServer for them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from vllm_operator.api.names import API_VERSION, KIND, child_name
from vllm_operator.api.spec import Spec, possible_replicas
from vllm_operator.desired.rendering.templates import render_template
from vllm_operator.targets.clouds import CloudGpu, gpu_of, smallest
from vllm_operator.targets.coverage import Coverage, spec_paths
from vllm_operator.targets.files import comment_lines, json_file, text_file, yaml_file
from vllm_operator.targets.replica import RenderedReplica, read_replica
from vllm_operator.targets.target import NotCarried, Order, RenderedTarget, Setting, Target, TargetError, TargetFile

ACCELERATOR = "cloud.google.com/gke-accelerator"
"""Node label with the GPU. GKE does not run NVIDIA's feature discovery, so nvidia.com/gpu.product is missing there."""

ACCELERATOR_COUNT = "cloud.google.com/gke-accelerator-count"
"""Node label with the number of GPUs, by which Autopilot chooses the machine."""

COMPUTE_CLASS = "cloud.google.com/compute-class"

HYPERDISK = ("a3-ultragpu", "a4-", "g4-")
"""Machine series that boot from Hyperdisk only (Compute Engine, "GPU machine types")."""

DISK_GIB = 300
"""GiB of the boot disk: the image of vLLM with 10 GB and more, and a model in an emptyDir."""

AUTOPILOT_REQUESTS = {"cpu": 8, "memory": 32}
"""CPUs, and GiB of memory, that a replica requests for each GPU when its spec requests none: less than the smallest
machine of each GPU has. Autopilot's own default (0.5 CPU, 2 GiB) ends vLLM for lack of memory."""

AUTOPILOT_EPHEMERAL = "100Gi"
"""Ephemeral storage for the model. Autopilot's default is 1 GiB and its bound for GPUs 122 GiB."""

COVERAGE = Coverage(frozenset(spec_paths()) - {"accelerator.product"} | {"accelerator.product"}, {})

REGION = Setting("location", "us-central1", "region or zone of the cluster", r"[a-z]+-[a-z]+[0-9]+(-[a-z])?", True)
CLUSTER = Setting("cluster", "my-cluster", "name of the GKE cluster", r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?", True)


@dataclass(frozen=True)
class GkeNodePoolPlan:
    """The values of `targets/gke/node-pool.yaml.j2`: the body of `nodePools.create` (container.googleapis.com/v1)."""

    name: str
    machine: str
    accelerators: list[dict[str, Any]] | None
    disk_type: str
    disk_gib: int
    spot: bool | None
    min_nodes: int
    max_nodes: int


def render_node_pool(order: Order) -> RenderedTarget:
    """Render the body of the call that creates a node pool, the same as a gcloud command, and the VLLMServer."""
    server, replica = order.server, read_replica(order)
    gpu = gpu_of(replica, server.spec.accelerator.product)
    plan, per_node = _pool(order, replica, gpu)
    not_carried = _pool_notes(gpu, plan, replica, per_node)
    command = {
        "pool": plan.name,
        "cluster": order.settings["cluster"],
        "location": order.settings["location"],
        "plan": vars(plan),
        "accelerator": _accelerator_option(plan),
        "comment": comment_lines(server, "gke", not_carried),
    }
    body = render_template("targets/gke/node-pool", plan)
    adapted = adapted_server(order, gpu, {})
    files = (
        TargetFile("create-node-pool.sh", text_file("gke/create-node-pool.sh", command)),
        TargetFile("node-pool.json", json_file(body)),
        TargetFile("vllmserver.yaml", yaml_file([adapted], comment_lines(server, "gke"))),
    )
    return RenderedTarget(files, not_carried, ("sh create-node-pool.sh", "kubectl apply -f vllmserver.yaml"))


def _pool(order: Order, replica: RenderedReplica, gpu: CloudGpu | None) -> tuple[GkeNodePoolPlan, int]:
    """Return the pool, and the number of replicas that one node takes."""
    spec, settings = order.server.spec, order.settings
    fewest = order.replicas or (spec.autoscaling.min_replicas if spec.autoscaling else spec.replicas)
    most = order.replicas or possible_replicas(spec)
    machine, count = settings["machine"] or "n2-standard-16", 0
    accelerators = None
    if gpu:
        if not gpu.gke:
            raise TargetError("spec.accelerator.product", f"GKE has no {gpu.name}: choose another product")
        count, found = smallest(gpu.gke_machines, gpu, replica.devices, "GKE")
        machine = settings["machine"] or found
        driver = {"gpuDriverVersion": "LATEST"}
        accelerators = [
            {"acceleratorType": gpu.gke, "acceleratorCount": str(count), "gpuDriverInstallationConfig": driver}
        ]
    per_node = max(1, count // replica.devices) if gpu and replica.devices else 1
    plan = GkeNodePoolPlan(
        name=child_name(order.server.name, "vllm").replace(".", "-")[:40].rstrip("-"),
        machine=machine,
        accelerators=accelerators,
        disk_type="hyperdisk-balanced" if machine.startswith(HYPERDISK) else "pd-balanced",
        disk_gib=DISK_GIB,
        spot=True if settings["spot"] == "yes" else None,
        min_nodes=math.ceil(fewest / per_node),
        max_nodes=max(1, math.ceil(most / per_node)),
    )
    return plan, per_node


def _accelerator_option(plan: GkeNodePoolPlan) -> str:
    if not plan.accelerators:
        return ""
    first = plan.accelerators[0]
    return f"type={first['acceleratorType']},count={first['acceleratorCount']},gpu-driver-version=latest"


def _pool_notes(
    gpu: CloudGpu | None, plan: GkeNodePoolPlan, replica: RenderedReplica, per_node: int
) -> tuple[NotCarried, ...]:
    notes = []
    if gpu:
        notes.append(
            NotCarried(
                "spec.accelerator.product", f"nodes of GKE lack its label; the node selector {ACCELERATOR} replaces it"
            )
        )
        notes.append(
            NotCarried(
                "machine",
                f"{plan.machine} takes {per_node} replica{'s' if per_node > 1 else ''} of {replica.devices} GPU",
            )
        )
    return tuple(notes)


def adapted_server(order: Order, gpu: CloudGpu | None, requests: dict[str, str]) -> dict[str, Any]:
    """Return the VLLMServer with GKE's node label instead of NVIDIA's, and with more requests."""
    spec = spec_as_written(order.server.spec)
    if gpu:
        accelerator = {key: value for key, value in (spec.get("accelerator") or {}).items() if key != "product"}
        spec = {**spec, "accelerator": accelerator} if accelerator else _without(spec, "accelerator")
        scheduling = spec.get("scheduling") or {}
        selector = {**(scheduling.get("nodeSelector") or {}), ACCELERATOR: gpu.gke}
        spec["scheduling"] = {**scheduling, "nodeSelector": selector}
    if requests:
        resources = spec.get("resources") or {}
        spec["resources"] = {**resources, "requests": {**requests, **(resources.get("requests") or {})}}
    if order.replicas is not None:
        spec["replicas"] = order.replicas
    metadata = {"name": order.server.name, "namespace": order.server.namespace}
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": spec}


def spec_as_written(spec: Spec) -> dict[str, Any]:
    """Return the fields of a spec that differ from their defaults, under the names of the manifest."""
    result: dict[str, Any] = spec.model_dump(by_alias=True, exclude_unset=True, mode="json")
    return result


def _without(spec: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in spec.items() if name != key}


def render_autopilot(order: Order) -> RenderedTarget:
    """Render the VLLMServer for an Autopilot cluster, which makes the nodes by the pods' selectors and requests."""
    server, replica = order.server, read_replica(order)
    gpu = gpu_of(replica, server.spec.accelerator.product)
    if gpu and not gpu.gke:
        raise TargetError("spec.accelerator.product", f"GKE has no {gpu.name}: choose another product")
    if server.spec.cache and server.spec.cache.volume and "hostPath" in server.spec.cache.volume:
        raise TargetError("spec.cache.volume", "Autopilot refuses hostPath: use cache.size for a claim")
    requests = _autopilot_requests(replica, server.spec)
    adapted = adapted_server(order, gpu, requests)
    if gpu:
        count, _ = smallest(gpu.gke_machines, gpu, replica.devices, "GKE")
        selector = adapted["spec"]["scheduling"]["nodeSelector"]
        selector[ACCELERATOR_COUNT] = str(count)
        if order.settings["spot"] == "yes":
            selector["cloud.google.com/gke-spot"] = "true"
    elif order.settings["compute-class"]:
        scheduling = adapted["spec"].setdefault("scheduling", {})
        scheduling["nodeSelector"] = {
            **(scheduling.get("nodeSelector") or {}),
            COMPUTE_CLASS: order.settings["compute-class"],
        }
    not_carried = tuple(_autopilot_notes(gpu, requests))
    text = yaml_file([adapted], comment_lines(server, "gke-autopilot", not_carried))
    return RenderedTarget((TargetFile("vllmserver.yaml", text),), not_carried, ("kubectl apply -f vllmserver.yaml",))


def _autopilot_requests(replica: RenderedReplica, spec: Spec) -> dict[str, str]:
    """Return the requests that the spec lacks."""
    given, devices = {**spec.resources.limits, **spec.resources.requests}, max(1, replica.devices)
    wanted = {
        "cpu": str(AUTOPILOT_REQUESTS["cpu"] * devices),
        "memory": f"{AUTOPILOT_REQUESTS['memory'] * devices}Gi",
        "ephemeral-storage": AUTOPILOT_EPHEMERAL,
    }
    return {name: value for name, value in wanted.items() if name not in given}


def _autopilot_notes(gpu: CloudGpu | None, requests: dict[str, str]) -> list[NotCarried]:
    notes = []
    if gpu:
        notes.append(
            NotCarried(
                "spec.accelerator.product",
                f"nodes of GKE lack its label; the node selectors {ACCELERATOR} and {ACCELERATOR_COUNT} replace it",
            )
        )
    for name, value in requests.items():
        notes.append(
            NotCarried(f"spec.resources.requests.{name}", f"{value} is added, since Autopilot's default is too small")
        )
    return notes


TARGET_NODE_POOL = Target(
    name="gke",
    title="nodes for the server on GKE Standard: a node pool, and the VLLMServer for it",
    render=render_node_pool,
    coverage=COVERAGE,
    settings=(
        CLUSTER,
        REGION,
        Setting("machine", "", "machine type instead of the smallest that fits", r"[a-z][a-z0-9]*(-[a-z0-9]+)+|"),
        Setting("spot", "no", "yes or no: use Spot VMs", "yes|no"),
    ),
)
TARGET_AUTOPILOT = Target(
    name="gke-autopilot",
    title="the VLLMServer for a GKE Autopilot cluster",
    render=render_autopilot,
    coverage=COVERAGE,
    settings=(
        Setting("spot", "no", "yes or no: use Spot VMs", "yes|no"),
        Setting("compute-class", "Performance", "compute class of a server without GPUs", r"[A-Za-z][A-Za-z0-9-]*|"),
    ),
)
