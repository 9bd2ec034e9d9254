"""Write the files of a target: objects as YAML or JSON, and other formats from text templates.

A text template quotes each value by a filter of its format. An expression without a filter is an error, so that no
value of a manifest becomes syntax.
"""

from __future__ import annotations

import functools
import json
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jinja2
import yaml

from vllm_operator.api.server import VLLMServer
from vllm_operator.desired.rendering.templates import template_folder
from vllm_operator.errors import TemplateError
from vllm_operator.targets.target import NotCarried

LINE_WIDTH = 110
"""Characters of a comment line."""


class _TargetDumper(yaml.SafeDumper):
    """A dumper without anchors, which writes texts of several lines as blocks."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = None
    if re.search("[\x85\u2028\u2029]", value):
        # PyYAML writes these line breaks as they are, and reads them as spaces.
        style = '"'
    elif re.fullmatch(r"(?:[!-~][ -~]*[!-~]?\n)+[!-~]*\n?", value) and not re.search(r" \n", value):
        style = "|"
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_TargetDumper.add_representer(str, _text)


def yaml_file(objects: Sequence[Mapping[str, Any]], comment: Sequence[str] = ()) -> str:
    """Return objects as one YAML file, with comment lines before them."""
    body = yaml.dump_all(objects, Dumper=_TargetDumper, sort_keys=False, allow_unicode=True, width=120)
    return "".join(f"{line}\n" for line in comment) + body


def json_file(value: Mapping[str, Any]) -> str:
    """Return an object as indented JSON."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def comment_lines(server: VLLMServer, target: str, not_carried: Sequence[NotCarried] = ()) -> tuple[str, ...]:
    """Return the comment at the top of a file: its source, and what could not be carried over."""
    lines = [f"Rendered from the VLLMServer {server.name} by `kubectl vllm render --target {target}`."]
    if not_carried:
        lines.append("Not carried over:")
        lines += [f"- {item}" for item in not_carried]
    return tuple(f"# {_one_line(line)}" for line in lines)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def quote_argument(value: object) -> str:
    """Return an argument of a command line in a unit file, quoted (systemd.service(5), systemd.syntax(7)).

    `%` and `$` are doubled, so that systemd replaces nothing.
    """
    text = str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    if re.search(r"[\x00-\x1f\x7f]", text):
        raise TemplateError(f"a unit file cannot hold the value {text[:80]!r}")
    return '"' + text.replace("%", "%%").replace("$", "$$") + '"'


def unit_word(value: object) -> str:
    """Return a value for a setting of a unit file that takes the rest of its line.

    Raises:
        TemplateError: it has a line break or another control character, or ends with a backslash.
    """
    text = str(value)
    if re.search(r"[\x00-\x1f\x7f]", text) or text.endswith("\\"):
        raise TemplateError(f"a unit file cannot hold the value {text[:80]!r}")
    return text.replace("%", "%%")


def quote_nginx(value: object) -> str:
    """Return a value for nginx. It has no escape for a dollar sign, so such a value is refused."""
    text = str(value)
    if not re.fullmatch(r"[A-Za-z0-9_./:\[\]-]+", text):
        raise TemplateError(f"nginx cannot hold the value {text[:80]!r}")
    return text


def _whole(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TemplateError(f"{value!r} is no whole number")
    return str(value)


class _Quoted(str):
    """A text that a filter made safe for its format."""


def _filter(quote: Callable[[object], str]) -> Callable[[object], _Quoted]:
    return lambda value: _Quoted(quote(value))


def _finalize(value: object) -> object:
    if isinstance(value, _Quoted | jinja2.Undefined):
        return value
    raise TemplateError(f"an expression of a text template has no filter: {str(value)[:80]!r}")


@functools.cache
def _environment() -> jinja2.Environment:
    result = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template_folder()),
        undefined=jinja2.StrictUndefined,
        finalize=_finalize,
        autoescape=False,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    result.globals.clear()
    quotes = {
        "unitword": unit_word,
        "argument": quote_argument,
        "nginx": quote_nginx,
        "sh": lambda value: shlex.quote(str(value)),
        "whole": _whole,
        "more": lambda value: str(int(_whole(value)) + 30),
        "comment": lambda value: _one_line(str(value)),
    }
    result.filters.update({name: _filter(quote) for name, quote in quotes.items()})
    return result


def text_file(template: str, values: Mapping[str, Any]) -> str:
    """Return a file that is neither YAML nor JSON from its template below `templates/targets/`.

    Raises:
        TemplateError: the template names an unknown value, or shows one without the filter of its format.
    """
    try:
        return _environment().get_template(f"targets/{template}.j2").render(values)
    except jinja2.TemplateError as error:
        raise TemplateError(f"template targets/{template}: {error}") from error
