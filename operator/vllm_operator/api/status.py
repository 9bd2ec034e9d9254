"""The status of a VLLMServer, as the user reads it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from vllm_operator.api.fields import ListMap, Model

Phase = Literal[
    "Pending",
    "Invalid",
    "Downloading",
    "Scheduling",
    "Loading",
    "Serving",
    "Degraded",
    "Failed",
    "Paused",
    "Idle",
]
ReplicaPhase = Literal[
    "Scheduling",
    "Pulling",
    "Downloading",
    "Loading",
    "Serving",
    "Draining",
    "Stalled",
    "CrashLooping",
    "Failed",
    "Unknown",
]
StatusText = Annotated[str, Field(max_length=32768)]
MAX_REPLICA_STATUSES = 100
MAX_STALLED_RESTARTS = 8


class Condition(Model):
    """A condition (metav1.Condition)."""

    type: StatusText
    status: Literal["True", "False", "Unknown"]
    reason: StatusText
    message: StatusText = ""
    observed_generation: int | None = None
    last_transition_time: StatusText = Field(description="When the status last changed (RFC 3339).")


class ReplicaStatus(Model):
    """One pod, as long as its state lasts; no live numbers, so that the status changes only with the state."""

    pod: StatusText
    node: StatusText | None = None
    phase: ReplicaPhase
    reason: StatusText | None = None
    message: StatusText | None = None
    since: StatusText | None = Field(default=None, description="When the pod entered this phase (RFC 3339).")


class Capacity(Model):
    """What a replica says it holds."""

    kv_cache_tokens: int | None = Field(default=None, description="Tokens in the KV cache.")
    max_model_len: int | None = Field(default=None, description="Longest context, in tokens.")
    concurrency: int | None = Field(default=None, description="Requests of the longest context that fit at once.")


class Status(Model):
    """What the operator saw, computed as a whole and written only when it changed."""

    observed_generation: int | None = None
    phase: Phase | None = None
    message: StatusText | None = None
    ready: StatusText | None = Field(default=None, description="Healthy of wanted replicas, such as 2/3.")
    replicas: int | None = Field(default=None, description="Pods of the Deployment.")
    ready_replicas: int | None = Field(default=None, description="Pods that Kubernetes calls ready.")
    healthy_replicas: int | None = Field(default=None, description="Pods whose engine answers and lists the model.")
    updated_replicas: int | None = Field(default=None, description="Pods of the wanted revision.")
    selector: StatusText | None = Field(default=None, description="Label selector of the pods.")
    endpoint: StatusText | None = Field(default=None, description="URL of the Service inside the cluster.")
    version: StatusText | None = Field(default=None, description="What the replicas answer on /version.")
    served_models: Annotated[list[StatusText], Field(max_length=64)] | None = None
    capacity: Capacity | None = None
    stalled_restarts: Annotated[list[StatusText], Field(max_length=MAX_STALLED_RESTARTS)] | None = Field(
        default=None,
        description="When the operator last deleted pods of frozen engines (RFC 3339); it counts those of an hour.",
    )
    replica_statuses: Annotated[list[ReplicaStatus], Field(max_length=MAX_REPLICA_STATUSES)] | None = None
    conditions: Annotated[list[Condition], Field(max_length=32), ListMap("type")] | None = None
