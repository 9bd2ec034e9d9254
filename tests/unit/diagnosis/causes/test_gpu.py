"""Causes in the GPU, its memory and its driver."""

from __future__ import annotations

import pytest

from vllm_operator.diagnosis.causes import diagnose_log

TOO_SMALL = (
    "ValueError: To serve at least one request with the model's max seq len (32768), (4.00 GiB KV cache is needed, "
    "which is larger than the available KV cache memory (1.50 GiB)."
)


@pytest.mark.parametrize(
    ("estimate", "remedy"),
    [
        ("", "lower engine.maxModelLen, raise engine.gpuMemoryUtilization"),
        (
            " Based on the available memory, the estimated maximum model length is 12288.",
            "set engine.maxModelLen to 12288 or less, raise engine.gpuMemoryUtilization",
        ),
    ],
)
def test_small_kv_cache_gives_vllms_own_estimate(estimate: str, remedy: str) -> None:
    found = diagnose_log(TOO_SMALL + estimate)

    assert found
    assert found.reason == "KVCacheTooSmall"
    assert found.message.startswith(
        f"needs 4.00 GiB of KV cache for one request of 32768 tokens, and has 1.50 GiB: {remedy}"
    )
