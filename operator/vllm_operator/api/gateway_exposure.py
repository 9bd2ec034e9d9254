"""How a gateway, and the replicas behind it, are reached from elsewhere: the kinds of Gateway API."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from vllm_operator.api.fields import CelRule, Model, ObjectName, ObjectNameOrNone

Hostname = Annotated[
    str,
    Field(
        min_length=1,
        max_length=253,
        pattern=r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
    ),
]
"""A host name, whose first part may be `*`."""

Port = Annotated[int, Field(ge=1, le=65535)]


class ParentReference(Model):
    """A Gateway, or another parent of a route (gateway.networking.k8s.io/v1 ParentReference)."""

    group: Annotated[str, Field(max_length=253)] = Field(
        default="gateway.networking.k8s.io", description="API group of the parent."
    )
    kind: Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$")] = Field(
        default="Gateway", description="Kind of the parent."
    )
    namespace: ObjectNameOrNone = Field(
        default="", description="Namespace of the parent. Empty: that of the VLLMGateway."
    )
    name: ObjectName = Field(description="Name of the parent.")
    section_name: ObjectNameOrNone = Field(default="", description="Listener of the Gateway. Empty: all that fit.")
    port: Port | None = Field(default=None, description="Port of the listener. Unset: all that fit.")


class HttpRoute(Model):
    """An HTTPRoute to the Service of the gateway."""

    parent_refs: Annotated[list[ParentReference], Field(min_length=1, max_length=32)] = Field(
        description="Gateways that exist already."
    )
    hostnames: Annotated[list[Hostname], Field(max_length=16)] = Field(
        default_factory=list, description="Host names of requests. Empty: those of the listeners."
    )


class EndpointPicker(Model):
    """The Service of an endpoint picker (inference.networking.k8s.io/v1 EndpointPickerRef)."""

    name: ObjectName = Field(description="Name of the Service, in the same namespace.")
    port: Port = Field(default=9002, description="Its port.")
    failure_mode: Literal["FailClose", "FailOpen"] = Field(
        default="FailClose", description="What becomes of requests while the picker does not answer."
    )


class InferencePools(Model):
    """An InferencePool of the replicas of each server, for Gateways that route by it.

    Such requests go to the replicas directly: keys, limits and holding of this gateway do not apply.
    """

    endpoint_picker_ref: EndpointPicker = Field(description="The endpoint picker of the pools.")


class Exposure(Model):
    """Objects of Gateway API, where its CRDs are installed."""

    http_route: HttpRoute | None = Field(
        default=None, description="An HTTPRoute from Gateways to this gateway. Unset: none."
    )
    inference_pools: InferencePools | None = Field(
        default=None,
        description="An InferencePool for each server of the namespace that the gateway serves, named "
        "GATEWAY-gateway-SERVER. Unset: none.",
    )

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "has(self.httpRoute) || has(self.inferencePools)",
            "exposure needs a kind: set httpRoute or inferencePools, or remove exposure",
        ),
    )
