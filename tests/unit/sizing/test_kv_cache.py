from __future__ import annotations

import math

import pytest

from tests.helpers.sizing import model
from vllm_operator.sizing.kv_cache import CacheDemand, bytes_for, capacity, longest_context
from vllm_operator.sizing.kv_layout import Layout, layer_specs, layout_of
from vllm_operator.sizing.release import parse_release
from vllm_operator.sizing.units import GIB

OLD, NEW = parse_release("0.19.0"), parse_release("0.21.0")
DEMAND = CacheDemand(in_flight=8192)


def layout(name: str, width: float = 2) -> Layout:
    shape = model(name)
    return layout_of(layer_specs(shape, range(len(shape.layers)), 1, width, None))


def test_tokens_are_whole_blocks() -> None:
    held = capacity(layout("Meta-Llama-3.1-8B"), 10 * GIB + 1, 8192, DEMAND, OLD)
    assert (held.blocks, held.tokens) == (5120, 81_920)
    assert held.concurrency == 10.0


def test_newer_releases_count_tokens_by_the_concurrency() -> None:
    held = capacity(layout("gpt-oss-20b"), 10 * GIB, 131_072, DEMAND, NEW)
    older = capacity(layout("gpt-oss-20b"), 10 * GIB, 131_072, DEMAND, OLD)
    assert held.tokens == int(held.concurrency * 131_072)
    assert held.tokens > 1.8 * older.tokens


def test_measured_hybrid_start_is_exact() -> None:
    # 8.82 GiB, 184 blocks, 141,036 tokens at 131,072: vLLM 0.26.0 on L40S.
    held = capacity(layout("Qwen3.5-27B"), int(8.82 * GIB), 131_072, DEMAND, parse_release("0.26.0"))
    assert (held.blocks, held.tokens) == (184, 141_036)


def test_cached_prefixes_keep_two_states() -> None:
    # 53,312 tokens, 5.15 sequences of 32,768: vLLM 0.20.0 with fp8 keys and values.
    demand = CacheDemand(in_flight=2048, recurrent_blocks=2)
    held = capacity(layout("Qwen3.5-27B", 1), int(6.67 * GIB), 32_768, demand, parse_release("0.20.0"))
    assert held.tokens == 53_312
    assert held.concurrency == pytest.approx(5.15, abs=0.005)


def test_window_bounds_the_blocks_of_a_long_sequence() -> None:
    whole = bytes_for(layout("gpt-oss-20b"), 131_072, CacheDemand(in_flight=2048))
    assert whole == layout("gpt-oss-20b").block_bytes * (8192 + math.ceil((127 + 2048) / 16) + 1)


def test_longest_context_fits_and_one_more_does_not() -> None:
    found = layout("Meta-Llama-3.1-8B")
    longest = longest_context(found, 3 * GIB, 131_072, DEMAND)
    assert longest == 3 * GIB // 131_072
    assert bytes_for(found, longest, DEMAND) <= 3 * GIB < bytes_for(found, longest + 1, DEMAND)


def test_longest_context_is_bounded_by_the_model_and_by_nothing() -> None:
    assert longest_context(layout("Meta-Llama-3.1-8B"), 100 * GIB, 131_072, DEMAND) == 131_072
    assert longest_context(layout("Meta-Llama-3.1-8B"), 0, 131_072, DEMAND) == 0


def test_no_bytes_hold_nothing() -> None:
    assert capacity(layout("Qwen3-8B"), 0, 8192, DEMAND, OLD).tokens == 0


def test_model_without_cache_has_no_bound() -> None:
    held = capacity(Layout((), 0), 0, 512, DEMAND, OLD)
    assert (held.tokens, held.concurrency) == (0, math.inf)
    assert longest_context(Layout((), 0), 0, 512, DEMAND) == 512
