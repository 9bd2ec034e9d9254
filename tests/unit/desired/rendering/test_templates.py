"""The Jinja environment: strict about names, and free of Jinja's globals."""

from __future__ import annotations

from dataclasses import dataclass

import jinja2
import pytest

from vllm_operator.desired.rendering.templates import environment, render_template, template_folder
from vllm_operator.desired.rendering.templates import render_object as rendered
from vllm_operator.errors import TemplateError


@dataclass(frozen=True)
class Plan:
    """A plan with too few fields for any template."""

    name: str = "mistral"


def test_unknown_name_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError, match="'missing' is undefined"):
        rendered(environment().from_string("a: {{ missing }}"), {})


def test_unknown_attribute_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError, match="no attribute 'missing'"):
        rendered(environment().from_string("a: {{ plan.missing }}"), {"plan": {}})


@pytest.mark.parametrize("name", ["namespace", "dict", "range", "lipsum"])
def test_globals_of_jinja_are_unknown(name: str) -> None:
    with pytest.raises(jinja2.UndefinedError):
        rendered(environment().from_string(f"a: {{{{ {name} }}}}"), {})


def test_missing_field_of_a_plan_names_the_template() -> None:
    with pytest.raises(TemplateError, match="template kubernetes/service: 'labels' is undefined"):
        render_template("kubernetes/service", Plan())


def test_missing_template_is_named() -> None:
    with pytest.raises(TemplateError, match="template kubernetes/nothing: "):
        render_template("kubernetes/nothing", Plan())


def test_folder_holds_the_templates() -> None:
    assert (template_folder() / "kubernetes" / "deployment.yaml.j2").is_file()
