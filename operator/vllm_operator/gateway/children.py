"""The children of a VLLMGateway: the values of each, and its manifest."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import orjson

from vllm_operator.api.gateway import GatewaySpec
from vllm_operator.api.gateway_resource import VLLMGateway
from vllm_operator.api.names import (
    ANNOTATION_GATEWAY,
    ANNOTATION_HASH,
    GROUP,
    LABEL_INSTANCE,
    child_name,
    gateway_child_name,
    gateway_labels,
    gateway_selector_labels,
)
from vllm_operator.desired.model_dump import dump_model
from vllm_operator.desired.rendering.strategic_merge import strategic_merge
from vllm_operator.desired.rendering.templates import render_template
from vllm_operator.errors import InvalidSpecError
from vllm_operator.gateway.envoy.bootstrap import bootstrap
from vllm_operator.gateway.envoy.names import PodLayout
from vllm_operator.kube.codec import compress_json
from vllm_operator.kube.manifest import Manifest
from vllm_operator.kube.quantity import parse_quantity
from vllm_operator.settings import DEFAULT_ENVOY_IMAGE, is_ipv6_cluster

METRICS_PORT, PEER_PORT = 8082, 8083
CONTAINERS = {"initContainers": ("prepare", "envoy"), "containers": ("agent",)}
"""Containers that a pod template must keep. Envoy is a sidecar: an init container that goes on."""
DEFAULT_THREADS = 2
"""Worker threads of Envoy without a request or limit of CPU."""
GRACE_SECONDS = 15
"""Seconds between the end of the drain and the kill."""
HEAP_SHARE = 0.85
"""Part of the memory limit of the container at which Envoy refuses requests, instead of being killed with all of
them."""

CONTAINER_SECURITY_CONTEXT: dict[str, Any] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


@dataclass(frozen=True)
class GatewayImages:
    """The images of the pods of a gateway where its spec names none.

    Attributes:
        agent: the image of the operator, which holds the agent.
        envoy: the image of Envoy.
    """

    agent: str
    envoy: str = DEFAULT_ENVOY_IMAGE


@dataclass(frozen=True)
class GatewayNames:
    """The values of a child that has nothing but its name and selector."""

    name: str
    namespace: str
    selector: dict[str, str]


@dataclass(frozen=True)
class GatewayDeploymentPlan:
    """The values of `gateway/deployment.yaml.j2`."""

    name: str
    replicas: int
    selector: dict[str, str]
    pod_labels: dict[str, str]
    grace_period: int
    image_pull_secrets: list[dict[str, Any]] | None
    image: str
    envoy_args: list[str]
    port: int
    health_port: int
    resources: dict[str, Any]
    container_security_context: dict[str, Any]
    envoy_mounts: list[dict[str, Any]]
    agent_image: str
    agent_args: list[str]
    metrics_port: int
    peer_port: int
    agent_resources: dict[str, Any]
    drain_command: list[str]
    agent_mounts: list[dict[str, Any]]
    volumes: list[dict[str, Any]]


def render_gateway(
    gateway: VLLMGateway, images: GatewayImages, servers: Sequence[str], secrets: Sequence[str]
) -> tuple[Manifest, ...]:
    """Return the manifest of each child, in the order in which they are applied.

    Args:
        gateway: an accepted gateway.
        images: images of the pods where the spec names none.
        servers: names of the VLLMServers that the gateway serves.
        secrets: Secrets that its agent reads.

    Raises:
        InvalidSpecError: spec.podTemplate cannot be merged.
    """
    return tuple(finish_child(gateway, body) for body in _bodies(gateway, images, servers, secrets))


def _bodies(
    gateway: VLLMGateway, images: GatewayImages, servers: Sequence[str], secrets: Sequence[str]
) -> Iterator[dict[str, Any]]:
    spec, names = gateway.spec, _names(gateway)
    config = {"name": names.name, "bootstrap": _bootstrap_text(gateway)}
    yield _render("serviceaccount", vars(names))
    yield _render("role", {"name": names.name, "rules": _rules(gateway, servers, secrets)})
    yield _render("rolebinding", vars(names))
    yield _render("configmap", config)
    service = _render("service", _service(gateway))
    service["spec"] |= dump_model(spec.service.spec) if spec.service.spec else {}
    yield service
    deployment = render_template("gateway/deployment", _deployment(gateway, images, config["bootstrap"]))
    yield _with_pod_template(deployment, spec)
    if spec.replicas > 1:
        yield _render("poddisruptionbudget", vars(names))
    if spec.network_policy:
        yield _render("networkpolicy", vars(names))
        if spec.network_policy.isolate_servers:
            yield _render("serverspolicy", _servers_policy(gateway, servers))


def _render(template: str, values: dict[str, Any]) -> dict[str, Any]:
    return render_template(f"gateway/{template}", SimpleNamespace(**values))


def _names(gateway: VLLMGateway) -> GatewayNames:
    name = gateway_child_name(gateway.name)
    return GatewayNames(name, gateway.namespace, gateway_selector_labels(gateway.name))


def layout() -> PodLayout:
    """Return where the containers of a pod find each other."""
    return PodLayout(address="::" if is_ipv6_cluster() else "0.0.0.0")


def gateway_url(gateway: VLLMGateway) -> str:
    """Return the base URL of the gateway inside the cluster."""
    scheme, standard = ("https", 443) if gateway.spec.tls else ("http", 80)
    port = gateway.spec.service_port
    host = f"{gateway_child_name(gateway.name)}.{gateway.namespace}.svc"
    return f"{scheme}://{host}" + ("" if port == standard else f":{port}")


def _bootstrap_text(gateway: VLLMGateway) -> str:
    limit = parse_quantity(gateway.spec.resources.limits.get("memory"))
    heap = int(float(limit) * HEAP_SHARE) if limit is not None else None
    return json.dumps(bootstrap(layout(), gateway.name, heap), indent=1)


def _service(gateway: VLLMGateway) -> dict[str, Any]:
    service = gateway.spec.service
    return {
        "name": gateway_child_name(gateway.name),
        "labels": dict(service.labels),
        "annotations": dict(service.annotations),
        "type": service.type,
        "selector": gateway_selector_labels(gateway.name),
        "port": gateway.spec.service_port,
        "node_port": service.node_port,
    }


def _rules(gateway: VLLMGateway, servers: Sequence[str], secrets: Sequence[str]) -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = [
        {"apiGroups": [GROUP], "resources": ["vllmgateways", "vllmservers"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["get", "list", "watch"]},
    ]
    if secrets:
        names = sorted(secrets)
        rules.append({"apiGroups": [""], "resources": ["secrets"], "resourceNames": names, "verbs": ["get"]})
    if servers and gateway.spec.holding.timeout_seconds:
        # The annotation that starts a sleeping server.
        names = sorted(servers)
        rules.append({"apiGroups": [GROUP], "resources": ["vllmservers"], "resourceNames": names, "verbs": ["patch"]})
    return rules


def _deployment(gateway: VLLMGateway, images: GatewayImages, config: str) -> GatewayDeploymentPlan:
    spec, where, name = gateway.spec, layout(), gateway_child_name(gateway.name)
    shared = [{"name": "xds", "mountPath": where.xds}, {"name": "run", "mountPath": where.run}]
    tls = [{"name": "tls", "mountPath": where.tls, "readOnly": True}] if spec.tls else []
    # A changed bootstrap needs a new pod.
    labels = {**gateway_labels(gateway.name), f"{GROUP}/bootstrap": hashlib.sha256(config.encode()).hexdigest()[:16]}
    volumes: list[dict[str, Any]] = [
        # In memory: the files hold the keys of vLLM.
        {"name": "xds", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
        {"name": "run", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
        {"name": "config", "configMap": {"name": name}},
    ]
    if spec.tls:
        volumes.append({"name": "tls", "secret": {"secretName": spec.tls.secret_name}})
    return GatewayDeploymentPlan(
        name=name,
        replicas=spec.replicas,
        selector=gateway_selector_labels(gateway.name),
        pod_labels=labels,
        grace_period=spec.drain_timeout_seconds + GRACE_SECONDS,
        image_pull_secrets=dump_model(spec.image_pull_secrets) or None,
        image=spec.image or images.envoy,
        envoy_args=[
            *("-c", "/config/bootstrap.json", "-l", "warning", "--disable-hot-restart"),
            # Every answer of a pod that ends closes its connection, so that the client moves on to another pod.
            *(
                "--drain-time-s",
                str(spec.drain_timeout_seconds),
                "--drain-strategy",
                "immediate",
                "--concurrency",
                str(_threads(spec)),
            ),
        ],
        port=where.port,
        health_port=where.health_port,
        resources=dump_model(spec.resources),
        container_security_context=CONTAINER_SECURITY_CONTEXT,
        envoy_mounts=[
            {"name": "xds", "mountPath": where.xds, "readOnly": True},
            {"name": "run", "mountPath": where.run},
            {"name": "config", "mountPath": "/config", "readOnly": True},
            *tls,
        ],
        agent_image=spec.agent_image or images.agent,
        agent_args=["gateway-agent", "--name", gateway.name, "--listen-address", where.address],
        metrics_port=METRICS_PORT,
        peer_port=PEER_PORT,
        agent_resources=dump_model(spec.agent_resources),
        drain_command=["python", "-m", "vllm_operator", "gateway-drain", "--seconds", str(spec.drain_timeout_seconds)],
        agent_mounts=shared,
        volumes=volumes,
    )


def _threads(spec: GatewaySpec) -> int:
    """Return the number of Envoy's worker threads; without a number it starts one for each CPU of the node."""
    cpus = parse_quantity(spec.resources.limits.get("cpu") or spec.resources.requests.get("cpu"))
    return max(1, math.ceil(cpus)) if cpus is not None else DEFAULT_THREADS


def _with_pod_template(body: dict[str, Any], spec: GatewaySpec) -> dict[str, Any]:
    """Merge spec.podTemplate; the labels that select the pods, and the two containers, stay."""
    if not spec.pod_template:
        return body
    own = body["spec"]["template"]
    merged = strategic_merge(own, spec.pod_template, "spec.podTemplate")
    pod = merged.get("spec")
    for field, wanted in CONTAINERS.items():
        found = pod.get(field) if isinstance(pod, dict) else None
        names = [item.get("name") for item in found if isinstance(item, dict)] if isinstance(found, list) else []
        if missing := [name for name in wanted if name not in names]:
            raise InvalidSpecError(
                f"spec.podTemplate.spec.{field}",
                f"the container {missing[0]} is missing: change it by an item with name: {missing[0]}",
            )
    given = merged.get("metadata")
    metadata: dict[str, Any] = given if isinstance(given, dict) else {}
    labels = {**(metadata.get("labels") or {}), **own["metadata"]["labels"]}
    body["spec"]["template"] = {**merged, "metadata": {**metadata, "labels": labels}}
    return body


def _servers_policy(gateway: VLLMGateway, servers: Sequence[str]) -> dict[str, Any]:
    policy = gateway.spec.network_policy
    instances = sorted(child_name(server) for server in servers)
    anywhere: dict[str, Any] = {"namespaceSelector": {}}
    peers = [
        {"podSelector": {"matchLabels": gateway_selector_labels(gateway.name)}},
        *(
            {**anywhere, "podSelector": {"matchLabels": {"app.kubernetes.io/name": name}}}
            for name in ("vllm-operator", "prometheus")
        ),
        *(policy.allow_from if policy else ()),
    ]
    # Without a server, the policy selects nothing.
    expression = {"key": LABEL_INSTANCE, "operator": "In", "values": instances or ["-"]}
    return {
        "name": gateway_child_name(gateway.name, "servers"),
        "instances": [expression],
        "peers": peers,
    }


def finish_child(gateway: VLLMGateway, body: dict[str, Any]) -> Manifest:
    """Return the manifest of a child, with namespace, labels, owner and hash."""
    metadata, given = body["metadata"], gateway.spec.metadata
    metadata["namespace"] = gateway.namespace
    metadata["labels"] = {**given.labels, **metadata.get("labels", {}), **gateway_labels(gateway.name)}
    metadata["annotations"] = {
        **given.annotations,
        **metadata.get("annotations", {}),
        ANNOTATION_GATEWAY: gateway.name,
    }
    metadata["ownerReferences"] = [gateway.owner_reference]
    digest = hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]
    metadata["annotations"][ANNOTATION_HASH] = digest
    return Manifest(body["kind"], metadata["name"], digest, compress_json(body))
