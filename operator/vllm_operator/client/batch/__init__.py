"""Batches: many requests at once, with results in order or as completed, and errors as values.

```python
from vllm_operator.client import AsyncVLLMClient
from vllm_operator.client.batch import run_batch

async with AsyncVLLMClient("http://localhost:8000") as client:
    results = await run_batch(client, ["Say hello", "Say goodbye"], max_concurrency=64)
```
"""

from __future__ import annotations

from vllm_operator.client.batch.adaptive import AdaptiveConcurrency as AdaptiveConcurrency
from vllm_operator.client.batch.api import run_batch as run_batch
from vllm_operator.client.batch.api import stream_batch as stream_batch
from vllm_operator.client.batch.errors import BatchFileError as BatchFileError
from vllm_operator.client.batch.errors import EarlierFailure as EarlierFailure
from vllm_operator.client.batch.errors import InvalidBatchRequest as InvalidBatchRequest
from vllm_operator.client.batch.files import BatchFileSummary as BatchFileSummary
from vllm_operator.client.batch.files import run_batch_file as run_batch_file
from vllm_operator.client.batch.files import run_batch_file_threaded as run_batch_file_threaded
from vllm_operator.client.batch.requests import BatchItem as BatchItem
from vllm_operator.client.batch.requests import BatchRequest as BatchRequest
from vllm_operator.client.batch.results import BatchResponse as BatchResponse
from vllm_operator.client.batch.results import BatchResult as BatchResult
from vllm_operator.client.batch.threads_api import run_batch_threaded as run_batch_threaded
from vllm_operator.client.batch.threads_api import stream_batch_threaded as stream_batch_threaded
