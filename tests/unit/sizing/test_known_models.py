from __future__ import annotations

import pytest

from vllm_operator.sizing.known_models import known_model, known_names
from vllm_operator.sizing.model import parse_model


@pytest.mark.parametrize("name", known_names())
def test_each_model_of_the_table_can_be_sized(name: str) -> None:
    found = known_model(name)
    assert found is not None
    assert parse_model(found.config).layers
    assert found.source == f"https://huggingface.co/{name}/blob/main/config.json"


def test_name_is_found_in_any_case() -> None:
    assert known_model("QWEN/qwen3-8b") == known_model("Qwen/Qwen3-8B")


def test_other_names_are_unknown() -> None:
    assert known_model("nobody/nothing") is None
