"""Schemas for kubeconform are strict, and know the types whose JSON differs from OpenAPI."""

from __future__ import annotations

import json
from pathlib import Path

from tools.chart.openapi import DEFINITIONS, write_schemas

DOCUMENT = {
    "definitions": {
        "v1.Service": {
            "type": "object",
            "properties": {"spec": {"$ref": "#/definitions/v1.Spec"}},
            "x-kubernetes-group-version-kind": [{"group": "", "version": "v1", "kind": "Service"}],
        },
        "v1.Spec": {
            "type": "object",
            "properties": {"port": {"$ref": "#/definitions/io.k8s.apimachinery.pkg.util.intstr.IntOrString"}},
        },
        "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"type": "string", "format": "int-or-string"},
        "example.v1.Thing": {
            "type": "object",
            "properties": {
                "free": {"type": "object", "properties": {}, "x-kubernetes-preserve-unknown-fields": True},
                # The schema of CRDs has such properties.
                "x-kubernetes-int-or-string": {"type": "boolean"},
            },
            "x-kubernetes-group-version-kind": [{"group": "example.org", "version": "v1", "kind": "Thing"}],
        },
    }
}


def test_each_kind_gets_a_file_that_refers_to_the_definitions(tmp_path: Path) -> None:
    assert write_schemas(DOCUMENT, tmp_path) == 2

    assert {path.name for path in tmp_path.iterdir()} == {
        DEFINITIONS,
        "service-v1-v1.json",
        "thing-example.org-v1.json",
    }
    service = json.loads((tmp_path / "service-v1-v1.json").read_text())
    assert service == {"$ref": f"{DEFINITIONS}#/definitions/v1.Service"}


def test_unknown_fields_are_refused_but_where_they_are_kept(tmp_path: Path) -> None:
    write_schemas(DOCUMENT, tmp_path)
    found = json.loads((tmp_path / DEFINITIONS).read_text())["definitions"]

    assert found["v1.Service"]["additionalProperties"] is False
    assert found["v1.Service"]["properties"]["spec"] == {"$ref": f"{DEFINITIONS}#/definitions/v1.Spec"}
    assert "additionalProperties" not in found["example.v1.Thing"]["properties"]["free"]
    assert "type" not in found["example.v1.Thing"]["properties"]
    assert found["io.k8s.apimachinery.pkg.util.intstr.IntOrString"] == {"type": ["integer", "string"]}
