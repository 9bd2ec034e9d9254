"""The checklist of a cluster: CRD, operator, metrics APIs, devices, storage classes, rights of the user."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from vllm_operator.api.crd import crd
from vllm_operator.api.names import GROUP, PLURAL
from vllm_operator.cli.api_failures import CallError
from vllm_operator.cli.checks.item import CheckedItem, CheckResult, passes
from vllm_operator.cli.operator_state import operator_deployments, operator_findings
from vllm_operator.cli.sanitize import clean
from vllm_operator.cli.servers import field, items, mapping, name_of
from vllm_operator.kube.kinds import CHILD_KINDS, SCALED_OBJECT, Kind

if TYPE_CHECKING:
    from vllm_operator.cli.cluster import Cluster

SECTION = "Cluster"
CRD = Kind("CustomResourceDefinition", "apiextensions.k8s.io", "v1", "customresourcedefinitions")
NODE = Kind("Node", "", "v1", "nodes")
STORAGE_CLASS = Kind("StorageClass", "storage.k8s.io", "v1", "storageclasses")
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"

DEVICE_WORDS = ("gpu", "tpu", "neuron", "gaudi", "npu", "xpu", "accelerator", "tenstorrent", "mig-")
"""Parts of the names of extended resources that are accelerators."""

PRODUCT_LABELS = ("nvidia.com/gpu.product", "amd.com/gpu.product-name", "cloud.google.com/gke-accelerator")

RIGHTS: tuple[tuple[str, str, str, str], ...] = (
    ("list", GROUP, PLURAL, "get, status, doctor"),
    ("patch", GROUP, PLURAL, "scale, pause, resume"),
    ("list", "", "pods", "status, logs, top"),
    ("get", "", "pods/log", "logs, report"),
    ("get", "", "pods/proxy", "top, status"),
    ("create", "", "pods/portforward", "chat, complete, bench"),
    ("get", "", "secrets", "chat, complete: the API key"),
    ("list", "", "events", "doctor, report"),
    ("patch", "apps", "deployments", "restart, render --diff"),
)
"""Verb, group, resource, and the commands that need the right."""


def cluster_items(cluster: Cluster) -> list[CheckedItem]:
    """Return the result of each item about the cluster."""
    judges: tuple[tuple[str, str, Callable[[Cluster], CheckResult]], ...] = (
        ("crd", "CRD of VLLMServer", definition),
        ("operator", "Operator", operator),
        ("metrics-api", "Metrics APIs for autoscaling", metrics_apis),
        ("monitoring-crds", "CRDs of prometheus-operator", monitoring_kinds),
        ("devices", "Accelerators of the nodes", devices),
        ("storage", "Storage classes", storage),
        ("rights", "Rights of the user in the namespace", rights),
    )
    return [CheckedItem(identity, SECTION, title, _judged(judge, cluster)) for identity, title, judge in judges]


def _judged(judge: Callable[[Cluster], CheckResult], cluster: Cluster) -> CheckResult:
    try:
        return judge(cluster)
    except CallError as error:
        if error.is_forbidden:
            return CheckResult("unknown", error.message, "run it with an account that has the right")
        if error.is_missing_kind:
            return CheckResult("unknown", error.message, "is this a whole API server of Kubernetes?")
        raise


def definition(cluster: Cluster) -> CheckResult:
    """Judge the CRD: it exists, is served, and has the schema of this version of the plugin."""
    body = cluster.find(CRD, f"{PLURAL}.{GROUP}", "")
    apply = "vllm-operator crd | kubectl apply --server-side -f -"
    if body is None:
        return CheckResult("fail", f"there is no CRD {PLURAL}.{GROUP}", f"install the operator, or: {apply}")
    states = {entry.get("type"): entry.get("status") for entry in items(body, "status", "conditions")}
    if states.get("Established") != "True":
        return CheckResult("fail", "the CRD is not established", f"kubectl describe crd {PLURAL}.{GROUP}")
    missing = sorted(set(_spec_fields(crd())) - set(_spec_fields(body)))
    if missing:
        return CheckResult(
            "warn", f"the CRD is older than this plugin: it has no spec.{', spec.'.join(missing[:5])}", apply
        )
    return passes("established, and has all fields that this plugin knows")


def _spec_fields(body: Mapping[str, Any]) -> Iterable[str]:
    """Return the paths of the fields of the spec, two levels deep."""
    version = next(iter(items(body, "spec", "versions")), {})
    fields = mapping(version, "schema", "openAPIV3Schema", "properties", "spec", "properties")
    for name, schema in fields.items():
        yield name
        for inner in mapping(schema, "properties"):
            yield f"{name}.{inner}"


def operator(cluster: Cluster) -> CheckResult:
    """Judge the operator's Deployment."""
    found = operator_findings(cluster)
    if found:
        level = found[0].level
        return CheckResult(
            "fail" if level == "problem" else "unknown", "; ".join(f.message for f in found), "see the message"
        )
    names = [f"{field(body, 'metadata', 'namespace')}/{name_of(body)}" for body in operator_deployments(cluster) or ()]
    return passes(f"{', '.join(map(clean, names))} is available")


def served_groups(cluster: Cluster) -> set[str]:
    """Return the names of the API groups that the cluster serves."""
    return {clean(group.get("name"), 253) for group in items(cluster.request("GET", "/apis"), "groups")}


def metrics_apis(cluster: Cluster) -> CheckResult:
    """Judge the APIs that a HorizontalPodAutoscaler reads."""
    groups = served_groups(cluster)
    found = [name for name in ("metrics.k8s.io", "custom.metrics.k8s.io", "external.metrics.k8s.io") if name in groups]
    shown = f"served: {', '.join(found) or 'none'}"
    if "custom.metrics.k8s.io" not in groups:
        return CheckResult(
            "warn",
            f"{shown}; autoscaling.source: builtin needs custom.metrics.k8s.io, which the operator serves unless it "
            "serves single namespaces, or has the option --no-metrics-api",
            "let the operator serve it (metricsAPI.enabled), or set autoscaling.source: operator (how-to/autoscale.md)",
        )
    return passes(shown)


def monitoring_kinds(cluster: Cluster) -> CheckResult:
    """Judge the CRDs of PodMonitor and PrometheusRule."""
    missing = {"PodMonitor", "PrometheusRule"} - monitoring_api_kinds(cluster)
    if missing:
        return CheckResult(
            "warn",
            f"no CRD of {' and '.join(sorted(missing))}: pods get scrape annotations, and there are no alerts",
            "install prometheus-operator, or read the annotations with your own Prometheus",
        )
    return passes("PodMonitor and PrometheusRule are served")


def monitoring_api_kinds(cluster: Cluster) -> frozenset[str]:
    """Return the kinds of prometheus-operator that the cluster serves."""
    return _kinds(cluster, "monitoring.coreos.com/v1")


def optional_kinds(cluster: Cluster) -> frozenset[str]:
    """Return the kinds of prometheus-operator and of KEDA that the cluster serves."""
    return monitoring_api_kinds(cluster) | _kinds(cluster, CHILD_KINDS[SCALED_OBJECT].api_version)


def _kinds(cluster: Cluster, version: str) -> frozenset[str]:
    """Return the kinds that the cluster serves in an API group and version; none where it lacks them."""
    try:
        answer = cluster.request("GET", f"/apis/{version}")
    except CallError as error:
        if error.status != 404:
            raise
        return frozenset()
    return frozenset(clean(entry.get("kind"), 128) for entry in items(answer, "resources"))


def devices(cluster: Cluster) -> CheckResult:
    """Judge the accelerators that nodes offer."""
    found = [_devices_of(node) for node in cluster.list(NODE, None, most=5000)]
    offers = sorted(
        {f"{count} {name}{f' ({product})' if product else ''}" for node in found for name, count, product in node}
    )
    nodes = sum(bool(node) for node in found)
    if not offers:
        return CheckResult(
            "warn",
            f"none of the {len(found)} nodes offers an accelerator",
            "install the device plugin of your accelerator, or serve on CPUs (accelerator.resourceName: '')",
        )
    return passes(f"{nodes} of {len(found)} nodes offer: {', '.join(offers[:20])}")


def _devices_of(node: Mapping[str, Any]) -> list[tuple[str, int, str]]:
    """Return resource, number and product of the accelerators of a node."""
    labels = mapping(node, "metadata", "labels")
    product = next((clean(labels[name], 100) for name in PRODUCT_LABELS if name in labels), "")
    offered = mapping(node, "status", "allocatable")
    return [
        (clean(name, 253), int(count), product)
        for name, count in offered.items()
        if "/" in name and any(word in name for word in DEVICE_WORDS) and str(count).isdecimal() and int(count) > 0
    ]


def largest_node(cluster: Cluster, resource: str) -> int | None:
    """Return the most devices of a resource that one node has; None if the user may not list nodes."""
    try:
        nodes = cluster.list(NODE, None, most=5000)
    except CallError as error:
        if error.is_forbidden:
            return None
        raise
    counts = [str(mapping(node, "status", "allocatable").get(resource, "0")) for node in nodes]
    return max((int(count) for count in counts if count.isdecimal()), default=0)


def storage(cluster: Cluster) -> CheckResult:
    """Judge the storage classes."""
    classes = cluster.list(STORAGE_CLASS, None)
    default = [
        name_of(body) for body in classes if mapping(body, "metadata", "annotations").get(DEFAULT_CLASS) == "true"
    ]
    shown = ", ".join(f"{name_of(body)} ({clean(body.get('provisioner'), 100)})" for body in classes[:10])
    if not classes:
        return CheckResult("warn", "there is no StorageClass", "create one, or use cache.existingClaim or cache.volume")
    if not default:
        return CheckResult("warn", f"{shown}; none is the default", "set cache.storageClassName in each server")
    return passes(f"{shown}; default {', '.join(default)}; whether a class offers ReadWriteMany is not seen from here")


def rights(cluster: Cluster) -> CheckResult:
    """Judge which commands the rights of the user allow in the namespace."""
    with ThreadPoolExecutor(4) as pool:
        allowed = list(pool.map(lambda right: _is_allowed(cluster, *right[:3]), RIGHTS))
    missing = [right for right, may in zip(RIGHTS, allowed, strict=True) if not may]
    if not missing:
        return passes(f"all {len(RIGHTS)} rights of the commands in namespace {cluster.namespace}")
    shown = [
        f"{verb} {resource}{f'.{group}' if group else ''} ({commands})" for verb, group, resource, commands in missing
    ]
    return CheckResult(
        "warn", f"missing in namespace {cluster.namespace}: {'; '.join(shown)}", "ask for a Role with them"
    )


def _is_allowed(cluster: Cluster, verb: str, group: str, resource: str) -> bool:
    plural, _, subresource = resource.partition("/")
    attributes = {"namespace": cluster.namespace, "verb": verb, "group": group, "resource": plural}
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {**attributes, "subresource": subresource}},
    }
    return field(cluster.request("POST", REVIEWS, None, body), "status", "allowed") is True
