"""A client library for vLLM: typed, with retries, circuit breakers and several endpoints.

```python
from vllm_operator.client import VLLMClient

with VLLMClient("http://localhost:8000") as client:
    print(client.chat("Say hello").content)
```
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vllm_operator.client.async_client import AsyncVLLMClient as AsyncVLLMClient
    from vllm_operator.client.batch import AdaptiveConcurrency as AdaptiveConcurrency
    from vllm_operator.client.batch import BatchFileError as BatchFileError
    from vllm_operator.client.batch import BatchFileSummary as BatchFileSummary
    from vllm_operator.client.batch import BatchRequest as BatchRequest
    from vllm_operator.client.batch import BatchResult as BatchResult
    from vllm_operator.client.batch import run_batch as run_batch
    from vllm_operator.client.batch import run_batch_file as run_batch_file
    from vllm_operator.client.batch import run_batch_file_threaded as run_batch_file_threaded
    from vllm_operator.client.batch import run_batch_threaded as run_batch_threaded
    from vllm_operator.client.batch import stream_batch as stream_batch
    from vllm_operator.client.batch import stream_batch_threaded as stream_batch_threaded
    from vllm_operator.client.charts import MeasuredChart as MeasuredChart
    from vllm_operator.client.charts import ThroughputPoint as ThroughputPoint
    from vllm_operator.client.charts import latency_chart as latency_chart
    from vllm_operator.client.charts import queue_depth_chart as queue_depth_chart
    from vllm_operator.client.charts import throughput_chart as throughput_chart
    from vllm_operator.client.circuit_breaker import BreakerState as BreakerState
    from vllm_operator.client.circuit_breaker import CircuitBreaker as CircuitBreaker
    from vllm_operator.client.config import CircuitBreakerConfig as CircuitBreakerConfig
    from vllm_operator.client.config import ClientConfig as ClientConfig
    from vllm_operator.client.config import HealthCheckConfig as HealthCheckConfig
    from vllm_operator.client.config import Limits as Limits
    from vllm_operator.client.config import RetryPolicy as RetryPolicy
    from vllm_operator.client.config import Timeouts as Timeouts
    from vllm_operator.client.engine_load import QueueSample as QueueSample
    from vllm_operator.client.errors import AuthenticationFailed as AuthenticationFailed
    from vllm_operator.client.errors import CircuitOpen as CircuitOpen
    from vllm_operator.client.errors import ClientClosed as ClientClosed
    from vllm_operator.client.errors import ConnectionFailed as ConnectionFailed
    from vllm_operator.client.errors import ConnectionRefused as ConnectionRefused
    from vllm_operator.client.errors import DiscoveryFailed as DiscoveryFailed
    from vllm_operator.client.errors import EngineDead as EngineDead
    from vllm_operator.client.errors import InvalidRequest as InvalidRequest
    from vllm_operator.client.errors import InvalidResponse as InvalidResponse
    from vllm_operator.client.errors import ModelNotFound as ModelNotFound
    from vllm_operator.client.errors import ModelNotReady as ModelNotReady
    from vllm_operator.client.errors import NotSupported as NotSupported
    from vllm_operator.client.errors import RateLimitExceeded as RateLimitExceeded
    from vllm_operator.client.errors import RequestTimeout as RequestTimeout
    from vllm_operator.client.errors import ResponseTooLarge as ResponseTooLarge
    from vllm_operator.client.errors import RetryAdvice as RetryAdvice
    from vllm_operator.client.errors import ServerFailed as ServerFailed
    from vllm_operator.client.errors import ServerOverloaded as ServerOverloaded
    from vllm_operator.client.errors import StreamInterrupted as StreamInterrupted
    from vllm_operator.client.errors import StreamTimeout as StreamTimeout
    from vllm_operator.client.errors import TokenLimitExceeded as TokenLimitExceeded
    from vllm_operator.client.errors import VLLMClientError as VLLMClientError
    from vllm_operator.client.hooks import Observer as Observer
    from vllm_operator.client.hooks import RequestInfo as RequestInfo
    from vllm_operator.client.hooks import RequestOutcome as RequestOutcome
    from vllm_operator.client.measure import measure_throughput as measure_throughput
    from vllm_operator.client.measure import sample_queue as sample_queue
    from vllm_operator.client.messages import AudioPart as AudioPart
    from vllm_operator.client.messages import ChatMessage as ChatMessage
    from vllm_operator.client.messages import FunctionCall as FunctionCall
    from vllm_operator.client.messages import ImagePart as ImagePart
    from vllm_operator.client.messages import TextPart as TextPart
    from vllm_operator.client.messages import ToolCall as ToolCall
    from vllm_operator.client.metrics import ClientMetrics as ClientMetrics
    from vllm_operator.client.openai_sdk import async_openai_client as async_openai_client
    from vllm_operator.client.openai_sdk import openai_client as openai_client
    from vllm_operator.client.options import CallOptions as CallOptions
    from vllm_operator.client.options import ChatOptions as ChatOptions
    from vllm_operator.client.options import CompletionOptions as CompletionOptions
    from vllm_operator.client.options import SamplingOptions as SamplingOptions
    from vllm_operator.client.responses import Choice as Choice
    from vllm_operator.client.responses import CompletionResponse as CompletionResponse
    from vllm_operator.client.responses import Delta as Delta
    from vllm_operator.client.responses import EmbeddingResponse as EmbeddingResponse
    from vllm_operator.client.responses import HealthReport as HealthReport
    from vllm_operator.client.responses import ModelInfo as ModelInfo
    from vllm_operator.client.responses import RerankResponse as RerankResponse
    from vllm_operator.client.responses import ScoreResponse as ScoreResponse
    from vllm_operator.client.responses import TokenizeResponse as TokenizeResponse
    from vllm_operator.client.responses import Usage as Usage
    from vllm_operator.client.stream import AsyncCompletionStream as AsyncCompletionStream
    from vllm_operator.client.sync_client import CompletionStream as CompletionStream
    from vllm_operator.client.sync_client import VLLMClient as VLLMClient
    from vllm_operator.client.tracing import ClientTracing as ClientTracing

MODULES: dict[str, tuple[str, ...]] = {
    "async_client": ("AsyncVLLMClient",),
    "circuit_breaker": ("BreakerState", "CircuitBreaker"),
    "config": ("CircuitBreakerConfig", "ClientConfig", "HealthCheckConfig", "Limits", "RetryPolicy", "Timeouts"),
    "errors": (
        "AuthenticationFailed",
        "CircuitOpen",
        "ClientClosed",
        "ConnectionFailed",
        "ConnectionRefused",
        "DiscoveryFailed",
        "EngineDead",
        "InvalidRequest",
        "InvalidResponse",
        "ModelNotFound",
        "ModelNotReady",
        "NotSupported",
        "RateLimitExceeded",
        "RequestTimeout",
        "ResponseTooLarge",
        "RetryAdvice",
        "ServerFailed",
        "ServerOverloaded",
        "StreamInterrupted",
        "StreamTimeout",
        "TokenLimitExceeded",
        "VLLMClientError",
    ),
    "hooks": ("Observer", "RequestInfo", "RequestOutcome"),
    "messages": ("AudioPart", "ChatMessage", "FunctionCall", "ImagePart", "TextPart", "ToolCall"),
    "options": ("CallOptions", "ChatOptions", "CompletionOptions", "SamplingOptions"),
    "openai_sdk": ("async_openai_client", "openai_client"),
    "responses": (
        "Choice",
        "CompletionResponse",
        "Delta",
        "EmbeddingResponse",
        "HealthReport",
        "ModelInfo",
        "RerankResponse",
        "ScoreResponse",
        "TokenizeResponse",
        "Usage",
    ),
    "stream": ("AsyncCompletionStream",),
    "sync_client": ("CompletionStream", "VLLMClient"),
    "batch": (
        "AdaptiveConcurrency",
        "BatchFileError",
        "BatchFileSummary",
        "BatchRequest",
        "BatchResult",
        "run_batch",
        "run_batch_file",
        "run_batch_file_threaded",
        "run_batch_threaded",
        "stream_batch",
        "stream_batch_threaded",
    ),
    "charts": (
        "MeasuredChart",
        "ThroughputPoint",
        "latency_chart",
        "queue_depth_chart",
        "throughput_chart",
    ),
    "engine_load": ("QueueSample",),
    "measure": (
        "measure_throughput",
        "sample_queue",
    ),
    "metrics": ("ClientMetrics",),
    "tracing": ("ClientTracing",),
}
"""Module -> names that the package exports. A module is imported when one of its names is used."""
PLACES = {name: module for module, names in MODULES.items() for name in names}
__all__ = sorted(PLACES)


def __getattr__(name: str) -> Any:
    module = PLACES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
