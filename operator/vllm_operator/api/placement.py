"""Where replicas run and what they are given: accelerator, scheduling, cache, security."""

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
    """The extended resource that every replica asks for."""

    resource_name: Annotated[str, Field(max_length=253, pattern=r"^$|^[a-z0-9.-]+/[A-Za-z0-9._-]+$")] = Field(
        default="nvidia.com/gpu",
        description="nvidia.com/gpu, amd.com/gpu, google.com/tpu, gpu.intel.com/xe, ...; an empty string for CPU.",
    )
    count: Annotated[int, Field(ge=0, le=1024)] | None = Field(
        default=None, description="Devices of a replica. Default: tensor x pipeline x data parallel size."
    )
    product: LabelValue | None = Field(
        default=None,
        description="Product as the nodes are labelled, such as NVIDIA-A100-SXM4-80GB: becomes a node selector.",
    )


class Scheduling(Model):
    """Placement of the pods, added to what the accelerator asks for."""

    node_selector: Labels = Field(default_factory=dict)
    tolerations: Annotated[list[Toleration], Field(max_length=64)] = Field(default_factory=list)
    affinity: FreeObject | None = None
    topology_spread_constraints: Annotated[list[TopologySpreadConstraint], Field(max_length=16)] | None = Field(
        default=None, description="Default: spread over nodes when possible. An empty list: no spreading."
    )
    priority_class_name: ObjectNameOrNone | None = None
    runtime_class_name: ObjectNameOrNone | None = None
    scheduler_name: ShortText | None = None


AccessMode = Literal["ReadWriteOnce", "ReadWriteMany", "ReadWriteOncePod", "ReadOnlyMany"]


class Cache(Model):
    """A volume for downloads and compile caches: a new claim of `size`, or an existing one."""

    size: Quantity | None = Field(default=None, description="Size of a claim that the operator creates.")
    existing_claim: ObjectName | None = Field(default=None, description="Name of a claim that is there already.")
    storage_class_name: ObjectNameOrNone | None = Field(
        default=None, description="Storage class of the new claim; the cluster's default when unset."
    )
    access_modes: Annotated[list[AccessMode], Field(min_length=1, max_length=4)] | None = Field(
        default=None,
        description="Access modes of the new claim. Default: ReadWriteOnce for one replica, ReadWriteMany for more.",
    )
    retain: bool = Field(default=True, description="Keep the claim when the server is deleted.")

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "has(self.size) != has(self.existingClaim)",
            "set either cache.size (a new claim) or cache.existingClaim (one that exists), not both or neither",
        ),
        CelRule(
            "!has(self.existingClaim) || !has(self.accessModes) && !has(self.storageClassName)",
            "cache.existingClaim has its own class and access modes: remove storageClassName and accessModes",
        ),
    )


class Security(Model):
    """Who may call the server, and what its pods may do."""

    api_key_secret_ref: SecretKeyReference | None = Field(
        default=None, description="Key of a Secret with the API key that clients must send."
    )
    pod_security_context: FreeObject | None = Field(
        default=None,
        description="Merged over the defaults of the restricted Pod Security Standard; null removes a default.",
    )
    container_security_context: FreeObject | None = Field(
        default=None,
        description="Merged over the defaults of the restricted Pod Security Standard; null removes a default.",
    )
