"""The spec of a VLLMServer. Defaults are declared here once; the CRD is generated from it."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from vllm_operator.api.core import LocalObjectReference, ResourceRequirements
from vllm_operator.api.engine import Engine
from vllm_operator.api.fields import CelRule, FreeObject, ListMap, Model, Quantity
from vllm_operator.api.model import ModelSource
from vllm_operator.api.operations import Autoscaling, Disruption, Health, Monitoring, Rollout, Service
from vllm_operator.api.placement import Accelerator, Cache, Scheduling, Security

DEFAULT_IMAGE = "vllm/vllm-openai:v0.32.0"
"""The release of vLLM that this operator is tested with."""


class Spec(Model):
    """What the user wants."""

    model: ModelSource = Field(description="The model that is served.")
    image: Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[!-~]+$")] = Field(
        default=DEFAULT_IMAGE, description="Image of the vLLM server."
    )
    version: Annotated[str, Field(max_length=64, pattern=r"^v?[0-9]+\.[0-9]+(\.[0-9]+)?([-+.a-z0-9]*)$")] | None = (
        Field(default=None, description="vLLM's version, when the tag of the image does not tell it.")
    )
    image_pull_secrets: Annotated[list[LocalObjectReference], Field(max_length=16), ListMap("name")] = Field(
        default_factory=list, description="Secrets with the credentials of private registries."
    )
    engine: Engine = Field(default_factory=Engine, description="vLLM's own arguments.")
    replicas: Annotated[int, Field(ge=0, le=10_000)] = Field(
        default=1, description="Number of replicas; ignored while autoscaling is set."
    )
    accelerator: Accelerator = Field(default_factory=Accelerator, description="GPU, TPU or none.")
    resources: ResourceRequirements = Field(
        default_factory=ResourceRequirements, description="CPU, memory and more; the accelerator is added."
    )
    shared_memory: Quantity = Field(default="16Gi", description="Size of /dev/shm, counted in the pod's memory.")
    scheduling: Scheduling = Field(default_factory=Scheduling, description="Placement of the pods.")
    cache: Cache | None = Field(default=None, description="A volume that keeps downloads and compile caches.")
    autoscaling: Autoscaling | None = Field(default=None, description="Scale on vLLM's own load.")
    service: Service = Field(default_factory=Service, description="The Service in front of the replicas.")
    monitoring: Monitoring = Field(default_factory=Monitoring, description="Scraping and alerts.")
    health: Health = Field(default_factory=Health, description="Start-up budget and probing.")
    rollout: Rollout = Field(default_factory=Rollout, description="How replicas are replaced.")
    disruption: Disruption = Field(default_factory=Disruption, description="What node drains may take.")
    security: Security = Field(default_factory=Security, description="API key and security contexts.")
    pod_template: FreeObject | None = Field(
        default=None,
        description="Strategic merge over the rendered pod template (metadata and spec), applied last.",
    )
    paused: bool = Field(default=False, description="Leave the children alone; the status goes on.")

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "!has(self.cache) || !has(self.cache.accessModes) || self.cache.accessModes.exists(m, m in "
            "['ReadWriteMany', 'ReadOnlyMany']) || (has(self.autoscaling) ? self.autoscaling.maxReplicas : "
            "self.replicas) <= 1",
            "a ReadWriteOnce cache cannot serve several replicas: set cache.accessModes: [ReadWriteMany] with a "
            "storage class that offers it, use cache.existingClaim, or run one replica",
            field_path=".cache.accessModes",
        ),
        CelRule(
            "!has(self.autoscaling) || !has(self.engine.maxNumSeqs) "
            "|| self.autoscaling.targetRunningRequests < self.engine.maxNumSeqs",
            "autoscaling.targetRunningRequests must be below engine.maxNumSeqs: a replica never runs more requests "
            "than that, so the target could never be exceeded",
            field_path=".autoscaling.targetRunningRequests",
        ),
    )


def possible_replicas(spec: Spec) -> int:
    """The most replicas that the spec allows."""
    return spec.autoscaling.max_replicas if spec.autoscaling else spec.replicas


def surges(spec: Spec) -> bool:
    """True when a rollout starts a new replica beside the old ones."""
    return spec.rollout.max_surge not in (0, "0", "0%")


def cache_is_shared(spec: Spec) -> bool:
    """True when several pods may mount the cache at once."""
    return possible_replicas(spec) > 1 or surges(spec)
