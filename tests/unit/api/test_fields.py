"""The building blocks of the models."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from tests.helpers.specs import spec
from vllm_operator.api.fields import CelRule, IntOrFraction, IntOrPercent, LabelKey, Model, Quantity
from vllm_operator.errors import InvalidSpecError


def accepts(kind: Any, value: object) -> bool:
    try:
        TypeAdapter(kind).validate_python(value, strict=True)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize("value", ["16Gi", "500m", "1e3", "2", "0.5", 2, 0, "+1Ki"])
def test_quantity(value: object) -> None:
    assert accepts(Quantity, value)


@pytest.mark.parametrize("value", ["-1Gi", -1, "1 Gi", "Gi", "1GB", "", 1.5, True])
def test_invalid_quantity(value: object) -> None:
    assert not accepts(Quantity, value)


@pytest.mark.parametrize(
    ("value", "percent", "fraction"),
    [
        (1, True, True),
        ("25%", True, True),
        ("100%", True, True),
        ("200%", True, False),
        (-1, False, False),
        ("1", False, False),
    ],
)
def test_a_fraction_is_at_most_all(value: object, percent: bool, fraction: bool) -> None:
    assert (accepts(IntOrPercent, value), accepts(IntOrFraction, value)) == (percent, fraction)


@pytest.mark.parametrize(
    ("key", "valid"),
    [("team", True), ("a.example/team", True), ("/team", False), ("a b", False), ("A/team", False), ("x" * 64, False)],
)
def test_label_key(key: str, valid: bool) -> None:
    assert accepts(LabelKey, key) == valid


def test_model_is_frozen_and_refuses_unknown_fields() -> None:
    class Part(Model):
        some_field: int

    part = Part(some_field=1)

    assert Part.model_validate({"someField": 1}) == part
    with pytest.raises(ValidationError, match="frozen"):
        part.some_field = 2
    with pytest.raises(ValidationError, match="Extra inputs"):
        Part.model_validate({"someField": 1, "other": 2})


def test_item_of_a_list_map_may_stand_once() -> None:
    with pytest.raises(InvalidSpecError, match=r"spec.engine.env: 'A' is listed twice: remove one"):
        spec(engine={"env": [{"name": "A"}, {"name": "B"}, {"name": "A"}]})


def test_rule_has_only_the_keys_that_are_set() -> None:
    assert CelRule("self > 0", "too small").as_schema() == {"rule": "self > 0", "message": "too small"}
    assert CelRule("r", "m", field_path=".a", message_expression="'m'").as_schema() == {
        "rule": "r",
        "message": "m",
        "messageExpression": "'m'",
        "fieldPath": ".a",
    }
