"""The Service in front of the replicas."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from vllm_operator.api.fields import Annotations, CelRule, LabelKey, Labels, Model

NodePort = Annotated[int, Field(ge=1, le=65535)]
IPFamily = Literal["IPv4", "IPv6"]


class ClientIPConfig(Model):
    """Session affinity by the address of the client (core/v1 ClientIPConfig)."""

    timeout_seconds: Annotated[int, Field(ge=1, le=86_400)] | None = Field(
        default=None, description="Seconds for which a client keeps its replica. Unset: 10800."
    )


class SessionAffinityConfig(Model):
    """Settings of the session affinity (core/v1 SessionAffinityConfig)."""

    client_ip: ClientIPConfig | None = Field(
        default=None, alias="clientIP", description="Settings of the affinity ClientIP. Unset: Kubernetes' own."
    )


class ServiceSpec(Model):
    """Fields of the Service's spec (core/v1 ServiceSpec) that are passed on; selector and ports stay the operator's."""

    session_affinity: Literal["None", "ClientIP"] | None = Field(
        default=None, description="Keep a client at one replica: ClientIP. Unset: None."
    )
    session_affinity_config: SessionAffinityConfig | None = Field(
        default=None, description="Settings of the session affinity; needs sessionAffinity: ClientIP."
    )
    internal_traffic_policy: Literal["Cluster", "Local"] | None = Field(
        default=None, description="Which replicas get traffic from inside the cluster. Unset: Cluster, which means all."
    )
    external_traffic_policy: Literal["Cluster", "Local"] | None = Field(
        default=None,
        description="Which replicas get traffic from outside; Local keeps the client's address. Unset: Cluster.",
    )
    traffic_distribution: Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z]+$")] | None = Field(
        default=None, description="Preference for near replicas, such as PreferSameZone. Unset: none."
    )
    ip_family_policy: Literal["SingleStack", "PreferDualStack", "RequireDualStack"] | None = Field(
        default=None,
        description="Address families of the Service. Unset: the cluster's primary one; an existing Service keeps its "
        "policy, so that SingleStack alone takes a second family away.",
    )
    ip_families: Annotated[list[IPFamily], Field(min_length=1, max_length=2)] | None = Field(
        default=None,
        description="Families in their order; the first one cannot change later. Unset: chosen by ipFamilyPolicy; an "
        "existing Service keeps its own. With IPv6 alone, vLLM listens on IPv6.",
    )
    load_balancer_class: LabelKey | None = Field(
        default=None,
        description="Implementation of the load balancer, such as service.k8s.aws/nlb; it cannot change later. Unset: "
        "the cluster's own.",
    )
    load_balancer_source_ranges: (
        Annotated[list[Annotated[str, Field(min_length=1, max_length=64)]], Field(max_length=64)] | None
    ) = Field(default=None, description="Address ranges (CIDR) that may reach the load balancer. Unset: all.")
    load_balancer_ip: Annotated[str, Field(max_length=64, pattern=r"^[0-9a-fA-F.:]*$")] | None = Field(
        default=None,
        alias="loadBalancerIP",
        description="Address that the load balancer should have, where it supports that. Unset: it chooses one.",
    )
    allocate_load_balancer_node_ports: bool | None = Field(
        default=None, description="Give the load balancer node ports. Unset: true."
    )
    publish_not_ready_addresses: bool | None = Field(
        default=None, description="Send traffic also to replicas that are not ready. Unset: false."
    )

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "!has(self.sessionAffinityConfig) || has(self.sessionAffinity) && self.sessionAffinity == 'ClientIP'",
            "sessionAffinityConfig needs sessionAffinity: ClientIP: add it",
            field_path=".sessionAffinityConfig",
        ),
    )


class Service(Model):
    """The Service in front of the replicas."""

    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = Field(
        default="ClusterIP", description="Type of the Service."
    )
    port: Annotated[int, Field(ge=1, le=65535)] = Field(default=80, description="Port of the Service.")
    node_port: NodePort | None = Field(
        default=None,
        description="Port of the Service on every node, within the cluster's range (usually 30000 to 32767). Unset: "
        "Kubernetes chooses one where the type needs it, and keeps the one that it has.",
    )
    annotations: Annotations = Field(
        default_factory=dict, description="Annotations of the Service, for example for a load balancer."
    )
    labels: Labels = Field(default_factory=dict, description="Labels of the Service, added to the operator's own.")
    spec: ServiceSpec | None = Field(
        default=None,
        description="Further fields of the Service's spec. Selector and ports stay the operator's. Unset: none.",
    )

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "!has(self.nodePort) || self.type != 'ClusterIP'",
            "service.nodePort needs a Service with node ports: set service.type: NodePort or LoadBalancer",
            field_path=".nodePort",
        ),
        CelRule(
            "!has(self.spec) || !has(self.spec.externalTrafficPolicy) || self.type != 'ClusterIP'",
            "externalTrafficPolicy needs traffic from outside: set service.type: NodePort or LoadBalancer",
            field_path=".spec",
        ),
        CelRule(
            "!has(self.spec) || self.type == 'LoadBalancer' || !(has(self.spec.loadBalancerClass) || "
            "has(self.spec.loadBalancerSourceRanges) || has(self.spec.loadBalancerIP) || "
            "has(self.spec.allocateLoadBalancerNodePorts))",
            "the loadBalancer fields and allocateLoadBalancerNodePorts need service.type: LoadBalancer: set it",
            field_path=".spec",
        ),
    )
