"""The models that a gateway offers, and the servers behind them."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from vllm_operator.api.fields import CelRule, ListMap, Model

Routing = Literal["LeastRequest", "PrefixAware", "Session"]

ModelName = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@-]*$")]
"""Name of a model, as clients send it in the field `model`."""


ServerName = Annotated[
    str,
    Field(
        min_length=1,
        max_length=317,
        pattern=r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?/)?"
        r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
    ),
]
"""Name of a VLLMServer, or NAMESPACE/NAME of one in `servers.references`."""


class HeaderMatch(Model):
    """A header of a request."""

    name: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[a-z0-9-]+$")] = Field(
        description="Name of the header, in lower case."
    )
    value: Annotated[str, Field(max_length=256)] = Field(description="Its exact value.")


class ModelServer(Model):
    """A server behind a model."""

    name: ServerName = Field(description="Name of the VLLMServer; NAMESPACE/NAME for one of spec.servers.references.")
    model: Annotated[str, Field(max_length=253)] = Field(
        default="", description="Name that the server serves. Empty: its first one."
    )
    weight: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        default=1, description="Share of the requests, relative to the sum of all weights."
    )
    header: HeaderMatch | None = Field(
        default=None, description="Header of requests that go to this server, whatever the weights are. Unset: none."
    )


class Mirror(Model):
    """Copies of requests for another server, whose answers are dropped."""

    server: ServerName = Field(
        description="Name of the VLLMServer. It must serve the name that the first server of the model serves."
    )
    percent: Annotated[int, Field(ge=1, le=100)] = Field(default=10, description="Percent of the requests.")


class GatewayModel(Model):
    """A name for clients, and the servers that answer."""

    name: ModelName = Field(description="Name of the model for clients.")
    servers: Annotated[list[ModelServer], Field(min_length=1, max_length=32), ListMap("name")] = Field(
        description="Servers with their weights."
    )
    fallbacks: Annotated[list[ModelName], Field(max_length=8)] = Field(
        default_factory=list,
        description="Other models, in order, that answer while no server of this one has a ready replica.",
    )
    mirror: Mirror | None = Field(default=None, description="Copies of requests for another server. Unset: none.")
    routing: Routing | None = Field(default=None, description="How a replica is chosen. Unset: spec.routing.")

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "self.servers.exists(s, s.weight > 0)",
            "a model needs a server with a weight above 0: set one",
            field_path=".servers",
        ),
    )
