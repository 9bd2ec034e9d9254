"""The spec of a VLLMGateway. Defaults stand only here; the CRD is generated from the models."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from vllm_operator.api.core import LocalObjectReference, ResourceRequirements
from vllm_operator.api.fields import CelRule, FreeObject, LabelKey, Labels, LabelValue, ListMap, Model, ObjectName
from vllm_operator.api.gateway_access import Auth, KeyReference, Limit
from vllm_operator.api.gateway_exposure import Exposure
from vllm_operator.api.gateway_models import GatewayModel, Routing
from vllm_operator.api.service import Service
from vllm_operator.api.spec import ChildMetadata

NamespaceName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
"""Name of a namespace."""

Origin = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^(\*|https?://[A-Za-z0-9.*_:-]+)$")]
"""An origin as browsers send it, or `*` for any."""


class SelectorRequirement(Model):
    """A condition on one label (metav1.LabelSelectorRequirement)."""

    key: LabelKey = Field(description="Key of the label.")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"] = Field(description="Relation of the label to `values`.")
    values: Annotated[list[LabelValue], Field(max_length=64)] = Field(
        default_factory=list, description="Values for In and NotIn."
    )


class ServerSelector(Model):
    """Labels of servers (metav1.LabelSelector)."""

    match_labels: Labels = Field(default_factory=dict, description="Labels with these values.")
    match_expressions: Annotated[list[SelectorRequirement], Field(max_length=16)] = Field(
        default_factory=list, description="Conditions that must all hold."
    )


class ServerReference(Model):
    """A VLLMServer of another namespace, which allows it by the label gateways.vllm-operator.dev/NAMESPACE=true."""

    namespace: NamespaceName = Field(description="Namespace of the server.")
    name: ObjectName = Field(description="Name of the server. In `models` it is NAMESPACE/NAME.")
    api_key_secret_ref: KeyReference | None = Field(
        default=None,
        description="Key of a Secret of the gateway's namespace with vLLM's API key of this server, if it has one.",
    )


class Servers(Model):
    """The VLLMServers that a gateway serves."""

    selector: ServerSelector | None = Field(
        default=None, description="Servers with these labels. Unset: every server of the namespace."
    )
    names: Annotated[list[ObjectName], Field(max_length=256)] = Field(
        default_factory=list, description="Servers by name. Together with `selector`: those that match both."
    )
    references: Annotated[list[ServerReference], Field(max_length=64), ListMap("namespace", "name")] = Field(
        default_factory=list, description="Servers of other namespaces, which allow it, in addition."
    )


class Tls(Model):
    """The certificate of the gateway."""

    secret_name: ObjectName = Field(
        description="Secret of type kubernetes.io/tls with tls.crt and tls.key, such as one of cert-manager. A new "
        "certificate is used without a restart."
    )


class Audit(Model):
    """One JSON line for each request: time, key id, model, server, status, tokens, latencies, bytes; no prompts."""

    path: Annotated[str, Field(max_length=1024, pattern=r"^(/[A-Za-z0-9._-]+)*$")] = Field(
        default="",
        description="File that the lines are appended to, in a volume that `podTemplate` mounts into the container "
        "envoy. Empty: standard output.",
    )


class GatewayTracing(Model):
    """Spans by OTLP."""

    endpoint: Annotated[str, Field(max_length=1024, pattern=r"^http://[A-Za-z0-9.-]+(:[0-9]{1,5})?$")] = Field(
        description="URL of an OTLP collector that takes HTTP, such as http://collector.monitoring:4318."
    )
    sampling_percent: Annotated[int, Field(ge=0, le=100)] = Field(
        default=10, description="Percent of the requests without a trace that start one."
    )


class Holding(Model):
    """Requests for a server without a ready replica wait, and start it where it is scaled to zero."""

    timeout_seconds: Annotated[int, Field(ge=0, le=3600)] = Field(
        default=600, description="Seconds that a request waits; 0 refuses it at once with 503."
    )
    max_requests: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=1000, description="Requests that one replica of the gateway holds; further ones get 429."
    )
    max_bytes: Annotated[int, Field(ge=1_048_576, le=17_179_869_184)] = Field(
        default=268_435_456, description="Bytes of the bodies that one replica of the gateway holds."
    )


class Cors(Model):
    """Access from browsers (CORS)."""

    allow_origins: Annotated[list[Origin], Field(min_length=1, max_length=64)] = Field(
        description="Origins whose pages may call the gateway, such as https://chat.example.com."
    )


class GatewayService(Service):
    """The Service in front of the gateway."""

    port: Annotated[int, Field(ge=1, le=65535)] | None = Field(  # type: ignore[assignment]  # another default
        default=None, description="Port of the Service. Unset: 80, and 443 with tls."
    )


class GatewayNetworkPolicy(Model):
    """NetworkPolicies of the gateway."""

    isolate_servers: bool = Field(
        default=False,
        description="Let only the gateway, the operator and Prometheus connect to the replicas of the servers.",
    )
    allow_from: Annotated[list[FreeObject], Field(max_length=16)] = Field(
        default_factory=list,
        description="Further peers of the servers (networking.k8s.io/v1 NetworkPolicyPeer), with isolateServers.",
    )


class GatewaySpec(Model):
    """The desired state of one endpoint in front of the VLLMServers of a namespace."""

    metadata: ChildMetadata = Field(
        default_factory=ChildMetadata, description="Labels and annotations of every object that the operator creates."
    )
    image: Annotated[str, Field(max_length=1024, pattern=r"^[!-~]*$")] = Field(
        default="",
        description="Container image of Envoy; its binary is /usr/local/bin/envoy. Empty: that of the operator's "
        "option --gateway-envoy-image, by default a release that the gateway is tested with.",
    )
    agent_image: Annotated[str, Field(max_length=1024, pattern=r"^[!-~]*$")] = Field(
        default="", description="Container image of the agent. Empty: the image of the operator."
    )
    image_pull_secrets: Annotated[list[LocalObjectReference], Field(max_length=16), ListMap("name")] = Field(
        default_factory=list, description="Secrets of the same namespace with the credentials of private registries."
    )
    replicas: Annotated[int, Field(ge=0, le=100)] = Field(default=2, description="Number of pods of the gateway.")
    servers: Servers = Field(default_factory=Servers, description="The VLLMServers behind the gateway.")
    models: Annotated[list[GatewayModel], Field(max_length=256), ListMap("name")] = Field(
        default_factory=list,
        description="Names for clients, in addition to the served names of the servers. An entry with the name of a "
        "served model replaces it.",
    )
    routing: Routing = Field(
        default="PrefixAware",
        description="How a replica is chosen. PrefixAware: the one that has the start of the conversation in its "
        "cache, unless it has twice the mean load. LeastRequest: the one with the fewest requests. Session: the "
        "same one for a session.",
    )
    session_header: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[a-z0-9-]+$")] = Field(
        default="x-session-id",
        description="Header that names the session, with routing Session. Without it, the field `user` of the body "
        "names the session.",
    )
    auth: Auth | None = Field(default=None, description="API keys of the clients. Unset: no key is needed.")
    limits: Annotated[list[Limit], Field(max_length=2000)] = Field(
        default_factory=list, description="Limits of requests and tokens. Every entry that matches a request applies."
    )
    max_body_bytes: Annotated[int, Field(ge=1024, le=1_073_741_824)] = Field(
        default=33_554_432, description="Longest body of a request in bytes; a longer one gets 413."
    )
    idle_timeout_seconds: Annotated[int, Field(ge=1, le=86_400)] = Field(
        default=600, description="Seconds without a byte of an answer after which the request ends with 504."
    )
    drain_timeout_seconds: Annotated[int, Field(ge=1, le=3600)] = Field(
        default=300, description="Seconds that a pod of the gateway gets to end open requests before it stops."
    )
    tls: Tls | None = Field(default=None, description="Certificate. Unset: clients use plain HTTP.")
    audit: Audit | None = Field(default=None, description="A line for each request. Unset: none.")
    tracing: GatewayTracing | None = Field(default=None, description="Traces. Unset: none.")
    cors: Cors | None = Field(default=None, description="Access from browsers. Unset: none.")
    holding: Holding = Field(default_factory=Holding, description="Requests for servers without a ready replica.")
    service: GatewayService = Field(default_factory=GatewayService, description="The Service in front of the gateway.")
    exposure: Exposure | None = Field(
        default=None, description="Objects of Gateway API that lead to the gateway or to the replicas. Unset: none."
    )
    network_policy: GatewayNetworkPolicy | None = Field(
        default=None, description="NetworkPolicies of the gateway, and of its servers. Unset: none."
    )
    resources: ResourceRequirements = Field(
        default_factory=ResourceRequirements, description="CPU and memory of the container envoy."
    )
    agent_resources: ResourceRequirements = Field(
        default_factory=ResourceRequirements, description="CPU and memory of the container agent."
    )
    pod_template: FreeObject | None = Field(
        default=None,
        description="Changes to the pod template (its metadata and spec), as a strategic merge patch that the "
        "operator applies last. The container agent is one of `containers`, envoy and prepare are `initContainers`.",
    )

    @property
    def service_port(self) -> int:
        """Return the port of the Service."""
        return self.service.port or (443 if self.tls else 80)

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "!has(self.limits) || self.limits.size() == 0 || has(self.auth) || self.limits.all(l, l.key == '*')",
            "limits of a key need spec.auth, which says who sends a request: add auth.apiKeys, or use key: '*'",
            field_path=".limits",
        ),
    )
