"""The peak of PyTorch memory in the profile run, apart from the weights.

vLLM runs the model once with the largest batch, then samples a token for the largest number of requests. The KV cache
gets what is left, so the larger of the two peaks counts. Which of them is larger depends on the vocabulary: sampling
by a sort keeps 38 bytes for each logit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vllm_operator.sizing.config_fields import integer
from vllm_operator.sizing.division import Division
from vllm_operator.sizing.engine import Batch
from vllm_operator.sizing.layers import AttentionCache, LatentCache
from vllm_operator.sizing.model import ModelShape
from vllm_operator.sizing.units import MIB, divide_up

SORT_BYTES = 38
"""Bytes of a logit while the vocabulary is sorted.

2 for the logit, 4 for its float32 copy, 4 and 8 for the sorted values and indices, 8 for PyTorch's reversed indices,
12 for the second buffer of CUB's radix sort (`segmented_sort_pairs` in aten/src/ATen/native/cuda/SortStable.cu).
Measured: gpt-oss-120b on H100 (vllm issue 23278), Qwen3-8B on A6000, Qwen3-235B on L40S.
"""

SHORT_SORT_BYTES = 50
"""The same for fewer than 128 requests, which PyTorch sorts at once (`segmented_sort_pairs_by_full_sort`)."""

SHORT_SORT_ROWS = 128

PLAIN_BYTES = 14
"""Bytes of a logit without a sort: 2, the float32 copy 4, probabilities 4, exponential noise 4."""

SECOND_RUNNER_BYTES = 2
"""Bytes of a logit in the profile run of Model Runner V2, which skips top-k and top-p."""

TRITON_PROGRAMS = 132
"""Rows of the buffer of the Triton kernel: one for each multiprocessor (132 on H100, 108 on A100)."""

CACHED_IMAGE_TOKENS = 16384
"""Tokens of the encoder cache of a multimodal model: at least those of one image of the largest size.

Qwen2-VL and its successors log a budget of 16384 tokens for one image; others have smaller images.
"""

BASE_BYTES = 32 * MIB
"""Bytes that each profile run takes in addition: workspaces of cuBLAS (32 MiB on Hopper), positions and masks."""


@dataclass(frozen=True)
class Peak:
    """Bytes of the peak, and what they are for.

    Attributes:
        forward: the largest tensors of a layer for the whole batch.
        sampling: the logits while a token is sampled for each sequence.
        encoder: outputs of vision and audio encoders, kept during both.
    """

    forward: int
    sampling: int
    encoder: int

    @property
    def total(self) -> int:
        """Bytes that the KV cache has to leave free."""
        return max(self.forward, self.sampling) + self.encoder + BASE_BYTES


def peak(model: ModelShape, batch: Batch, division: Division, sampler: str, images: int | None) -> Peak:
    """Return the peak of the profile run on one GPU.

    Args:
        model: the model.
        batch: the largest batch.
        division: the GPUs that share it.
        sampler: sort, triton, flashinfer, or second-runner for Model Runner V2.
        images: images of a request (`--limit-mm-per-prompt`); 0 leaves the encoders out.
    """
    hidden = batch.tokens * model.hidden_size * 2
    return Peak(
        forward=_forward(model, batch.tokens, division),
        sampling=hidden + _sampling(model.vocabulary, batch.sequences, sampler),
        encoder=_encoder(model, batch, images),
    )


def _sampling(vocabulary: int, sequences: int, sampler: str) -> int:
    logits = vocabulary * sequences
    if sampler == "sort" or (sampler == "triton" and sequences < 8):
        return logits * (SORT_BYTES if sequences >= SHORT_SORT_ROWS else SHORT_SORT_BYTES)
    if sampler == "second-runner":
        return logits * SECOND_RUNNER_BYTES
    buffer = min(TRITON_PROGRAMS, sequences) * vocabulary * 4
    return logits * PLAIN_BYTES + buffer


def _forward(model: ModelShape, tokens: int, division: Division) -> int:
    residual = 2 * model.hidden_size
    widest = max(_attention_width(model, division.tensor), _mlp_width(model, division))
    return tokens * 2 * (residual + widest)


def _attention_width(model: ModelShape, tensor: int) -> int:
    """Return the elements of a token in the attention of the widest layer."""
    widths = [0]
    for layer in model.layers[:8]:
        for cache in layer.caches:
            if isinstance(cache, AttentionCache):
                heads = divide_up(model.heads, tensor)
                widths.append((2 * heads + 2 * max(1, cache.kv_heads // tensor)) * cache.head_size)
            elif isinstance(cache, LatentCache):
                widths.append(_latent_width(model, tensor))
    return max(widths)


def _latent_width(model: ModelShape, tensor: int) -> int:
    config: Mapping[str, object] = model.config
    nope = integer(config, "qk_nope_head_dim", default=128)
    rope, value = integer(config, "qk_rope_head_dim", default=64), integer(config, "v_head_dim", default=128)
    # Queries, keys and values of each head are expanded for the prefill.
    return divide_up(model.heads, tensor) * (2 * (nope + rope) + nope + 2 * value)


def _mlp_width(model: ModelShape, division: Division) -> int:
    widths = [0]
    kinds = {layer.mlp for layer in model.layers}
    if "dense" in kinds:
        share = divide_up(model.mlp_size, division.tensor)
        widths.append((3 if model.gated else 2) * share)
    if "moe" in kinds:
        widths.append(_routed_width(model, division) + model.hidden_size)
    return max(widths)


def _routed_width(model: ModelShape, division: Division) -> int:
    """Return the elements of a token in the workspace of the experts.

    Source: `fused_experts` in vLLM: caches 1 and 3 share memory, cache 2 holds the activations.
    """
    share = divide_up(model.expert_size, division.expert_tensor)
    gates = 2 if model.gated else 1
    return model.experts_per_token * (max(gates * share, model.hidden_size) + share)


def routed_bytes(model: ModelShape, tokens: int, division: Division) -> int:
    """Return the bytes of the workspace of the experts, which stays after the profile run; 0 without experts."""
    return 2 * tokens * _routed_width(model, division) if model.experts else 0


def _encoder(model: ModelShape, batch: Batch, images: int | None) -> int:
    if not model.towers or images == 0:
        return 0
    tokens = max(batch.tokens, CACHED_IMAGE_TOKENS if model.model_type.startswith("qwen") else 0)
    return tokens * model.hidden_size * 2 * 2
