"""`kubectl vllm convert`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

import click

from vllm_operator.cli.exits import FAILED, CliError
from vllm_operator.cli.sanitize import clean
from vllm_operator.cli_options import validate_namespaces

if TYPE_CHECKING:
    from vllm_operator.conversion.result import Conversion
    from vllm_operator.offline.judgement import Judgement

LONGEST_MESSAGE = 2000
"""Characters of one message."""


@dataclass(frozen=True)
class Judged:
    """A conversion with the verdict about its VLLMServer; None when there is no server."""

    conversion: Conversion
    judgement: Judgement | None

    @property
    def accepted(self) -> bool:
        """True when API server and operator would accept the VLLMServer."""
        return self.judgement is not None and self.judgement.accepted


def _checked(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    return None if value is None else validate_namespaces(context, option, value)


@click.command()
@click.option(
    "--filename",
    "-f",
    "sources",
    type=click.File(encoding="utf-8", errors="replace"),
    multiple=True,
    required=True,
    help="File to convert, - for standard input. Repeat it for several: a Service or an autoscaler counts for a "
    "Deployment of another file.",
)
@click.option(
    "--output",
    "-o",
    type=click.Choice(["yaml", "json"]),
    default="yaml",
    show_default=True,
    help="Format of the output.",
)
@click.option("--namespace", "-n", callback=_checked, help="Namespace of the VLLMServers. [default: as is]")
@click.pass_context
def command(context: click.Context, sources: Sequence[TextIO], output: str, namespace: str | None) -> None:
    """Convert what other projects use to run vLLM into VLLMServers.

    It reads values of the vLLM production stack, KubeAI's Models, KServe's LLMInferenceServices, and Deployments that
    run vLLM. Standard error lists what could not be carried over. Each VLLMServer is judged as `render` judges it; the
    exit code is 1 when one is refused, or an object cannot become one. It needs no cluster.
    """
    judged = convert_texts([source.read() for source in sources], namespace)
    click.echo(_as_json(judged) if output == "json" else "".join(_as_yaml(judged)), nl=False)
    for line in _lines(judged):
        click.echo(line, err=True)
    if not all(one.accepted for one in judged):
        context.exit(FAILED)


def convert_texts(texts: Sequence[str], namespace: str | None) -> list[Judged]:
    """Return the conversion of each object of some files that runs vLLM.

    Raises:
        CliError: a file cannot be read, or nothing in them runs vLLM.
    """
    from vllm_operator.conversion.documents import KNOWN, convert_documents
    from vllm_operator.offline.judgement import judge
    from vllm_operator.offline.manifest_file import Document, UnreadableFileError, read_documents

    try:
        bodies = [document.body for text in texts for document in read_documents(text)]
    except UnreadableFileError as error:
        raise CliError(clean(str(error), LONGEST_MESSAGE), FAILED) from error
    judged = []
    for conversion in convert_documents(bodies):
        if conversion.server is not None and namespace:
            conversion.server["metadata"]["namespace"] = namespace
        verdict = judge(Document(conversion.server)) if conversion.server is not None else None
        judged.append(Judged(conversion, verdict))
    if not judged:
        raise CliError(f"nothing to convert: it reads {KNOWN}", FAILED)
    return judged


def _as_yaml(judged: Sequence[Judged]) -> Iterator[str]:
    import yaml

    for number, one in enumerate(one for one in judged if one.conversion.server is not None):
        if number:
            yield "---\n"
        yield f"# Converted from {clean(one.conversion.source, 300)}.\n"
        for item in one.conversion.unconverted:
            yield f"# Not carried over: {clean(str(item), LONGEST_MESSAGE)}\n"
        yield yaml.safe_dump(one.conversion.server, sort_keys=False, allow_unicode=True, width=120)


def _as_json(judged: Sequence[Judged]) -> str:
    return json.dumps([_as_object(one) for one in judged], indent=2) + "\n"


def _as_object(one: Judged) -> dict[str, Any]:
    return {
        "source": one.conversion.source,
        "server": one.conversion.server,
        "notCarriedOver": [{"field": item.field, "message": item.message} for item in one.conversion.unconverted],
        "accepted": one.accepted,
        "problems": [vars(problem) for problem in one.judgement.problems] if one.judgement else [],
        "notes": list(one.judgement.notes) if one.judgement else [],
    }


def _lines(judged: Sequence[Judged]) -> Iterator[str]:
    """Return the lines for people."""
    for one in judged:
        source = clean(one.conversion.source, 300)
        word = "not carried over" if one.conversion.server is not None else "cannot be converted"
        for item in one.conversion.unconverted:
            yield f"{source}: {word}: {clean(str(item), LONGEST_MESSAGE)}"
        if one.judgement is None:
            continue
        for problem in one.judgement.problems:
            yield f"{source}: refused: {clean(problem.message, LONGEST_MESSAGE)}"
        for note in one.judgement.notes:
            yield f"{source}: note: {clean(note, LONGEST_MESSAGE)}"
