"""The Jinja environment and the templates."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from vllm_operator.desired.rendering.placeholders import Placeholders, fill_template
from vllm_operator.errors import TemplateError

PLACEHOLDERS = " slots"
"""Variable of the slots: no template can name it."""

_PACKAGE = Path(__file__).resolve().parents[2]


@functools.cache
def template_folder() -> Path:
    """The folder of the templates: inside the installed package, or at the top of a checkout."""
    installed = _PACKAGE / "templates"
    return installed if installed.is_dir() else _PACKAGE.parents[1] / "templates"


@functools.cache
def environment() -> jinja2.Environment:
    """An environment in which every expression becomes a slot and an unknown name is an error."""
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
    # A template sees its plan, and nothing of Jinja's own: `namespace` and `dict` would hide a missing field.
    result.globals.clear()
    return result


@jinja2.pass_context
def _as_placeholder(context: jinja2.runtime.Context, value: object) -> str:
    # Turning an undefined value into text raises jinja2's own error, which names it.
    slots: Placeholders = context[PLACEHOLDERS]
    return slots.add(str(value) if isinstance(value, jinja2.Undefined) else value)


def render_object(template: jinja2.Template, variables: Mapping[str, Any]) -> dict[str, Any]:
    """The object that `template` shows with these variables.

    Raises:
        TemplateError: it shows anything but one object.
        jinja2.TemplateError: it names a variable that there is not.
    """
    slots = Placeholders()
    return fill_template(template.render({**variables, PLACEHOLDERS: slots}), slots.values)


def render_template(template: str, plan: object) -> dict[str, Any]:
    """Render one template with the fields of its plan.

    Args:
        template: path below the template folder without `.yaml.j2`, such as `kubernetes/service`.
        plan: the frozen dataclass whose fields are the template's variables.

    Raises:
        TemplateError: the template rendered anything but one object, or names what the plan has not.
    """
    try:
        return render_object(environment().get_template(f"{template}.yaml.j2"), vars(plan))
    except jinja2.TemplateError as error:
        raise TemplateError(f"template {template}: {error}") from error
