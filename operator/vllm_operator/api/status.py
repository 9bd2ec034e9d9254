"""The status of a VLLMServer."""

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

    type: StatusText = Field(description="Name of the condition, such as Ready.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether the condition holds.")
    reason: StatusText = Field(description="Cause of the status, as one CamelCase word.")
    message: StatusText = Field(default="", description="Cause of the status, as a sentence.")
    observed_generation: int | None = Field(
        default=None, description="metadata.generation that the condition was computed from."
    )
    last_transition_time: StatusText = Field(description="Time of the last change of `status` (RFC 3339).")


class ReplicaStatus(Model):
    """State of one replica. It holds no live numbers, so that the status changes only when the state does."""

    pod: StatusText = Field(description="Name of the pod.")
    node: StatusText | None = Field(default=None, description="Node that the pod runs on.")
    phase: ReplicaPhase = Field(description="State of the replica in one word.")
    reason: StatusText | None = Field(default=None, description="Cause of the phase, as one CamelCase word.")
    message: StatusText | None = Field(default=None, description="Cause of the phase, as a sentence.")
    since: StatusText | None = Field(
        default=None, description="Time at which the replica entered the phase (RFC 3339)."
    )


class Capacity(Model):
    """Capacity of one replica, as vLLM reports it."""

    kv_cache_tokens: int | None = Field(default=None, description="Tokens that the KV cache holds.")
    max_model_len: int | None = Field(default=None, description="Longest context in tokens.")
    concurrency: int | None = Field(
        default=None, description="Requests of the longest context that the KV cache holds at once."
    )


class Sizing(Model):
    """Memory of one engine on each of its GPUs, computed before it starts; `kubectl vllm plan` shows its parts."""

    weights_bytes: int | None = Field(default=None, description="Bytes of the weights on each GPU.")
    context_bytes: int | None = Field(
        default=None, description="Bytes that one sequence of the longest context takes in the KV cache of each GPU."
    )
    kv_cache_tokens: int | None = Field(
        default=None,
        description="Tokens that the KV cache will hold; capacity.kvCacheTokens is what vLLM reports. Present when the "
        "node selector names the GPU by nvidia.com/gpu.product, and the version of vLLM is known.",
    )
    fits: bool | None = Field(
        default=None,
        description="Whether one sequence of the longest context fits for sure; present with kvCacheTokens.",
    )


class NextBounds(Model):
    """The next change of the bounds by the schedule."""

    time: StatusText = Field(description="When the bounds change (RFC 3339).")
    min_replicas: int = Field(description="Fewest replicas from then on.")
    max_replicas: int = Field(description="Most replicas from then on.")


class AutoscalingStatus(Model):
    """The bounds of the replicas in force."""

    min_replicas: int = Field(description="Fewest replicas now, as spec and schedule say.")
    max_replicas: int = Field(description="Most replicas now, as spec and schedule say.")
    raised_min_replicas: int | None = Field(
        default=None, description="Fewest replicas of the autoscaler while fastPath has raised them."
    )
    next: NextBounds | None = Field(default=None, description="The next change of the bounds; absent where none comes.")


class Status(Model):
    """The state that the operator observed. Only the operator writes it."""

    observed_generation: int | None = Field(
        default=None, description="metadata.generation that the status was computed from; -1 before the first status."
    )
    phase: Phase | None = Field(default=None, description="State of the server in one word.")
    message: StatusText | None = Field(
        default=None, description="The most important problem, with its cause and its remedy where one is known."
    )
    ready: StatusText | None = Field(default=None, description="Healthy replicas of the wanted ones, such as 2/3.")
    replicas: int | None = Field(default=None, description="Pods that the Deployment has.")
    ready_replicas: int | None = Field(default=None, description="Pods whose Ready condition is True.")
    healthy_replicas: int | None = Field(
        default=None,
        description="Pods that serve: Kubernetes calls them ready, and their engine answers and lists the model.",
    )
    updated_replicas: int | None = Field(default=None, description="Pods of the newest revision of the Deployment.")
    selector: StatusText | None = Field(default=None, description="Label selector of the pods.")
    endpoint: StatusText | None = Field(default=None, description="URL of the Service inside the cluster.")
    version: StatusText | None = Field(default=None, description="Version of vLLM, as the replicas report it.")
    served_models: Annotated[list[StatusText], Field(max_length=64)] | None = Field(
        default=None, description="Names of the models that the replicas list."
    )
    capacity: Capacity | None = Field(default=None, description="Capacity of one replica, as vLLM reports it.")
    sizing: Sizing | None = Field(
        default=None,
        description="Computed memory of the model, where it is a well-known one. Absent for others, and with settings "
        "such as --enable-lora in extraArgs.",
    )
    autoscaling: AutoscalingStatus | None = Field(
        default=None, description="The bounds of the replicas in force; absent without autoscaling."
    )
    held_requests: int | None = Field(
        default=None,
        description="Requests that VLLMGateways hold until a replica is ready, as they report it every 5 s while any "
        "waits. Absent when none waits, or when no gateway answers.",
    )
    stalled_restarts: Annotated[list[StatusText], Field(max_length=MAX_STALLED_RESTARTS)] | None = Field(
        default=None,
        description="Times at which the operator deleted pods of stalled engines (RFC 3339), those of the last hour.",
    )
    replica_statuses: Annotated[list[ReplicaStatus], Field(max_length=MAX_REPLICA_STATUSES)] | None = Field(
        default=None, description="State of each replica, the worst first; at most 100."
    )
    conditions: Annotated[list[Condition], Field(max_length=32), ListMap("type")] | None = Field(
        default=None, description="Conditions of the server."
    )
