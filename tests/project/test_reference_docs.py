"""The generated reference pages agree with the models and the command line, and are complete."""

from __future__ import annotations

import re
from typing import get_args

import click
import pytest

from tools.reference_docs import (
    CONDITION_MEANINGS,
    PHASES,
    REFERENCE,
    REPLICA_PHASES,
    _anchor,
    _limits,
    _type,
    cli_page,
    pages,
    plugin_page,
    vllmserver_page,
)
from vllm_operator.__main__ import main
from vllm_operator.api.spec import Spec
from vllm_operator.api.status import Phase, ReplicaPhase, Status
from vllm_operator.cli.group import COMMANDS, root
from vllm_operator.status.conditions import CONDITIONS

HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@pytest.mark.parametrize("name", pages())
def test_page_is_what_the_generator_writes(name: str) -> None:
    assert (REFERENCE / name).read_text() == pages()[name], "run `make reference-docs`"


@pytest.mark.parametrize("name", pages())
def test_links_within_a_page_lead_to_a_heading(name: str) -> None:
    text = pages()[name]
    anchors = {_anchor(heading) for heading in HEADING.findall(text)}

    assert [target for target in re.findall(r"\]\(#([^)]+)\)", text) if target not in anchors] == []


def test_meanings_cover_every_phase_and_condition() -> None:
    assert set(PHASES) == set(get_args(Phase))
    assert set(REPLICA_PHASES) == set(get_args(ReplicaPhase))
    assert set(CONDITION_MEANINGS) == {name for name, _ in CONDITIONS}


@pytest.mark.parametrize("model", [Spec, Status])
def test_every_field_has_a_row(model: type[Spec] | type[Status]) -> None:
    text = vllmserver_page()

    assert [field.alias for field in model.model_fields.values() if f"| `{field.alias}` |" not in text] == []


def test_every_option_has_a_row_with_a_meaning() -> None:
    text = cli_page()
    options = [option for command in main.commands.values() for option in command.params]

    assert [option.name for option in options if f"| `{option.opts[0]}`" not in text] == []
    assert re.findall(r"^\|.*\|  \|$", text, re.MULTILINE) == []


def test_every_option_of_the_plugin_has_a_row_with_a_meaning() -> None:
    text = plugin_page()
    commands = [root.get_command(click.Context(root), name) for name in COMMANDS]
    options = [
        option for command in commands if command for option in command.params if isinstance(option, click.Option)
    ]

    assert len(options) > 100
    assert [option.name for option in options if f"| `{option.opts[0]}`" not in text] == []
    assert re.findall(r"^\|.*\|  \|$", text, re.MULTILINE) == []


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "integer", "minimum": 1, "maximum": 10_000}, "1 to 10,000"),
        ({"type": "number", "minimum": 0, "exclusiveMinimum": True, "maximum": 1}, "above 0 to 1"),
        ({"type": "integer", "minimum": 1}, "1 or more"),
        ({"type": "string", "minLength": 1, "maxLength": 253}, "1 to 253 characters"),
        ({"type": "array", "maxItems": 16}, "at most 16 items"),
        ({"type": "object", "maxProperties": 64}, "at most 64 entries"),
        ({"type": "string", "enum": ["auto", "none"]}, "`auto`, `none`"),
    ],
)
def test_limits_are_in_words(schema: dict[str, object], expected: str) -> None:
    assert _limits(schema) == expected


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"x-kubernetes-int-or-string": True, "pattern": "^[0-9]+%$"}, "integer or percentage"),
        ({"x-kubernetes-int-or-string": True, "pattern": "^[0-9]+$"}, "quantity"),
        ({"type": "array", "items": {"type": "string"}}, "list of strings"),
        ({"type": "object", "additionalProperties": {"x-kubernetes-int-or-string": True}}, "map of quantities"),
    ],
)
def test_types_are_in_words(schema: dict[str, object], expected: str) -> None:
    assert _type(schema) == expected
