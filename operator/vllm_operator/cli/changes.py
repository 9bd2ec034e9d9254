"""Change a field of a VLLMServer, and show the change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from vllm_operator.cli.options import Function
from vllm_operator.cli.sanitize import clean
from vllm_operator.cli.servers import mapping, name_of

if TYPE_CHECKING:
    from vllm_operator.cli.cluster import Cluster, Object

GITOPS_MARKS: Mapping[str, str] = {
    "argocd.argoproj.io/tracking-id": "Argo CD",
    "argocd.argoproj.io/instance": "Argo CD",
    "kustomize.toolkit.fluxcd.io/name": "Flux",
    "helm.toolkit.fluxcd.io/name": "Flux",
}
"""Label or annotation -> the tool that applies the object again, and undoes a change."""


def dry_run_option(function: Function) -> Function:
    """Add --dry-run; the command receives it as `dry_run`."""
    return click.option("--dry-run", is_flag=True, help="Let the API server check the change, and write nothing.")(
        function
    )


def change_output(function: Function) -> Function:
    """Add -o; the command receives it as `output`, None for the changes in words."""
    return click.option(
        "--output",
        "-o",
        type=click.Choice(("json", "yaml", "name")),
        help="Print the object as it is then, and the changes on standard error. [default: the changes]",
    )(function)


def change_spec(
    cluster: Cluster, server: Object, spec: Mapping[str, Any], *, dry_run: bool, output: str | None = None
) -> bool:
    """Merge fields into the spec of a server, and print each change; return whether there was one.

    Args:
        cluster: the cluster.
        server: the server as it is.
        spec: the fields to set; maps are merged.
        dry_run: let the API server check the change only.
        output: format of the object that is printed; None for the changes only.

    Raises:
        CallError: the API server refuses the change.
    """
    from vllm_operator.cli import console
    from vllm_operator.kube.kinds import SERVER

    name = name_of(server)
    lines = list(_differences(mapping(server, "spec"), spec, "spec"))
    if not lines:
        print_change([f"{name}: unchanged: {', '.join(_wanted(spec, 'spec'))}"], server, output)
        return False
    with console.progress(f"changing {name}"):
        changed = cluster.patch(SERVER, name, {"spec": spec}, dry_run=dry_run)
    print_change([f"{name}: {line}{' (dry run)' if dry_run else ''}" for line in lines], changed, output)
    note_gitops(server)
    return True


def print_change(lines: Sequence[str], changed: Mapping[str, Any], output: str | None) -> None:
    """Print the changes in words, and with an output format the object as it is then."""
    from vllm_operator.cli.output import print_objects

    for line in lines:
        click.echo(line, err=output is not None)
    if output:
        print_objects([changed], output, single=True)


def note_gitops(server: Mapping[str, Any]) -> None:
    """Print a note if a GitOps tool applies the server, since it undoes changes."""
    marks = [*mapping(server, "metadata", "labels"), *mapping(server, "metadata", "annotations")]
    tools = sorted({tool for mark, tool in GITOPS_MARKS.items() if mark in marks})
    if tools:
        click.echo(f"note: {tools[0]} applies {name_of(server)}, and may undo this: change its source too", err=True)


def _differences(old: Any, new: Mapping[str, Any], path: str) -> list[str]:
    """Return `spec.replicas: 1 -> 3` for each field that `new` changes."""
    found: list[str] = []
    for key, value in new.items():
        before = old.get(key) if isinstance(old, Mapping) else None
        if isinstance(value, Mapping):
            found += _differences(before, value, f"{path}.{key}")
        elif before != value:
            found.append(f"{path}.{key}: {shown(before)} -> {shown(value)}")
    return found


def _wanted(new: Mapping[str, Any], path: str) -> list[str]:
    return [
        text
        for key, value in new.items()
        for text in (
            _wanted(value, f"{path}.{key}") if isinstance(value, Mapping) else [f"{path}.{key} is {shown(value)}"]
        )
    ]


def shown(value: Any) -> str:
    """Return a value as YAML spells it."""
    if value is None:
        return "unset"
    return str(value).lower() if isinstance(value, bool) else clean(value, 200)
