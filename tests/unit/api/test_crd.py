"""The generated CustomResourceDefinition, under the rules of a structural schema."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from vllm_operator.__main__ import main
from vllm_operator.api.crd import COLUMNS, crd

CRD_FILE = Path(__file__).resolve().parents[3] / "crds" / "vllmserver.yaml"
FORBIDDEN = {"$ref", "$defs", "title", "propertyNames", "const", "nullable", "oneOf", "allOf"}


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each schema below `schema`, with its path."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for keyword in ("items", "additionalProperties"):
        if isinstance(schema.get(keyword), dict):
            yield from nodes(schema[keyword], f"{path}[]")


def part(name: str) -> dict[str, Any]:
    """Return the schema of `spec` or `status`."""
    version = crd()["spec"]["versions"][0]
    schema: dict[str, Any] = version["schema"]["openAPIV3Schema"]["properties"][name]
    return schema


NODES = [*nodes(part("spec"), "spec"), *nodes(part("status"), "status")]


def offenders(rule: Any) -> list[str]:
    return [path for path, node in NODES if not rule(path, node)]


def test_file_equals_the_output_of_the_command() -> None:
    printed = CliRunner().invoke(main, ["crd"])

    assert CRD_FILE.read_text() == printed.output, "run `make crds`"


def test_file_is_the_definition_as_yaml() -> None:
    assert yaml.safe_load(CRD_FILE.read_text()) == crd()


def test_each_node_has_a_type() -> None:
    assert offenders(lambda _, node: "type" in node or node.get("x-kubernetes-int-or-string")) == []


def test_no_keyword_that_a_structural_schema_forbids() -> None:
    assert offenders(lambda _, node: not FORBIDDEN & node.keys()) == []


def test_no_union_but_int_or_string() -> None:
    def is_plain(_: str, node: dict[str, Any]) -> bool:
        return "anyOf" not in node or node["anyOf"] == [{"type": "integer"}, {"type": "string"}]

    assert offenders(is_plain) == []


def test_no_default_is_null() -> None:
    assert offenders(lambda _, node: node.get("default", "") is not None) == []


def test_every_string_is_bounded() -> None:
    def is_bounded(_: str, node: dict[str, Any]) -> bool:
        return node.get("type") != "string" or "maxLength" in node or "enum" in node

    assert offenders(is_bounded) == []


def test_every_list_is_bounded() -> None:
    assert offenders(lambda _, node: node.get("type") != "array" or "maxItems" in node) == []


def test_every_map_is_bounded() -> None:
    assert offenders(lambda _, node: "additionalProperties" not in node or "maxProperties" in node) == []


def test_open_objects_are_open_on_purpose() -> None:
    """The API server would prune an object without properties to nothing."""

    def keeps_something(_: str, node: dict[str, Any]) -> bool:
        keywords = {"properties", "additionalProperties", "x-kubernetes-preserve-unknown-fields"}
        return node.get("type") != "object" or bool(keywords & node.keys())

    assert offenders(keeps_something) == []


def test_objects_with_defaults_inside_have_one_themselves() -> None:
    """The API server adds nested defaults only where the object exists; the objects below are optional."""

    def is_filled(node: dict[str, Any]) -> bool:
        inner = node.get("properties", {}).values()
        return "default" in node or not any("default" in child for child in inner)

    assert {path for path, node in nodes(part("spec"), "spec") if not is_filled(node)} == {
        "spec",
        "spec.cache",
        "spec.autoscaling",
        "spec.autoscaling.keda",
        "spec.autoscaling.schedule[]",
        "spec.autoscaling.keda.fallback",
        "spec.monitoring.slo",
        "spec.monitoring.tracing",
        "spec.model.tokenSecretRef",
        "spec.security.apiKeySecretRef",
    }


@pytest.mark.parametrize("name", ["spec", "status"])
def test_every_field_is_described(name: str) -> None:
    fields = [(path, node) for path, node in nodes(part(name), name) if not path.endswith("[]")]

    assert [path for path, node in fields if "description" not in node] == []


def test_descriptions_end_with_the_default() -> None:
    properties = part("spec")["properties"]

    assert properties["paused"]["description"].endswith(" Default: false.")
    assert properties["sharedMemory"]["description"].endswith(" Default: 16Gi.")
    assert "Default:" not in properties["model"]["properties"]["uri"]["description"]


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column[0])
def test_columns_show_fields_that_exist(column: tuple[str, str, str, int, str]) -> None:
    path = column[2].removeprefix(".")
    assert path == "metadata.creationTimestamp" or path in {path for path, _ in NODES}


def test_columns_name_no_priority_that_the_api_server_drops() -> None:
    columns = crd()["spec"]["versions"][0]["additionalPrinterColumns"]

    assert [column.get("priority") for column in columns] == [priority or None for *_, priority, _ in COLUMNS]


def test_every_rule_names_a_field_that_exists() -> None:
    paths = {path for path, _ in NODES}
    named = [
        (path, rule["fieldPath"])
        for path, node in NODES
        for rule in node.get("x-kubernetes-validations", [])
        if "fieldPath" in rule
    ]

    assert named
    assert [f"{path}{field}" for path, field in named if f"{path}{field}" not in paths] == []


def test_each_rule_has_a_message() -> None:
    rules = [rule for _, node in NODES for rule in node.get("x-kubernetes-validations", [])]

    assert len(rules) > 10
    assert [rule for rule in rules if len(rule["message"]) < 20] == []
