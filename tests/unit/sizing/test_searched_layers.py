from __future__ import annotations

from typing import Any

import pytest

from vllm_operator.sizing.config_fields import ConfigError
from vllm_operator.sizing.searched_layers import searched_layers

CONFIG = {"hidden_size": 8192, "num_attention_heads": 64}


def block(*, attention: dict[str, Any] | None = None, ffn: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"attention": attention or {"n_heads_in_group": 8}, "ffn": ffn or {"ffn_mult": 5.25}}


def test_blocks_have_their_own_attention_and_width() -> None:
    full, without, narrow = searched_layers(
        {**CONFIG, "block_configs": [block(), block(attention={"no_op": True}), block(ffn={"ffn_mult": 1.3125})]}, 3
    )
    assert (full.caches[0].kv_heads, full.mlp_size) == (8, 28_672)  # type: ignore[union-attr]
    assert without.caches == ()
    assert narrow.mlp_size == 7168


def test_blocks_without_mlp_have_none() -> None:
    (layer,) = searched_layers({**CONFIG, "block_configs": [block(ffn={"no_op": True})]}, 1)
    assert (layer.mlp, layer.mlp_size) == ("none", None)


@pytest.mark.parametrize(
    "blocks",
    [
        [],
        "text",
        [7],
        [{"attention": {}}],
        [block(attention={"replace_with_linear": True})],
        [block(ffn={"ffn_mult": -1})],
        [block(ffn={"ffn_mult": 1e9})],
    ],
)
def test_odd_blocks_are_refused(blocks: object) -> None:
    with pytest.raises(ConfigError, match=r"block_configs|ffn_mult"):
        searched_layers({**CONFIG, "block_configs": blocks}, 1)
