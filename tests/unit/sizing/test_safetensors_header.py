from __future__ import annotations

import json

import pytest

from vllm_operator.sizing.safetensors_header import HeaderError, header_bytes, header_length


def header(**tensors: tuple[str, int]) -> bytes:
    document = {
        name.replace("__", "."): {"dtype": dtype, "shape": [size], "data_offsets": [0, size]}
        for name, (dtype, size) in tensors.items()
    }
    return json.dumps({"__metadata__": {"format": "pt"}, **document}).encode()


def test_bytes_by_type_over_all_files() -> None:
    found = header_bytes([header(a__weight=("BF16", 100)), header(b__weight=("F8_E4M3", 60), c=("BF16", 4))], 2)
    assert found.by_dtype == {"BF16": 104, "F8_E4M3": 60}
    assert (found.loaded, found.quantized) == (164, 60)


def test_draft_layers_and_constants_are_skipped() -> None:
    tensors = {
        "model__layers__61__mlp__weight": ("BF16", 10),
        "mtp__fc__weight": ("BF16", 20),
        "model__layers__0__self_attn__rotary_emb__inv_freq": ("F32", 40),
        "model__layers__60__mlp__weight": ("BF16", 1),
        "vision_tower__layers__99__weight": ("BF16", 2),
    }
    found = header_bytes([header(**tensors)], 61)
    assert (found.loaded, found.skipped) == (3, 70)


def test_length_is_the_first_8_bytes() -> None:
    assert header_length((1000).to_bytes(8, "little")) == 1000


@pytest.mark.parametrize("prefix", [b"", b"1234567", (0).to_bytes(8, "little"), (1 << 40).to_bytes(8, "little")])
def test_other_files_are_refused(prefix: bytes) -> None:
    with pytest.raises(HeaderError):
        header_length(prefix)


@pytest.mark.parametrize(
    "text",
    [b"{", b"[]", b'{"a": 1}', b'{"a": {"data_offsets": [1]}}', b'{"a": {"data_offsets": [0, "9"]}}', b"[" * 100_000],
)
def test_broken_headers_are_refused(text: bytes) -> None:
    with pytest.raises(HeaderError):
        header_bytes([text], 1)
