"""Placement and surroundings of the replicas: accelerator, scheduling, cache, security."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from vllm_operator.api.core import SecretKeyReference, Toleration, TopologySpreadConstraint
from vllm_operator.api.fields import (
    CelRule,
    FreeObject,
    Labels,
    LabelValue,
    Model,
    ObjectName,
    ObjectNameOrNone,
    Quantity,
    ShortText,
)


class Accelerator(Model):
    """The devices that each replica requests."""

    resource_name: Annotated[str, Field(max_length=253, pattern=r"^$|^[a-z0-9.-]+/[A-Za-z0-9._-]+$")] = Field(
        default="nvidia.com/gpu",
        description="Extended resource of the device plugin, such as nvidia.com/gpu, amd.com/gpu, google.com/tpu or "
        "gpu.intel.com/xe. An empty string means CPU only.",
    )
    count: Annotated[int, Field(ge=0, le=1024)] | None = Field(
        default=None,
        description="Devices of one replica. Unset: tensorParallelSize x pipelineParallelSize x dataParallelSize. Set "
        "it where a device has several cores, such as aws.amazon.com/neuron: each rank of the engine is a core there.",
    )
    product: LabelValue | None = Field(
        default=None,
        description="Product label of the nodes, such as NVIDIA-A100-SXM4-80GB, used as a node selector. Unset: any "
        "product.",
    )


class Scheduling(Model):
    """Placement of the pods, in addition to what the accelerator needs."""

    node_selector: Labels = Field(default_factory=dict, description="Labels that a node must have.")
    tolerations: Annotated[list[Toleration], Field(max_length=64)] = Field(
        default_factory=list, description="Taints that the pods tolerate, in addition to that of the accelerator."
    )
    affinity: FreeObject | None = Field(default=None, description="Affinity of the pods (core/v1 Affinity).")
    topology_spread_constraints: Annotated[list[TopologySpreadConstraint], Field(max_length=16)] | None = Field(
        default=None,
        description="Rules for the spread of the pods. Unset: over nodes where possible. An empty list: no rule.",
    )
    priority_class_name: ObjectNameOrNone | None = Field(
        default=None, description="PriorityClass of the pods. Unset: the cluster's default."
    )
    runtime_class_name: ObjectNameOrNone | None = Field(
        default=None, description="RuntimeClass of the pods. Unset: the cluster's default."
    )
    scheduler_name: ShortText | None = Field(
        default=None, description="Scheduler of the pods. Unset: the cluster's default."
    )


AccessMode = Literal["ReadWriteOnce", "ReadWriteMany", "ReadWriteOncePod", "ReadOnlyMany"]


class Cache(Model):
    """A volume for downloads and compile caches: a new claim, an existing one, or another kind of volume."""

    size: Quantity | None = Field(
        default=None, description="Size of the claim that the operator creates, such as 100Gi."
    )
    existing_claim: ObjectName | None = Field(
        default=None, description="Name of an existing claim of the same namespace, instead of `size`."
    )
    volume: FreeObject | None = Field(
        default=None,
        description="Another volume instead of `size`: the source of a core/v1 Volume, such as "
        "hostPath: {path: /mnt/models}, nfs or csi. Unset: a claim.",
    )
    per_replica: bool = Field(
        default=False,
        description="Give each replica a separate claim of `size`, ReadWriteOnce by default. Kubernetes creates it "
        "with the pod and deletes it with the pod: a restarted container finds its files, a new pod downloads again. "
        "`retain` does not apply.",
    )
    storage_class_name: ObjectNameOrNone | None = Field(
        default=None, description="Storage class of the new claim. Unset: the cluster's default."
    )
    access_modes: Annotated[list[AccessMode], Field(min_length=1, max_length=4)] | None = Field(
        default=None,
        description="Access modes of the new claim. Unset: ReadWriteMany when several pods may use it at once (more "
        "than one replica, or rollout.maxSurge above 0), else ReadWriteOnce.",
    )
    retain: bool = Field(default=True, description="Keep the new claim when the VLLMServer is deleted.")

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "(has(self.size) ? 1 : 0) + (has(self.existingClaim) ? 1 : 0) + (has(self.volume) ? 1 : 0) == 1",
            "cache needs either size (a new claim), existingClaim (one that exists) or volume (another kind): set one "
            "of the three",
        ),
        CelRule(
            "!has(self.existingClaim) || !has(self.accessModes) && !has(self.storageClassName)",
            "cache.existingClaim has its own class and access modes: remove storageClassName and accessModes",
        ),
        CelRule(
            "!has(self.volume) || !has(self.accessModes) && !has(self.storageClassName)",
            "cache.volume is no claim of the operator: remove storageClassName and accessModes",
        ),
        CelRule(
            "!has(self.perReplica) || !self.perReplica || has(self.size)",
            "cache.perReplica creates a claim for each replica: set cache.size",
            field_path=".perReplica",
        ),
    )


class Security(Model):
    """Access to the server, and the rights of its pods."""

    api_key_secret_ref: SecretKeyReference | None = Field(
        default=None, description="Key of a Secret with the API key that clients must send. Unset: no key is needed."
    )
    profile: Literal["restricted", "openshift"] = Field(
        default="restricted",
        description="Defaults of the security contexts. restricted: those of the restricted Pod Security Standard, "
        "with user, group and fsGroup 1000. openshift: the same without user, group and fsGroup, for a namespace that "
        "assigns its own range of user IDs.",
    )
    pod_security_context: FreeObject | None = Field(
        default=None,
        description="Security context of the pods, merged over the defaults of the restricted Pod Security Standard. "
        "null removes a default; apply it server-side, since a merge patch loses null. To remove the user IDs, use "
        "`profile`.",
    )
    container_security_context: FreeObject | None = Field(
        default=None,
        description="Security context of the vLLM container, merged over the defaults of the restricted Pod Security "
        "Standard. null removes a default.",
    )
