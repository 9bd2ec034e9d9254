from __future__ import annotations

from tests.helpers.sizing import CONFIGS
from vllm_operator.cli.commands.plan import command
from vllm_operator.cli.plan_report import as_data, exact_gib, gib
from vllm_operator.cli.planning import plan


def test_bytes_are_computed_back_from_the_exact_figure() -> None:
    size = 7_632_217_883
    assert round(exact_gib(size) * 2**30) == size
    assert gib(size) == 7.1081


def test_model_without_a_fit_has_no_smallest() -> None:
    source = str(CONFIGS / "Kimi-K2-Instruct.json")
    context = command.make_context("plan", ["--config", source, "--gpu", "T4", "--max-model-len", "8192"])
    data = as_data(plan(context.params))
    assert data["smallest"] is None
    assert data["fits"] is False
    assert data["kv_cache_gib"] < 0
