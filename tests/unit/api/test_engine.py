"""The fields of `spec.engine` and their flags."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.specs import spec
from vllm_operator.api.engine import NOT_FLAGS, Engine, flag_fields, set_flags


def test_each_field_but_two_is_a_flag() -> None:
    assert flag_fields().keys() | NOT_FLAGS == Engine.model_fields.keys()
    assert flag_fields()["max_num_seqs"] == "--max-num-seqs"
    assert flag_fields()["kv_cache_dtype"] == "--kv-cache-dtype"


@pytest.mark.parametrize("value", [{}, {"quantization": ""}, {"speculativeConfig": {}}, {"extraArgs": ["--seed=1"]}])
def test_empty_values_are_unset(value: dict[str, Any]) -> None:
    assert set_flags(spec(engine=value).engine) == {}


@pytest.mark.parametrize(
    ("field", "value", "flag"),
    [
        ("enforceEager", False, "--enforce-eager"),
        ("maxModelLen", 8192, "--max-model-len"),
        ("speculativeConfig", {"model": "x"}, "--speculative-config"),
    ],
)
def test_set_values_are_kept_as_they_are(field: str, value: object, flag: str) -> None:
    assert set_flags(spec(engine={field: value}).engine) == {flag: value}


def test_flags_keep_the_order_of_the_fields() -> None:
    engine = spec(engine={"dtype": "auto", "tensorParallelSize": 2, "maxModelLen": 1}).engine

    assert list(set_flags(engine)) == ["--tensor-parallel-size", "--max-model-len", "--dtype"]
