"""The spec of a VLLMServer. Defaults stand only here; the CRD is generated from the models."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from vllm_operator.api.autoscaling import Autoscaling
from vllm_operator.api.core import LocalObjectReference, ResourceRequirements
from vllm_operator.api.engine import Engine
from vllm_operator.api.fields import Annotations, CelRule, FreeObject, Labels, ListMap, Model, Quantity
from vllm_operator.api.model import ModelSource
from vllm_operator.api.operations import Disruption, Health, Monitoring, Rollout
from vllm_operator.api.placement import Accelerator, Cache, Scheduling, Security
from vllm_operator.api.replica_bounds import ReplicaBounds, all_bounds
from vllm_operator.api.service import Service

DEFAULT_IMAGE = "vllm/vllm-openai:v0.32.0"
"""The release of vLLM that the operator is tested with."""


UNKNOWN_VERSION = "unknown"
"""Value of `spec.version` for an image whose vLLM is not to be judged, such as a fork."""


class ChildMetadata(Model):
    """Labels and annotations of every object that the operator creates."""

    labels: Labels = Field(
        default_factory=dict,
        description="Labels, such as a queue of Kueue or a cost center. Pods do not get them, so that a change "
        "restarts none: label pods by podTemplate.metadata.",
    )
    annotations: Annotations = Field(
        default_factory=dict, description="Annotations, such as those of Reloader. Pods do not get them."
    )


class Spec(Model):
    """The desired state of one model, served by replicas of vLLM."""

    metadata: ChildMetadata = Field(
        default_factory=ChildMetadata,
        description="Labels and annotations of every object that the operator creates; those of `service` and "
        "`monitoring` win.",
    )
    model: ModelSource = Field(description="The model that is served.")
    image: Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[!-~]+$")] = Field(
        default=DEFAULT_IMAGE, description="Container image of vLLM."
    )
    version: (
        Annotated[str, Field(max_length=64, pattern=r"^(unknown|v?[0-9]+\.[0-9]+(\.[0-9]+)?([-+.a-z0-9]*))$")] | None
    ) = Field(
        default=None,
        description="Version of vLLM in the image, such as 0.32.0, for flags and metrics; `unknown` for a fork whose "
        "flags must not be judged. Unset: read from the image, where its tag is known to name vLLM's version.",
    )
    image_pull_secrets: Annotated[list[LocalObjectReference], Field(max_length=16), ListMap("name")] = Field(
        default_factory=list, description="Secrets of the same namespace with the credentials of private registries."
    )
    engine: Engine = Field(
        default_factory=Engine, description="Arguments of vLLM. vLLM's own default applies to an unset field."
    )
    replicas: Annotated[int, Field(ge=0, le=10_000)] = Field(
        default=1,
        description="Number of replicas, each one pod. While autoscaling is set it is ignored, with two exceptions: 0 "
        "puts a server with minReplicas: 0 to sleep, and source: operator sets it.",
    )
    accelerator: Accelerator = Field(
        default_factory=Accelerator, description="GPUs or other devices that each replica requests."
    )
    resources: ResourceRequirements = Field(
        default_factory=ResourceRequirements,
        description="CPU, memory and further resources of each replica; the operator adds the accelerator.",
    )
    shared_memory: Quantity = Field(default="16Gi", description="Size of /dev/shm, which counts as memory of the pod.")
    scheduling: Scheduling = Field(default_factory=Scheduling, description="Placement of the pods.")
    cache: Cache | None = Field(
        default=None,
        description="A volume that keeps downloads and compile caches. Unset: they are lost with each pod.",
    )
    autoscaling: Autoscaling | None = Field(
        default=None, description="Scaling on the load of vLLM. Unset: `replicas` applies."
    )
    service: Service = Field(default_factory=Service, description="The Service in front of the replicas.")
    monitoring: Monitoring = Field(default_factory=Monitoring, description="Scraping and alerts by Prometheus.")
    health: Health = Field(default_factory=Health, description="Startup time, probes, stalled engines.")
    rollout: Rollout = Field(default_factory=Rollout, description="Replacement of replicas when the spec changes.")
    disruption: Disruption = Field(
        default_factory=Disruption, description="PodDisruptionBudget: replicas that node drains may evict."
    )
    security: Security = Field(default_factory=Security, description="API key and security contexts.")
    pod_template: FreeObject | None = Field(
        default=None,
        description="Changes to the pod template (its metadata and spec), as a strategic merge patch that the "
        "operator applies last. The container that runs vLLM is named vllm.",
    )
    paused: bool = Field(
        default=False, description="Leave all objects of the server unchanged; the status is still updated."
    )

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "!has(self.cache) || !has(self.cache.accessModes) || self.cache.accessModes.exists(m, m in "
            "['ReadWriteMany', 'ReadOnlyMany']) || has(self.cache.perReplica) && self.cache.perReplica || "
            "(has(self.autoscaling) ? self.autoscaling.maxReplicas <= 1 && (!has(self.autoscaling.schedule) || "
            "self.autoscaling.schedule.all(w, !has(w.maxReplicas) || w.maxReplicas <= 1)) : self.replicas <= 1)",
            "a ReadWriteOnce cache cannot serve several replicas: set cache.accessModes: [ReadWriteMany] with a "
            "storage class that offers it, set cache.perReplica: true for a cache of each replica, use "
            "cache.existingClaim, or run one replica",
            field_path=".cache.accessModes",
        ),
        CelRule(
            "!has(self.autoscaling) || !has(self.engine.maxNumSeqs) "
            "|| self.autoscaling.targetRunningRequests < self.engine.maxNumSeqs",
            "autoscaling.targetRunningRequests must be below engine.maxNumSeqs: a replica never runs more requests "
            "than that, so requests would wait before a replica is added",
            field_path=".autoscaling.targetRunningRequests",
        ),
    )


def possible_replicas(spec: Spec) -> int:
    """Return the most replicas that the spec allows at any time."""
    if spec.autoscaling is None:
        return spec.replicas
    return max(bounds.max_replicas for bounds in all_bounds(spec.autoscaling))


def fewest_replicas(spec: Spec) -> int:
    """Return the fewest replicas that the spec allows at any time."""
    if spec.autoscaling is None:
        return spec.replicas
    return min(bounds.min_replicas for bounds in all_bounds(spec.autoscaling))


def is_asleep(spec: Spec, bounds: ReplicaBounds) -> bool:
    """Return whether a server that scales to zero was put to sleep; KEDA keeps that state itself."""
    scaling = spec.autoscaling
    return scaling is not None and bounds.min_replicas == 0 and scaling.source != "keda" and spec.replicas == 0


def managed_replicas(spec: Spec, bounds: ReplicaBounds) -> int | None:
    """Return the replicas that the operator gives the Deployment; None while an autoscaler owns the number.

    Args:
        spec: the spec.
        bounds: the bounds in force; they count only with autoscaling.
    """
    scaling = spec.autoscaling
    if scaling is None:
        return spec.replicas
    if scaling.source == "operator":
        return min(max(spec.replicas, bounds.min_replicas), bounds.max_replicas)
    return 0 if is_asleep(spec, bounds) else None


def surges(spec: Spec) -> bool:
    """Return whether a rollout starts new replicas while the old ones still run."""
    return spec.rollout.max_surge not in (0, "0", "0%")


def cache_is_shared(spec: Spec) -> bool:
    """Return whether several pods may mount the cache at once."""
    if spec.cache and spec.cache.per_replica:
        return False
    return possible_replicas(spec) > 1 or surges(spec)
