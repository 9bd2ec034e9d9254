"""Render VLLMServers of a file for another place to run, and print or write the files."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import click

from vllm_operator.cli.exits import FAILED, USAGE, CliError
from vllm_operator.cli.sanitize import clean

if TYPE_CHECKING:
    from vllm_operator.targets.target import RenderedTarget

Function = TypeVar("Function", bound=Callable[..., Any])

MOST_REPLICAS = 10_000
"""Largest number of replicas of a VLLMServer."""


@dataclass(frozen=True)
class TargetOptions:
    """The options of `render` about targets.

    Attributes:
        name: name of the target; None to render the operator's objects.
        settings: settings as written, `NAME=VALUE`.
        replicas: number of replicas instead of that of the spec.
        folder: folder for the files; None to print them.
        listed: list the targets instead.
    """

    name: str | None
    settings: tuple[str, ...]
    replicas: int | None
    folder: Path | None
    listed: bool

    def run(self, source: TextIO | None, namespace: str, output: str) -> bool:
        """List the targets or render one; return False when the options ask for neither.

        Raises:
            click.UsageError: an option of targets without one.
        """
        if self.listed:
            click.echo("\n".join(target_lines()))
            return True
        if self.name is None and any((self.settings, self.replicas, self.folder)):
            raise click.UsageError("--set, --replicas and --output-dir need --target")
        if self.name is None or source is None:
            return False
        values = parse_settings(self.settings)
        show(render_file(source.read(), namespace, self.name, values, self.replicas), output, self.folder)
        return True


def target_options(function: Function) -> Function:
    """Add the options about targets; the command receives them as `target: TargetOptions`."""
    options = [
        click.option(
            "--target",
            "target_name",
            metavar="NAME",
            help="Write the server for another place to run, such as compose or cloud-run (--list-targets).",
        ),
        click.option(
            "--set",
            "settings",
            multiple=True,
            metavar="NAME=VALUE",
            help="Setting of the target, such as region=us-east-1. Repeat it for several.",
        ),
        click.option(
            "--replicas",
            type=click.IntRange(1, MOST_REPLICAS),
            help="Replicas on the target. [default: those of the spec]",
        ),
        click.option(
            "--output-dir",
            type=click.Path(file_okay=False, path_type=Path),
            help="Folder for the files of the target. [default: print them]",
        ),
        click.option("--list-targets", is_flag=True, help="List the targets and their settings, and end."),
    ]

    @functools.wraps(function)
    def wrapper(*arguments: Any, **values: Any) -> Any:
        names = ("target_name", "settings", "replicas", "output_dir", "list_targets")
        target = TargetOptions(*(values.pop(name) for name in names))
        return function(*arguments, target=target, **values)

    for option in reversed(options):
        wrapper = option(wrapper)
    return wrapper  # type: ignore[return-value]  # click's decorators keep the function


def parse_settings(values: Sequence[str]) -> dict[str, str]:
    """Return the settings of `--set NAME=VALUE`.

    Raises:
        CliError: a value without an equals sign.
    """
    settings = {}
    for value in values:
        name, equals, setting = value.partition("=")
        if not equals or not name:
            raise CliError(f"--set {clean(value, 80)}: write --set NAME=VALUE, such as --set region=us-east-1", USAGE)
        settings[name] = setting
    return settings


def render_file(
    text: str, namespace: str, name: str, settings: Mapping[str, str], replicas: int | None
) -> dict[str, RenderedTarget]:
    """Return the files of a target for each VLLMServer of a file, by the name of the server.

    Raises:
        CliError: the file is unreadable, a VLLMServer is refused, or it cannot run on the target.
    """
    from vllm_operator.api.server import parse_server
    from vllm_operator.kube.kinds import MONITORING_KINDS
    from vllm_operator.offline.judgement import PLACEHOLDER_UID, judge
    from vllm_operator.offline.manifest_file import UnreadableFileError
    from vllm_operator.offline.report import server_documents
    from vllm_operator.targets.registry import render_target
    from vllm_operator.targets.target import TargetError

    try:
        documents = server_documents(text)
    except UnreadableFileError as error:
        raise CliError(clean(str(error), 2000), FAILED) from error
    results: dict[str, RenderedTarget] = {}
    for document in documents:
        judgement = judge(document, namespace, MONITORING_KINDS, drains=False)
        if not judgement.accepted:
            lines = [f"{judgement.name}: refused: {problem.message}" for problem in judgement.problems]
            raise CliError("\n".join(clean(line, 2000) for line in lines), FAILED)
        metadata = {"namespace": namespace, "uid": PLACEHOLDER_UID, **document.body["metadata"]}
        if "name" not in metadata:
            raise CliError("metadata.name: a target needs a name: write one instead of generateName", FAILED)
        server = parse_server({**document.body, "metadata": metadata})
        try:
            results[server.name] = render_target(name, server, judgement.objects, settings, replicas)
        except TargetError as error:
            raise CliError(f"{clean(server.name, 253)}: {clean(str(error), 2000)}", FAILED) from error
    return results


def show(results: Mapping[str, RenderedTarget], output: str, folder: Path | None) -> None:
    """Print the files, or write them to a folder; what could not be carried over goes to standard error.

    Raises:
        CliError: a file exists already, or cannot be written.
    """
    if output == "json":
        click.echo(json.dumps([as_json(name, result) for name, result in results.items()], indent=2))
        return
    if folder is not None:
        _write(results, folder)
    else:
        click.echo("".join(_printed(results)), nl=False)
    for name, result in results.items():
        for item in result.not_carried:
            click.echo(f"{name}: not carried over: {clean(str(item), 2000)}", err=True)
        for step in result.steps:
            click.echo(f"{name}: next: {step}", err=True)


def as_json(name: str, result: RenderedTarget) -> dict[str, Any]:
    """Return the result for programs."""
    return {
        "server": name,
        "files": [{"path": file.path, "text": file.text} for file in result.files],
        "notCarriedOver": [{"field": item.field, "message": item.message} for item in result.not_carried],
        "steps": list(result.steps),
    }


def _paths(results: Mapping[str, RenderedTarget]) -> Iterator[tuple[str, str]]:
    """Return path and text of each file; several servers get a folder each."""
    for name, result in results.items():
        prefix = f"{name}/" if len(results) > 1 else ""
        for file in result.files:
            yield f"{prefix}{file.path}", file.text


def _printed(results: Mapping[str, RenderedTarget]) -> Iterator[str]:
    files = list(_paths(results))
    for path, text in files:
        if len(files) > 1:
            yield f"# ==> {path} <==\n"
        yield text


def _write(results: Mapping[str, RenderedTarget], folder: Path) -> None:
    files = [(folder / path, text) for path, text in _paths(results)]
    for path, _ in files:
        if path.exists():
            raise CliError(f"{path} exists already: choose another --output-dir, or remove it", FAILED)
    try:
        for path, text in files:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            click.echo(f"wrote {path}", err=True)
    except OSError as error:
        raise CliError(f"{folder}: {error.strerror}: choose another --output-dir", FAILED) from error


def target_lines() -> Iterator[str]:
    """Return the targets and their settings, for people."""
    from vllm_operator.targets.registry import TARGETS

    for target in TARGETS.values():
        yield f"{target.name:<14} {target.title}"
        for setting in target.settings:
            default = f"[default: {setting.default}]" if setting.default and not setting.required else ""
            needed = f"[example: {setting.default}]" if setting.required else ""
            yield f"{'':<14}   --set {setting.name}=...  {setting.description} {default}{needed}".rstrip()
