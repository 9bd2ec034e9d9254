"""Judge the manifest of a VLLMGateway as the API server and the operator would."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from vllm_operator.api.gateway import GatewaySpec
from vllm_operator.api.gateway_crd import gateway_crd
from vllm_operator.api.gateway_resource import VLLMGateway, parse_gateway
from vllm_operator.api.names import GATEWAY_KIND
from vllm_operator.errors import InvalidSpecError
from vllm_operator.offline.judgement import (
    Judgement,
    api_server_refusals,
    document_name,
    form_refusals,
    with_identity,
)
from vllm_operator.offline.manifest_file import Document
from vllm_operator.offline.refusal import Refusal
from vllm_operator.offline.structural_schema import with_defaults
from vllm_operator.validation.pod_template import RESTRICTED
from vllm_operator.validation.secret_references import SECRET_LABEL, SECRET_LABEL_VALUE

GatewayRenderer = Callable[[VLLMGateway, Sequence[str]], Iterable[dict[str, Any]]]
"""Returns the children of a gateway that serves the servers of these names.

Raises:
    InvalidSpecError: the operator would refuse the spec.
"""


def is_gateway(body: Any) -> bool:
    """Return whether a document is a VLLMGateway."""
    return isinstance(body, Mapping) and body.get("kind") == GATEWAY_KIND


def judge_gateway(
    document: Document, namespace: str, pod_template: str, servers: Sequence[str], render: GatewayRenderer
) -> Judgement:
    """Return the verdict about a VLLMGateway.

    Args:
        document: a document of a file.
        namespace: namespace of a manifest that names none.
        pod_template: mode of the cluster, `restricted` or `free`.
        servers: names of the VLLMServers of its namespace in the same file.
        render: renders its children.
    """
    body = document.body
    name = document_name(body, namespace)
    if problems := tuple(form_refusals(document, GATEWAY_KIND)):
        return Judgement(name, problems)
    stored = with_defaults({key: value for key, value in body.items() if key != "status"}, _schema())
    problems, notes = api_server_refusals(body, stored, _schema())
    if problems:
        return Judgement(name, problems, notes)
    try:
        gateway = parse_gateway(with_identity(stored, namespace))
        if pod_template == RESTRICTED and gateway.spec.pod_template:
            text = "an operator that runs with --pod-template restricted refuses it for gateways: remove it"
            raise InvalidSpecError("spec.podTemplate", text, "PodTemplateForbidden")
        objects = tuple(render(gateway, servers))
    except InvalidSpecError as error:
        return Judgement(name, (Refusal(error.field, error.reason, error.message),), notes)
    return Judgement(name, (), (*notes, *_notes(gateway, servers)), objects)


@functools.cache
def _schema() -> Mapping[str, Any]:
    schema: Mapping[str, Any] = gateway_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def _notes(gateway: VLLMGateway, servers: Sequence[str]) -> Iterator[str]:
    """Return what the spec alone cannot show."""
    spec = gateway.spec
    for secret in dict.fromkeys(_secrets(spec)):
        yield (
            f"the Secret {secret} must exist in the namespace; an operator that runs with --secrets=labelled refuses "
            f"it without the label {SECRET_LABEL}={SECRET_LABEL_VALUE}"
        )
    for reference in spec.servers.references:
        if reference.namespace == gateway.namespace:
            yield f"spec.servers.references: {reference.name} is of the own namespace: name it in spec.servers.names"
            continue
        label = f"gateways.vllm-operator.dev/{gateway.namespace}=true"
        yield f"the VLLMServer {reference.namespace}/{reference.name} must have the label {label}"
    for server in dict.fromkeys(_servers(spec)):
        if server not in servers:
            yield f"the VLLMServer {server} is not in this file: it must exist in the namespace"
    if spec.exposure:
        yield "spec.exposure: the objects of Gateway API are applied where the cluster has their CRDs"
    yield "the operator reconciles gateways where it runs with --gateway-agent-image"


def _secrets(spec: GatewaySpec) -> Iterator[str]:
    """Yield the Secrets that a spec names."""
    if spec.auth:
        yield from (entry.name for entry in spec.auth.secrets)
        yield from (key.secret_key_ref.name for key in spec.auth.api_keys)
    if spec.tls:
        yield spec.tls.secret_name


def _servers(spec: GatewaySpec) -> Iterator[str]:
    """Yield the VLLMServers that a spec names in the namespace of its gateway."""
    yield from spec.servers.names
    yield from (server.name for model in spec.models for server in model.servers if "/" not in server.name)
