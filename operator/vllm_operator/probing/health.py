"""The health of one replica."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

HealthReason = Literal[
    "Serving",
    "Stalled",
    "NotProbed",
    "ConnectionRefused",
    "Timeout",
    "Unreachable",
    "HTTPError",
    "Unauthorized",
    "ModelNotServed",
]


@dataclass(frozen=True)
class ReplicaHealth:
    """The outcome of the last probe of one replica.

    Attributes:
        reason: `Serving` when healthy; `NotProbed` before the first result; `Stalled` when vLLM's API server answers
            and the engine behind it does not.
        message: the failure in one line, without secrets.
        served_models: names listed by `/v1/models`.
        version: answer of `/version`.
        max_model_len: longest context in tokens, from `/v1/models`.
        kv_cache_tokens: tokens in the KV cache, from the labels of `vllm:cache_config_info`.
        concurrency: requests of the longest context that fit at once, from the same labels.
        from_status: only the status reports this stall; this process has not tested the engine yet.
    """

    reason: HealthReason = "NotProbed"
    message: str = ""
    served_models: tuple[str, ...] = ()
    version: str | None = None
    max_model_len: int | None = None
    kv_cache_tokens: int | None = None
    concurrency: int | None = None
    from_status: bool = False

    @property
    def is_healthy(self) -> bool:
        """True when the engine answers and lists every name that the spec asks for."""
        return self.reason == "Serving"

    @property
    def is_answering(self) -> bool:
        """True when vLLM's API server answers as it should, with an engine that serves or is stalled."""
        return self.reason in {"Serving", "Stalled"}
