"""The options of an engine that decide how much memory it takes, with vLLM's defaults."""

from __future__ import annotations

from dataclasses import dataclass, field

from vllm_operator.sizing.division import Division
from vllm_operator.sizing.gpus import Device
from vllm_operator.sizing.release import ReleaseRules
from vllm_operator.sizing.units import GIB


@dataclass(frozen=True)
class EngineOptions:
    """Options of `vllm serve`; None takes vLLM's default for the release and the GPU.

    Attributes:
        offline: the engine runs in a Python program (`LLM`), which has larger batch defaults.
    """

    release: ReleaseRules
    division: Division = field(default_factory=Division)
    dtype: str | None = None
    quantization: str = ""
    kv_cache_dtype: str = "auto"
    max_model_len: int | None = None
    gpu_memory_utilization: float | None = None
    kv_cache_memory_bytes: int | None = None
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    block_size: int | None = None
    enforce_eager: bool = False
    prefix_caching: bool | None = None
    images: int | None = None
    offline: bool = False

    @property
    def utilization(self) -> float:
        """Share of the GPU's memory that the engine may use."""
        own = self.gpu_memory_utilization
        return own if own is not None else self.release.default_utilization


@dataclass(frozen=True)
class Batch:
    """The largest batch of the profile run: tokens, and sequences."""

    tokens: int
    sequences: int


CHUNKED_CONTEXT = 32768
"""Context above which V0 enables chunked prefill (vLLM's arg_utils.py, 0.6.6 to 0.8.5)."""

FIRST_ENGINE_TOKENS = 2048
"""Tokens of a batch of V0 with chunked prefill, and the least without."""

FIRST_ENGINE_IMAGES = 5120
"""The least tokens of a batch of V0 for multimodal models (`_MULTIMODAL_MODEL_MAX_NUM_BATCHED_TOKENS`)."""


def largest_batch(options: EngineOptions, device: Device, context: int, has_towers: bool = False) -> Batch:
    """Return the largest batch: `--max-num-batched-tokens` and `--max-num-seqs`, or their defaults.

    Source: `get_batch_defaults` and `_set_default_max_num_seqs_and_batched_tokens_args` in vLLM's arg_utils.py.

    Args:
        options: the options of the engine.
        device: the GPU.
        context: `--max-model-len`.
        has_towers: whether the model takes pictures or sound.
    """
    if device.vendor == "nvidia" and options.release.uses_first_engine(device.capability):
        return _first_engine_batch(options, context, has_towers)
    tokens, sequences = _defaults(options, device)
    batched = options.max_num_batched_tokens
    wanted = options.max_num_seqs if options.max_num_seqs is not None else sequences
    if batched is None:
        batched = min(wanted * context, tokens)
    if options.max_num_seqs is None:
        wanted = min(wanted, batched)
    return Batch(max(1, batched), max(1, min(wanted, batched)))


def _first_engine_batch(options: EngineOptions, context: int, has_towers: bool) -> Batch:
    """Return the largest batch of V0: a whole prompt of the longest context, unless prefills are chunked."""
    tokens = options.max_num_batched_tokens
    if tokens is None:
        is_chunked = context > CHUNKED_CONTEXT and not has_towers
        tokens = FIRST_ENGINE_TOKENS if is_chunked else max(context, FIRST_ENGINE_TOKENS)
        tokens = max(tokens, FIRST_ENGINE_IMAGES) if has_towers else tokens
    return Batch(tokens, min(options.max_num_seqs or 256, tokens))


def _defaults(options: EngineOptions, device: Device) -> tuple[int, int]:
    world = options.division.tensor * options.division.pipeline
    if device.kind == "cpu":
        return (4096 * world, 256 * world) if options.offline else (2048 * world, 128 * world)
    if device.kind == "tpu":
        tokens = {"v6e": 2048, "v5e": 1024, "v5p": 512}.get(device.family, 8192)
        return (tokens, 256) if options.offline else (max(256, tokens // 2), 256)
    if device.memory_bytes >= 160 * GIB and options.release.largest_defaults:
        return 16384, 1024
    if device.memory_bytes >= 70 * GIB and "A100" not in device.name.upper():
        return (16384 if options.offline else 8192), 1024
    return (8192 if options.offline else 2048), 256
