"""The status of a VLLMGateway."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from vllm_operator.api.fields import ListMap, Model
from vllm_operator.api.status import Condition, StatusText

GatewayPhase = Literal["Pending", "Invalid", "Serving", "Degraded"]
MAX_MODELS = 256
MAX_REFUSED = 64


class GatewayModelStatus(Model):
    """One model of a gateway."""

    name: StatusText = Field(description="Name of the model for clients.")
    servers: Annotated[list[StatusText], Field(max_length=64)] = Field(
        description="VLLMServers that answer now, in the order of the spec."
    )
    ready_endpoints: int = Field(description="Replicas that take its requests.")


class HeldByServer(Model):
    """Requests that wait for a server."""

    server: StatusText = Field(description="Name of the VLLMServer.")
    requests: int = Field(description="Number of requests.")


class RemoteServerStatus(Model):
    """A server of another namespace that allows the gateway, as the agents need it."""

    namespace: StatusText = Field(description="Namespace of the VLLMServer.")
    name: StatusText = Field(description="Name of the VLLMServer.")
    served_models: Annotated[list[StatusText], Field(max_length=64)] = Field(description="Names that it serves.")
    endpoints: Annotated[list[StatusText], Field(max_length=500)] = Field(
        description="Address and port of each replica that takes requests."
    )


class GatewayStatus(Model):
    """The state that the operator observed. Only the operator writes it."""

    observed_generation: int | None = Field(
        default=None, description="metadata.generation that the status was computed from; -1 before the first status."
    )
    phase: GatewayPhase | None = Field(default=None, description="State of the gateway in one word.")
    message: StatusText | None = Field(default=None, description="The most important problem, with its remedy.")
    ready: StatusText | None = Field(default=None, description="Ready pods of the gateway of the wanted ones.")
    replicas: int | None = Field(default=None, description="Pods that the Deployment has.")
    ready_replicas: int | None = Field(default=None, description="Pods whose Ready condition is True.")
    selector: StatusText | None = Field(default=None, description="Label selector of the pods.")
    address: StatusText | None = Field(default=None, description="Base URL for clients inside the cluster.")
    models: Annotated[list[GatewayModelStatus], Field(max_length=MAX_MODELS), ListMap("name")] | None = Field(
        default=None, description="Models that clients may name, sorted by name; at most 256."
    )
    model_count: int | None = Field(default=None, description="Number of all models.")
    keys: int | None = Field(default=None, description="API keys that are accepted. Absent without auth.")
    held_requests: int | None = Field(
        default=None,
        description="Requests that wait for a replica, as the agents report them every 5 s while any waits. Absent "
        "when an agent does not answer.",
    )
    held: Annotated[list[HeldByServer], Field(max_length=MAX_MODELS), ListMap("server")] | None = Field(
        default=None, description="Requests that wait, by server. Absent when none waits."
    )
    remote_servers: Annotated[list[RemoteServerStatus], Field(max_length=64), ListMap("namespace", "name")] | None = (
        Field(
            default=None,
            description="Servers of other namespaces that allow the gateway. Its agents take the addresses from here.",
        )
    )
    refused_references: Annotated[list[StatusText], Field(max_length=MAX_REFUSED)] | None = Field(
        default=None, description="References that name nothing, or keys that cannot be used, each with its remedy."
    )
    conditions: Annotated[list[Condition], Field(max_length=32), ListMap("type")] | None = Field(
        default=None, description="Conditions of the gateway."
    )
