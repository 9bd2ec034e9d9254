"""The comments of a values file become descriptions, schemas and a table."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.chart.readme import END, START, ReadmeError, table, with_table
from tools.chart.schema import values_schema
from tools.chart.server_schema import server_definitions
from tools.chart.values import Value, ValuesError, read_values
from vllm_operator.api.crd import crd

TEXT = """\
# About the file, not about a value.

# ---- First

# Number of things,
# in all.
# @schema minimum: 1
# @schema maximum: 9
count: 2
group:
  # Turn it on | off.
  enabled: true
  # Free part.
  # @schema additionalProperties: true
  free: {}
# ---- Second

# Names.
# @schema items: {$ref: "#/$defs/namespace"}
names: []
"""


@pytest.fixture
def values(tmp_path: Path) -> tuple[Value, ...]:
    """The values of the text above."""
    path = tmp_path / "values.yaml"
    path.write_text(TEXT)
    return read_values(path)


def test_comment_above_a_key_describes_it(values: tuple[Value, ...]) -> None:
    count, group, names = values

    assert (count.name, count.default, count.description) == ("count", 2, "Number of things, in all.")
    assert count.keywords == {"minimum": 1, "maximum": 9}
    assert [child.name for child in group.children] == ["group.enabled", "group.free"]
    assert [one.section for one in values] == ["First", "First", "Second"]
    assert names.children == ()


def test_schema_has_types_of_defaults_and_keywords_of_comments(values: tuple[Value, ...]) -> None:
    schema = values_schema("things", values)

    assert schema["properties"]["count"] == {
        "description": "Number of things, in all.",
        "type": "integer",
        "minimum": 1,
        "maximum": 9,
    }
    assert schema["additionalProperties"] is False
    assert schema["properties"]["group"]["additionalProperties"] is False
    assert schema["properties"]["group"]["properties"]["free"]["additionalProperties"] is True
    assert set(schema["$defs"]) == {"namespace"}, "only what is named"


def test_value_without_a_description_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "values.yaml"
    path.write_text("# ---- First\n\na: 1\n")

    with pytest.raises(ValuesError, match=r"values\.yaml:3: a: write above it what the value does"):
        read_values(path)


def test_values_that_are_no_mapping_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "values.yaml"
    path.write_text("[]\n")

    with pytest.raises(ValuesError, match="values are a mapping"):
        read_values(path)


def test_table_has_a_row_for_each_leaf(values: tuple[Value, ...]) -> None:
    text = table(values)

    assert "### First" in text
    assert "| `count` | `2` | Number of things, in all. |" in text
    assert "| `group.enabled` | `true` | Turn it on \\| off. |" in text
    assert "| `group` |" not in text
    assert text.index("### Second") < text.index("| `names` | `[]` |")


def test_table_replaces_the_former_one(values: tuple[Value, ...]) -> None:
    once = with_table(f"# Chart\n\n{START}old\n{END}\nafter\n", values)

    assert "old" not in once
    assert once.endswith(f"{END}\nafter\n")
    assert with_table(once, values) == once


def test_readme_without_the_marks_is_refused(values: tuple[Value, ...]) -> None:
    with pytest.raises(ReadmeError, match="add them around the table"):
        with_table("# Chart\n", values)


def test_every_field_of_a_spec_is_in_the_schema_of_a_server() -> None:
    spec = server_definitions(crd())["spec"]
    fields = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]

    assert set(spec["properties"]) == set(fields)
    assert "required" not in spec, "a shared spec may hold what is required"
    env = spec["properties"]["engine"]["properties"]["env"]["items"]
    assert env["required"] == ["name"]
    assert env["additionalProperties"] is False
    assert spec["properties"]["podTemplate"].get("additionalProperties", True) is True
    assert spec["properties"]["sharedMemory"]["type"] == ["integer", "string"]
