from __future__ import annotations

import pytest

from tests.helpers.sizing import model
from vllm_operator.sizing.kv_layout import Layout, layer_specs, layout_of


def layout(name: str, tensor: int = 1, width: float = 2, block: int | None = None) -> Layout:
    shape = model(name)
    return layout_of(layer_specs(shape, range(len(shape.layers)), tensor, width, block))


@pytest.mark.parametrize(
    ("name", "tensor", "width", "token"),
    [
        ("Meta-Llama-3.1-8B", 1, 2, 131_072),
        ("Meta-Llama-3.1-8B", 4, 2, 32_768),
        ("Meta-Llama-3.1-8B", 1, 1, 65_536),
        # 4 heads of keys and values: 8 GPUs keep copies.
        ("Qwen3-30B-A3B", 4, 2, 48 * 512),
        ("Qwen3-30B-A3B", 8, 2, 48 * 512),
        # The latent vector is on each GPU.
        ("DeepSeek-R1", 1, 2, 61 * 1152),
        ("DeepSeek-R1", 8, 2, 61 * 1152),
    ],
)
def test_bytes_of_a_token(name: str, tensor: int, width: float, token: int) -> None:
    found = layout(name, tensor, width)
    assert found.block_bytes == token * found.smallest_block


def test_one_kind_of_layer_is_one_group() -> None:
    found = layout("Qwen3-8B")
    assert [(group.spec.kind, group.layers) for group in found.groups] == [("full", 36)]


def test_sliding_and_full_layers_alternate_in_two_groups() -> None:
    found = layout("gpt-oss-20b")
    assert sorted((group.spec.kind, group.layers) for group in found.groups) == [("full", 12), ("sliding", 12)]
    assert found.block_bytes == 12 * 16 * 8 * 128 * 2


def test_wider_pages_make_larger_blocks() -> None:
    found = layout("Gemma-4-31B-IT-NVFP4")
    assert {group.spec.kind: group.spec.block for group in found.groups} == {"sliding": 16, "full": 32}
    assert len(found.groups) == 6


@pytest.mark.parametrize(
    ("name", "width", "block"),
    [
        # "Setting attention block size to 1568 tokens", and the same with 16 bits.
        ("Qwen3.5-27B", 1, 1568),
        ("Qwen3.5-27B", 2, 784),
    ],
)
def test_block_of_attention_holds_a_recurrent_state(name: str, width: float, block: int) -> None:
    found = layout(name, width=width)
    assert found.smallest_block == block
    assert len({group.spec.page for group in found.groups}) == 1


def test_sparse_attention_keeps_the_keys_of_its_indexer() -> None:
    assert layout("DeepSeek-V3.2").block_bytes == 61 * 64 * (1152 + 132)
    assert layout("DeepSeek-V3.2", width=1).block_bytes == 61 * 64 * (656 + 132)


def test_own_block_size_is_used() -> None:
    assert layout("Qwen3-8B", block=128).smallest_block == 128


def test_encoder_has_no_cache() -> None:
    assert layout_of([]).groups == ()
