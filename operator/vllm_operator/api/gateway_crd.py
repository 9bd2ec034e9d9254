"""Generate the CustomResourceDefinition of VLLMGateway: `python -m vllm_operator crd --kind VLLMGateway`."""

from __future__ import annotations

from typing import Any

from vllm_operator.api.crd import custom_resource, model_schema, resource_names, root_schema, with_defaults_described
from vllm_operator.api.fields import CelRule
from vllm_operator.api.gateway import GatewaySpec
from vllm_operator.api.gateway_status import GatewayStatus
from vllm_operator.api.names import (
    GATEWAY_KIND,
    GATEWAY_PLURAL,
    GATEWAY_SHORT_NAME,
    GATEWAY_SINGULAR,
)

NAME_RULE = CelRule(
    "self.metadata.name.size() <= 128 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
    "metadata.name must have at most 128 characters, start with a letter and hold only a-z, 0-9 and '-', because the "
    "Service is named after it: choose a shorter or simpler name",
)

COLUMNS: tuple[tuple[str, str, str, int, str], ...] = (
    ("Address", "string", ".status.address", 0, "Base URL inside the cluster"),
    ("Ready", "string", ".status.ready", 0, "Ready pods of the wanted ones, such as 2/2"),
    ("Phase", "string", ".status.phase", 0, "State of the gateway in one word"),
    ("Models", "integer", ".status.modelCount", 0, "Models that clients may name"),
    ("Keys", "integer", ".status.keys", 1, "API keys that are accepted"),
    ("Waiting", "integer", ".status.heldRequests", 1, "Requests that wait for a replica"),
    ("Routing", "string", ".spec.routing", 1, "How a replica is chosen"),
    ("Age", "date", ".metadata.creationTimestamp", 0, "Time since creation"),
    ("Message", "string", ".status.message", 0, "The most important problem, with its cause"),
)


def gateway_crd() -> dict[str, Any]:
    """Return the CustomResourceDefinition."""
    names = resource_names(GATEWAY_KIND, GATEWAY_PLURAL, GATEWAY_SINGULAR, GATEWAY_SHORT_NAME)
    description = "One OpenAI endpoint in front of the VLLMServers of a namespace."
    spec = {**with_defaults_described(model_schema(GatewaySpec)), "default": {}}
    return custom_resource(names, COLUMNS, root_schema(description, spec, GatewayStatus, NAME_RULE))
