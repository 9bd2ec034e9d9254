"""The generated files of the charts are up to date, and follow the rules of Helm and Artifact Hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.matrix import VALUES
from tests.helpers.paths import REPOSITORY
from tools.chart.files import CHARTS, OPERATOR, SERVER, TemplateError, crd_template, generated_files
from tools.chart.helm import Helm
from vllm_operator import __version__
from vllm_operator.api.crd import crd

FILES = generated_files()


def short(path: Path) -> str:
    """Return the path within the repository, as the id of a test."""
    return str(path.relative_to(REPOSITORY))


@pytest.mark.parametrize("path", FILES, ids=short)
def test_file_is_what_the_generator_writes(path: Path) -> None:
    assert path.read_text() == FILES[path], "run `make charts`"


@pytest.mark.parametrize("chart", [OPERATOR, SERVER], ids=short)
def test_each_template_starts_with_the_defaults(chart: Path) -> None:
    templates = [path for path in (chart / "templates").rglob("*") if path.suffix in (".yaml", ".txt")]

    assert [path.name for path in templates if f'{{{{- include "{chart.name}.defaults" . ' not in head(path)] == []


def head(path: Path) -> str:
    """Return the first two lines of a template: a comment may stand above."""
    return "".join(path.read_text().splitlines()[:2])


@pytest.mark.parametrize("chart", [OPERATOR, SERVER], ids=short)
def test_lint_finds_nothing(helm: Helm, chart: Path) -> None:
    found = helm.run("lint", "--strict", str(chart))

    assert "1 chart(s) linted, 0 chart(s) failed" in found
    assert "WARNING" not in found
    assert "ERROR" not in found


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_lint_finds_nothing_in_the_matrix(helm4: Helm, values: Any) -> None:
    assert "0 chart(s) failed" in helm4.run("lint", "--strict", str(OPERATOR), values=values)


@pytest.mark.parametrize("chart", [OPERATOR, SERVER], ids=short)
def test_chart_names_its_version_and_what_artifact_hub_shows(chart: Path) -> None:
    found = yaml.safe_load((chart / "Chart.yaml").read_text())

    assert (found["apiVersion"], found["type"], found["name"]) == ("v2", "application", chart.name)
    assert found["version"] == found["appVersion"] == __version__
    assert found["annotations"]["artifacthub.io/license"] == "Apache-2.0"
    for name, text in found["annotations"].items():
        if name in ("artifacthub.io/crds", "artifacthub.io/crdsExamples"):
            assert isinstance(yaml.safe_load(text), list), name


def test_artifact_hub_shows_the_crd_of_the_operator() -> None:
    annotations = yaml.safe_load((OPERATOR / "Chart.yaml").read_text())["annotations"]
    (shown,) = yaml.safe_load(annotations["artifacthub.io/crds"])

    assert shown["name"] == crd()["metadata"]["name"]
    assert shown["kind"] == crd()["spec"]["names"]["kind"]
    assert shown["version"] == crd()["spec"]["versions"][0]["name"]


def test_schemas_refuse_unknown_keys_at_every_level() -> None:
    open_places = [name for path in (OPERATOR, SERVER) for name in loose(path.name, schema(path))]

    # Parts of pods, whose schema is that of Kubernetes.
    assert sorted(open_places) == [
        "vllm-operator.affinity",
        "vllm-operator.extraEnvFrom[]",
        "vllm-operator.global",
        "vllm-operator.podSecurityContext",
        "vllm-operator.securityContext",
        "vllm-operator.strategy",
        "vllm-operator.test.server",
        "vllm-server.global",
    ]


def schema(chart: Path) -> Any:
    """Return the schema of a chart's values."""
    return json.loads((chart / "values.schema.json").read_text())


def loose(name: str, part: Any) -> list[str]:
    """Return the places of a schema that accept any key."""
    found = []
    if part.get("type") == "object" and part.get("additionalProperties", True) is True:
        found.append(name)
    for key, child in part.get("properties", {}).items():
        found += loose(f"{name}.{key}", child)
    if isinstance(part.get("items"), dict):
        found += loose(f"{name}[]", part["items"])
    return found


def test_a_crd_that_helm_would_execute_is_refused() -> None:
    body = crd()
    body["spec"]["names"]["kind"] = "{{ .Values.x }}"

    with pytest.raises(TemplateError, match=r"holds \{\{"):
        crd_template(body)


def test_no_chart_is_left_out() -> None:
    assert {path.parent for path in CHARTS.glob("*/Chart.yaml")} == {OPERATOR, SERVER}
