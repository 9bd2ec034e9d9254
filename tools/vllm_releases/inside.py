"""Runs inside the environment of one vLLM release and prints its flags as JSON: `python inside.py`.

It needs nothing but that vLLM. What a flag's value may be is found by trying: the functions that convert values have
other names and shapes in every release, but what they take and refuse is what counts.
"""

import argparse
import importlib
import json
import os
import re
import sys
from collections.abc import Callable
from typing import Any

Json = dict[str, Any]

MANY_CHOICES = 80
"""Above this a list of choices is a registry, not a choice that a message could name."""

PARSERS = (
    "vllm.utils.argparse_utils.FlexibleArgumentParser",
    "vllm.utils.FlexibleArgumentParser",
)
MAKERS = (
    "vllm.entrypoints.launchers.cli_args.make_arg_parser",
    "vllm.entrypoints.openai.cli_args.make_arg_parser",
    "vllm.entrypoints.common.cli_args.make_arg_parser",
)
KINDS: tuple[tuple[str, str, str], ...] = (
    # kind, a value that it takes, a value that it refuses; the first that fits
    ("json", '{"a": 1}', "word"),
    ("integer", "7", "7.5"),
    ("number", "7.5", "word"),
)
WORDS = ("", "None", "auto", "true", "True")
"""Words that some numbers and JSON flags take as well."""


def parser_of_vllm() -> tuple[argparse.ArgumentParser, argparse.ArgumentParser]:
    """Return the parsers of `python -m vllm.entrypoints.openai.api_server` and of `vllm serve`."""
    flexible, make = _first(PARSERS), _first(MAKERS)
    server = make(flexible(prog="server"))
    try:
        from vllm.entrypoints.cli.serve import ServeSubcommand

        command = ServeSubcommand().subparser_init(flexible(prog="vllm").add_subparsers(dest="subparser"))
    except Exception as error:
        print(f"vllm serve has no parser here: {error!r}", file=sys.stderr)
        command = server
    return server, command


def _first(paths: tuple[str, ...]) -> Any:
    for path in paths:
        module, _, name = path.rpartition(".")
        try:
            return getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError):
            continue
    raise SystemExit(f"none of {', '.join(paths)} exists in this vLLM: add where it is now")


def flags(parser: argparse.ArgumentParser) -> dict[str, Json]:
    """Return flag -> definition, sorted by name."""
    found = {}
    for action in parser._actions:
        names = _names(parser, action)
        positives = [name for name in names if not _is_negative(action, name)] or names
        if positives and set(positives) != {"-h", "--help"}:
            main = next((name for name in positives if name.startswith("--")), positives[0])
            found[main] = _definition(action, names, [name for name in positives if name != main])
    return dict(sorted(found.items()))


def _names(parser: argparse.ArgumentParser, action: argparse.Action) -> list[str]:
    """Return all names that the parser accepts: from 0.33 on, the help hides some of them."""
    return [name for name, owner in parser._option_string_actions.items() if owner is action]


def _is_negative(action: argparse.Action, name: str) -> bool:
    return name.startswith("--no-") or name in getattr(action, "negative_option_strings", ())


def _definition(action: argparse.Action, names: list[str], aliases: list[str]) -> Json:
    """Return only what differs from a flag that takes one text."""
    kind, keywords = _kind(action.type) if action.nargs != 0 and callable(action.type) else ("text", [])
    facts: Json = {
        "nargs": action.nargs,
        "kind": None if kind == "text" else kind,
        "keywords": keywords,
        "choices": _choices(action),
        "negatable": len(names) > 1 and any(name.startswith("--no-") for name in names),
        "opposites": [name for name in names if _is_negative(action, name) and not name.startswith("--no-")],
        "aliases": aliases,
        "default": _default(action.default),
        "deprecated": _is_deprecated(action),
    }
    # 0 equals False, and a flag without a value is more than a default.
    return {
        name: value for name, value in facts.items() if value not in (None, False, []) or (name, value) == ("nargs", 0)
    }


def _is_deprecated(action: argparse.Action) -> bool:
    return bool(getattr(action, "deprecated", False)) or _says_deprecated(action)


def _says_deprecated(action: argparse.Action) -> bool:
    return bool(re.match(r"\W*(DEPRECATED|\[DEPRECATED)", str(action.help or "")))


def _kind(convert: Callable[[str], Any]) -> tuple[str, list[str]]:
    if _takes(convert, "word"):
        return "text", []
    kind = next((kind for kind, good, bad in KINDS if _takes(convert, good) and not _takes(convert, bad)), "text")
    if kind == "integer" and _takes(convert, "2k"):
        kind = "size"
    return kind, [word for word in WORDS if _takes(convert, word)] if kind != "text" else []


def _takes(convert: Callable[[str], Any], value: str) -> bool:
    try:
        convert(value)
    except (argparse.ArgumentTypeError, TypeError, ValueError):
        return False
    return True


def _choices(action: argparse.Action) -> list[str] | None:
    if action.choices is None or action.nargs == 0:
        return None
    choices = [str(getattr(choice, "value", choice)) for choice in action.choices]
    return choices if len(choices) <= MANY_CHOICES else None


def _default(value: object) -> object:
    """Return the default if it is a plain value that depends neither on the machine nor on code."""
    if value is argparse.SUPPRESS or (isinstance(value, str) and os.sep in value):
        return None
    try:
        return value if len(json.dumps(value)) <= 120 else None
    except (TypeError, ValueError):
        return None


def main() -> None:
    """Print the flags that either way of starting the server takes."""
    server, command = parser_of_vllm()
    print(json.dumps({**flags(command), **flags(server)}))


if __name__ == "__main__":
    main()
