"""Parts of core/v1 and autoscaling/v2 that the resource embeds, under Kubernetes' own names."""

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
"""Resources that the downward API offers to a variable."""

DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"

Count = Annotated[int, Field(ge=1, le=LARGEST_INT32)]


class LocalObjectReference(Model):
    """A reference to an object of the same namespace."""

    name: ObjectName = Field(description="Name of the object.")


class SecretKeyReference(Model):
    """A key of a Secret of the same namespace."""

    name: ObjectName = Field(description="Name of the Secret.")
    key: DataKey = Field(default="token", description="Key in the Secret.")


class KeySelector(Model):
    """A key of a Secret or ConfigMap."""

    name: ObjectName = Field(description="Name of the Secret or ConfigMap.")
    key: DataKey = Field(description="Key in it.")
    optional: bool | None = Field(
        default=None, description="Let the pod start when the object or the key is missing. Unset: it must exist."
    )


class FieldSelector(Model):
    """A field of the pod."""

    field_path: Annotated[str, Field(max_length=1024, pattern=FIELD_PATH)] = Field(
        description="Path of the field, such as status.podIP or metadata.labels['team']."
    )
    api_version: Literal["v1"] | None = Field(default=None, description="API version of the path.")


class ResourceFieldSelector(Model):
    """A resource of a container."""

    resource: Annotated[str, Field(max_length=64, pattern=RESOURCE)] = Field(
        description="The resource, such as limits.memory."
    )
    container_name: ShortText | None = Field(
        default=None, description="Container whose resource it is. Unset: the vLLM container."
    )
    divisor: Quantity | None = Field(
        default=None, description="Unit of the value, such as 1Mi: the resource is divided by it. Unset: 1."
    )


class EnvVarSource(Model):
    """The source of a variable's value: exactly one of the fields."""

    secret_key_ref: KeySelector | None = Field(default=None, description="A key of a Secret of the same namespace.")
    config_map_key_ref: KeySelector | None = Field(
        default=None, description="A key of a ConfigMap of the same namespace."
    )
    field_ref: FieldSelector | None = Field(default=None, description="A field of the pod.")
    resource_field_ref: ResourceFieldSelector | None = Field(default=None, description="A resource of a container.")


class EnvVar(Model):
    """An environment variable (core/v1 EnvVar)."""

    name: VariableName = Field(description="Name of the variable.")
    value: Text | None = Field(
        default=None, description="Value of the variable. $(NAME) is replaced by the value of an earlier variable."
    )
    value_from: EnvVarSource | None = Field(
        default=None, description="Source of the value, instead of `value`: exactly one of its fields."
    )


class Toleration(Model):
    """A taint that the pods tolerate (core/v1 Toleration)."""

    key: LabelKeyOrNone | None = Field(
        default=None, description="Key of the taint. Unset: every key, which needs operator Exists."
    )
    operator: Literal["Exists", "Equal", "Lt", "Gt"] | None = Field(
        default=None, description="How key and value are compared with the taint. Unset: Equal."
    )
    value: LabelValue | None = Field(default=None, description="Value of the taint; none with operator Exists.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="Effect of the taint. Unset: every effect."
    )
    toleration_seconds: Annotated[int, Field(ge=0, le=LARGEST_INT32)] | None = Field(
        default=None, description="Seconds for which a NoExecute taint is tolerated. Unset: without end."
    )


class ResourceClaim(Model):
    """A dynamic resource claim of the pod (core/v1 ResourceClaim)."""

    name: Annotated[str, Field(max_length=63, pattern=DNS_LABEL)] = Field(
        description="Name of a claim in podTemplate.spec.resourceClaims."
    )
    request: Annotated[str, Field(max_length=63, pattern=DNS_LABEL)] | None = Field(
        default=None, description="Name of one request of the claim. Unset: all of them."
    )


class ResourceRequirements(Model):
    """Compute resources of the vLLM container (core/v1 ResourceRequirements)."""

    limits: Quantities = Field(default_factory=dict, description="The most that the container may use, by resource.")
    requests: Quantities = Field(
        default_factory=dict, description="The amounts that the scheduler reserves for the container, by resource."
    )
    claims: Annotated[list[ResourceClaim], Field(max_length=16), ListMap("name")] = Field(
        default_factory=list, description="Dynamic resource claims of the pod that the container uses."
    )


class TopologySpreadConstraint(Model):
    """A rule for the spread of the pods over the cluster (core/v1 TopologySpreadConstraint)."""

    max_skew: Count = Field(description="Largest difference in the number of pods between two domains.")
    topology_key: LabelKey = Field(
        description="Node label whose values are the domains, such as kubernetes.io/hostname."
    )
    when_unsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"] = Field(
        description="What the scheduler does with a pod that no node fits."
    )
    label_selector: FreeObject | None = Field(
        default=None, description="Pods that are counted. Unset: the replicas of this server."
    )
    match_label_keys: Annotated[list[LabelKey], Field(max_length=16)] | None = Field(
        default=None, description="Labels whose values must equal those of the new pod for a pod to be counted."
    )
    min_domains: Count | None = Field(
        default=None, description="Fewest domains that must have a matching node; needs DoNotSchedule."
    )
    node_affinity_policy: Literal["Honor", "Ignore"] | None = Field(
        default=None, description="Count only nodes that the node selector and affinity allow. Unset: Honor."
    )
    node_taints_policy: Literal["Honor", "Ignore"] | None = Field(
        default=None, description="Count only nodes whose taints are tolerated. Unset: Ignore."
    )


class ScalingPolicy(Model):
    """The change that a period allows (autoscaling/v2 HPAScalingPolicy)."""

    type: Literal["Pods", "Percent"] = Field(description="Unit of `value`.")
    value: Count = Field(description="Largest change within the period, in pods or percent.")
    period_seconds: int = Field(ge=1, le=1800, description="Length of the period in seconds.")


class ScalingRules(Model):
    """Scaling in one direction (autoscaling/v2 HPAScalingRules)."""

    stabilization_window_seconds: int | None = Field(
        default=None,
        ge=0,
        le=3600,
        description="Seconds of past recommendations from which the safest is taken. Unset: 0 upwards, and the "
        "cluster's own (usually 300) downwards.",
    )
    select_policy: Literal["Max", "Min", "Disabled"] | None = Field(
        default=None, description="Which policy counts when several apply; Disabled forbids this direction. Unset: Max."
    )
    policies: Annotated[list[ScalingPolicy], Field(min_length=1, max_length=16)] | None = Field(
        default=None, description="Limits on the change within a period. Unset: Kubernetes' own policies."
    )
    tolerance: Quantity | None = Field(
        default=None,
        description="Deviation from the target that changes nothing, such as 0.05. Unset: the cluster's own, usually "
        "0.1.",
    )


class ScalingBehavior(Model):
    """Scaling in both directions (autoscaling/v2 HorizontalPodAutoscalerBehavior)."""

    scale_up: ScalingRules | None = Field(default=None, description="Adding replicas. Unset: Kubernetes' defaults.")
    scale_down: ScalingRules | None = Field(default=None, description="Removing replicas. Unset: Kubernetes' defaults.")
