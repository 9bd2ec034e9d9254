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

SORT_BYTES = 36
"""Bytes of a logit while the vocabulary is sorted, in addition to the logit itself (2 in bfloat16).

4 for its float32 copy, 4 and 8 for the sorted values and indices, 8 for PyTorch's reversed indices,
12 for the second buffer of CUB's radix sort (`segmented_sort_pairs` in aten/src/ATen/native/cuda/SortStable.cu).
Measured: gpt-oss-120b on H100 (vllm issue 23278), Qwen3-8B on A6000, Qwen3-235B on L40S.
"""

SHORT_SORT_BYTES = 48
"""The same for fewer than 128 requests, which PyTorch sorts at once (`segmented_sort_pairs_by_full_sort`)."""

SHORT_SORT_ROWS = 128

PLAIN_BYTES = 12
"""The same without a sort: the float32 copy 4, probabilities 4, exponential noise 4."""

TRITON_PROGRAMS = 132
"""Rows of the buffer of the Triton kernel: one for each multiprocessor (132 on H100, 108 on A100)."""

CACHED_IMAGE_TOKENS = 16384
"""Tokens of the encoder cache of a multimodal model: at least those of one image of the largest size.

Qwen2-VL and its successors log a budget of 16384 tokens for one image; others have smaller images.
"""

MAX_LEVELS = 64
"""Inner layers of an encoder whose outputs a model may take."""

HOPPER_BYTES = 50 * MIB
"""Bytes that each profile run takes in addition: workspaces of cuBLAS (32 MiB on Hopper), positions and masks.

Measured: 0.05 GiB more than the largest tensors in 30 starts on H100 with 0.11.0 to 0.19.0.
"""

BASE_BYTES = 16 * MIB
"""The same before Hopper, where cuBLAS takes 8 MiB: 0.01 to 0.02 GiB on A6000, L40S, L4 and V100."""


@dataclass(frozen=True)
class Peak:
    """Bytes of the peak, and what they are for.

    Attributes:
        forward: the largest tensors of a layer for the whole batch.
        sampling: the logits while a token is sampled for each sequence.
        encoder: outputs of vision and audio encoders, kept during both.
        experts: workspace of the experts that stays during both; 0 before 0.14.
        base: workspaces of the libraries.
    """

    forward: int
    sampling: int
    encoder: int
    experts: int = 0
    base: int = HOPPER_BYTES

    @property
    def total(self) -> int:
        """Bytes that the KV cache has to leave free."""
        return max(self.forward, self.sampling) + self.encoder + self.experts + self.base


@dataclass(frozen=True)
class ProfileRun:
    """The settings that decide the peak, apart from the model and the batch.

    Attributes:
        sampler: sort, triton, flashinfer, or second-runner for Model Runner V2.
        width: bytes of an element of the activations.
        samples: whether the stage samples; only the last pipeline stage does.
        keeps_experts: whether the workspace of the experts stays allocated.
        images: images of a request (`--limit-mm-per-prompt`); 0 leaves the encoders out.
        base: workspaces of the libraries, in bytes.
    """

    sampler: str
    width: int = 2
    samples: bool = True
    keeps_experts: bool = False
    images: int | None = None
    base: int = HOPPER_BYTES


def peak(model: ModelShape, batch: Batch, division: Division, run: ProfileRun) -> Peak:
    """Return the peak of the profile run on one GPU.

    Args:
        model: the model.
        batch: the largest batch.
        division: the GPUs that share it.
        run: the settings of the run.
    """
    hidden = batch.tokens * model.hidden_size * run.width
    experts = routed_bytes(model, batch.tokens, division) if run.keeps_experts else 0
    return Peak(
        forward=_forward(model, batch.tokens, division, run) if run.samples else _inner_forward(model, batch, division),
        sampling=hidden + _sampling(model.vocabulary, batch.sequences, run) if run.samples else 0,
        encoder=_encoder(model, batch, run.images),
        experts=experts,
        base=run.base,
    )


def _inner_forward(model: ModelShape, batch: Batch, division: Division) -> int:
    """Return the same for a stage that hands hidden states and residuals on, which it keeps for the next stage."""
    return _forward(model, batch.tokens, division, ProfileRun("")) + 4 * batch.tokens * model.hidden_size


def _sampling(vocabulary: int, sequences: int, run: ProfileRun) -> int:
    logits, sampler = vocabulary * sequences, run.sampler
    if sampler == "sort" or (sampler == "triton" and sequences < 8):
        return logits * (run.width + (SORT_BYTES if sequences >= SHORT_SORT_ROWS else SHORT_SORT_BYTES))
    if sampler == "second-runner":
        # The profile run of Model Runner V2 skips top-k and top-p.
        return logits * run.width
    buffer = min(TRITON_PROGRAMS, sequences) * vocabulary * 4
    return logits * (run.width + PLAIN_BYTES) + buffer


def _forward(model: ModelShape, tokens: int, division: Division, run: ProfileRun) -> int:
    residual = 2 * model.hidden_size
    widest = max(_attention_width(model, division.tensor), _mlp_width(model, division, run.keeps_experts))
    return tokens * run.width * (residual + widest)


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


def _mlp_width(model: ModelShape, division: Division, keeps_experts: bool) -> int:
    widths = [0]
    kinds = {layer.mlp for layer in model.layers}
    if "dense" in kinds:
        share = divide_up(model.mlp_size, division.tensor)
        widths.append((3 if model.gated else 2) * share)
    if "moe" in kinds:
        widths.append((0 if keeps_experts else _routed_width(model, division)) + model.hidden_size)
    return max(widths)


def _routed_width(model: ModelShape, division: Division) -> int:
    """Return the elements of a token in the workspace of the experts, before 0.14.

    Source: `fused_experts` in vLLM: caches 1 and 3 share memory, cache 2 holds the activations.
    """
    share, gates = divide_up(model.expert_size, division.expert_tensor), 2 if model.gated else 1
    return model.experts_per_token * (max(gates * share, model.hidden_size) + share)


def routed_bytes(model: ModelShape, tokens: int, division: Division) -> int:
    """Return the bytes of the workspace of the experts that stays after the profile run; 0 without experts.

    Source: `TritonExperts.workspace_shapes` in vLLM's fused_moe.py. MXFP4 experts have their own kernels.
    """
    if not model.experts or model.model_type == "gpt_oss":
        return 0
    share, gates = divide_up(model.expert_size, division.expert_tensor), 2 if model.gated else 1
    hidden = model.hidden_size
    return 2 * tokens * model.experts_per_token * (max(share, hidden) + max(gates * share, hidden))


def _encoder(model: ModelShape, batch: Batch, images: int | None) -> int:
    if not model.towers or images == 0:
        return 0
    tokens = max(batch.tokens, CACHED_IMAGE_TOKENS if model.model_type.startswith("qwen") else 0)
    # Qwen3-VL hands outputs of inner layers on, next to those of the last one.
    levels = 1 + max(len(_listed(tower)) for tower in model.towers)
    return tokens * model.hidden_size * levels * 2 * 2


def _listed(tower: Mapping[str, object]) -> tuple[object, ...]:
    inner = tower.get("deepstack_visual_indexes")
    return tuple(inner[:MAX_LEVELS]) if isinstance(inner, list) else ()
