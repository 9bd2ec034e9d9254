"""The parts of core/v1 and autoscaling/v2 that the resource embeds, under Kubernetes' own names."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from vllm_operator.api.fields import (
    LARGEST_INT32,
    DataKey,
    FreeObject,
    LabelKey,
    LabelKeyOrNone,
    LabelValue,
    ListMap,
    Model,
    ObjectName,
    Quantities,
    Quantity,
    ShortText,
    Text,
    VariableName,
)

FIELD_PATH = (
    r"^(metadata\.(name|namespace|uid|(labels|annotations)\['[^']{1,317}'\])|spec\.(nodeName|serviceAccountName)"
    r"|status\.(hostIPs?|podIPs?))$"
)
RESOURCE = r"^(limits|requests)\.(cpu|memory|ephemeral-storage|hugepages-[0-9]+[KMG]i)$"
"""What the downward API tells in a variable."""

DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"

Count = Annotated[int, Field(ge=1, le=LARGEST_INT32)]


class LocalObjectReference(Model):
    """A reference to an object of the same namespace."""

    name: ObjectName


class SecretKeyReference(Model):
    """A key of a Secret of the same namespace."""

    name: ObjectName = Field(description="Name of the Secret.")
    key: DataKey = Field(default="token", description="Key in the Secret.")


class KeySelector(Model):
    """A key of a Secret or ConfigMap."""

    name: ObjectName
    key: DataKey
    optional: bool | None = None


class FieldSelector(Model):
    """A field of the pod."""

    field_path: Annotated[str, Field(max_length=1024, pattern=FIELD_PATH)]
    api_version: Literal["v1"] | None = None


class ResourceFieldSelector(Model):
    """A resource of a container."""

    resource: Annotated[str, Field(max_length=64, pattern=RESOURCE)]
    container_name: ShortText | None = None
    divisor: Quantity | None = None


class EnvVarSource(Model):
    """Where the value of an environment variable comes from."""

    secret_key_ref: KeySelector | None = None
    config_map_key_ref: KeySelector | None = None
    field_ref: FieldSelector | None = None
    resource_field_ref: ResourceFieldSelector | None = None


class EnvVar(Model):
    """An environment variable (core/v1 EnvVar)."""

    name: VariableName
    value: Text | None = None
    value_from: EnvVarSource | None = None


class Toleration(Model):
    """A taint that the pods tolerate (core/v1 Toleration)."""

    key: LabelKeyOrNone | None = None
    operator: Literal["Exists", "Equal", "Lt", "Gt"] | None = None
    value: LabelValue | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    toleration_seconds: Annotated[int, Field(ge=0, le=LARGEST_INT32)] | None = None


class ResourceClaim(Model):
    """A dynamic resource claim of the pod (core/v1 ResourceClaim)."""

    name: Annotated[str, Field(max_length=63, pattern=DNS_LABEL)]
    request: Annotated[str, Field(max_length=63, pattern=DNS_LABEL)] | None = None


class ResourceRequirements(Model):
    """Compute resources of the vLLM container (core/v1 ResourceRequirements)."""

    limits: Quantities = Field(default_factory=dict)
    requests: Quantities = Field(default_factory=dict)
    claims: Annotated[list[ResourceClaim], Field(max_length=16), ListMap("name")] = Field(default_factory=list)


class TopologySpreadConstraint(Model):
    """How the pods spread over the cluster (core/v1 TopologySpreadConstraint); the selector defaults to ours."""

    max_skew: Count
    topology_key: LabelKey
    when_unsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"]
    label_selector: FreeObject | None = None
    match_label_keys: Annotated[list[LabelKey], Field(max_length=16)] | None = None
    min_domains: Count | None = None
    node_affinity_policy: Literal["Honor", "Ignore"] | None = None
    node_taints_policy: Literal["Honor", "Ignore"] | None = None


class ScalingPolicy(Model):
    """How much may change within a period (autoscaling/v2 HPAScalingPolicy)."""

    type: Literal["Pods", "Percent"]
    value: Count
    period_seconds: int = Field(ge=1, le=1800)


class ScalingRules(Model):
    """Scaling in one direction (autoscaling/v2 HPAScalingRules)."""

    stabilization_window_seconds: int | None = Field(default=None, ge=0, le=3600)
    select_policy: Literal["Max", "Min", "Disabled"] | None = None
    policies: Annotated[list[ScalingPolicy], Field(min_length=1, max_length=16)] | None = None
    tolerance: Quantity | None = None


class ScalingBehavior(Model):
    """Scaling in both directions (autoscaling/v2 HorizontalPodAutoscalerBehavior)."""

    scale_up: ScalingRules | None = None
    scale_down: ScalingRules | None = None
