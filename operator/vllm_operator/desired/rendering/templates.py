"""The Jinja environment, and the rendering of one template."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from vllm_operator.desired.rendering.placeholders import Placeholders, fill_template
from vllm_operator.errors import TemplateError

PLACEHOLDERS = " placeholders"
"""Variable of the placeholders; the space keeps templates from naming it."""

_PACKAGE = Path(__file__).resolve().parents[2]


@functools.cache
def template_folder() -> Path:
    """Return the folder of the templates: in the installed package, or at the top of a checkout."""
    installed = _PACKAGE / "templates"
    return installed if installed.is_dir() else _PACKAGE.parents[1] / "templates"


@functools.cache
def environment() -> jinja2.Environment:
    """Return an environment in which each expression becomes a placeholder and an unknown name is an error."""
    result = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template_folder()),
        undefined=jinja2.StrictUndefined,
        finalize=_as_placeholder,
        # Values never enter the text.
        autoescape=False,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Templates may use only their plan: the globals `namespace` and `dict` of Jinja would hide a missing field.
    result.globals.clear()
    return result


@jinja2.pass_context
def _as_placeholder(context: jinja2.runtime.Context, value: object) -> str:
    # Turning an undefined value into text raises jinja2's own error, which names it.
    placeholders: Placeholders = context[PLACEHOLDERS]
    return placeholders.add(str(value) if isinstance(value, jinja2.Undefined) else value)


def render_object(template: jinja2.Template, variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return the object that `template` renders with these variables.

    Raises:
        TemplateError: it renders anything but one object.
        jinja2.TemplateError: it names an unknown variable.
    """
    placeholders = Placeholders()
    return fill_template(template.render({**variables, PLACEHOLDERS: placeholders}), placeholders.values)


def render_template(template: str, plan: object) -> dict[str, Any]:
    """Return the object that a template renders from the fields of its plan.

    Args:
        template: path below the template folder without `.yaml.j2`, such as `kubernetes/service`.
        plan: the frozen dataclass whose fields are the template's variables.

    Raises:
        TemplateError: it renders anything but one object, or names a field that the plan lacks.
    """
    try:
        return render_object(environment().get_template(f"{template}.yaml.j2"), vars(plan))
    except jinja2.TemplateError as error:
        raise TemplateError(f"template {template}: {error}") from error
