"""`kubectl vllm check`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TextIO

import click

from vllm_operator.cli.exits import FAILED, CliError
from vllm_operator.cli.options import ClusterOptions, cluster_options, output_option
from vllm_operator.cli.servers import complete_name, find_server, mapping, name_of, namespace_of

if TYPE_CHECKING:
    from vllm_operator.cli.checks.item import CheckedItem, CheckSubject
    from vllm_operator.cli.cluster import Cluster, Object

STYLES = {"pass": "green", "fail": "bold red", "warn": "yellow", "unknown": "magenta", "n/a": "dim"}


@click.command()
@click.argument("names", nargs=-1, shell_complete=complete_name)
@cluster_options()
@click.option(
    "--filename",
    "-f",
    "source",
    type=click.File(encoding="utf-8", errors="replace"),
    help="File with VLLMServers as YAML or JSON, - for standard input; needs no cluster.",
)
@click.option("--cluster", "whole", is_flag=True, help="Check the cluster too: CRD, operator, devices, rights.")
@click.option("--strict", is_flag=True, help="Let warnings count as failures.")
@output_option("json", "yaml")
@click.pass_context
def command(
    context: click.Context,
    names: tuple[str, ...],
    cluster: ClusterOptions,
    source: TextIO | None,
    whole: bool,
    strict: bool,
    output: str | None,
) -> None:
    """Go through the production checklist, item by item, with evidence and remedy.

    It judges manifests (-f), servers of the cluster (NAMES), or the cluster itself (--cluster). Without any of them it
    judges the cluster and all servers of the namespace. The exit code is 1 when an item fails.
    """
    from vllm_operator.cli.cluster import Cluster
    from vllm_operator.cli.output import print_data

    if source and (names or whole):
        raise click.UsageError("--filename cannot be combined with names or --cluster: leave one out")
    results = _of_file(source, cluster) if source else _of_cluster(Cluster(cluster), names, whole)
    if output:
        data = [{"subject": head, "items": [item.as_data() for item in checked]} for head, checked in results]
        print_data(data, output)
    else:
        _print_all(results)
    bad = {"fail", "warn"} if strict else {"fail"}
    if any(item.result.level in bad for _, checked in results for item in checked):
        context.exit(FAILED)


Results = Sequence[tuple[str, Sequence[Any]]]


def _of_file(source: TextIO, options: ClusterOptions) -> Results:
    """Return the checklist of each VLLMServer of a file.

    Raises:
        CliError: a manifest is refused.
    """
    from vllm_operator.cli.checks import checked
    from vllm_operator.cli.manifests import subjects_of_file

    return [(name, checked(subject)) for name, subject in subjects_of_file(source.read(), options.namespace)]


def _of_cluster(api: Cluster, names: Sequence[str], whole: bool) -> Results:
    from vllm_operator.cli import console
    from vllm_operator.cli.checks import checked
    from vllm_operator.cli.checks.cluster import cluster_items
    from vllm_operator.kube.kinds import SERVER

    results: list[tuple[str, list[CheckedItem]]] = []
    with console.progress("reading the cluster"):
        if whole or not names:
            results.append(("cluster", cluster_items(api)))
        servers = [find_server(api, name) for name in names] if names or whole else api.list(SERVER, api.namespace)
        results += [(f"{namespace_of(one)}/{name_of(one)}", checked(live_subject(api, one))) for one in servers]
    return results


def live_subject(api: Cluster, server: Object) -> CheckSubject:
    """Return what the checklist of a server in the cluster is judged from.

    Raises:
        CliError: the stored spec cannot be read.
    """
    from vllm_operator.api.names import child_name
    from vllm_operator.api.server import parse_server
    from vllm_operator.cli.checks.cluster import largest_node, monitoring_api_kinds
    from vllm_operator.cli.checks.item import CheckSubject
    from vllm_operator.cli.checks.routes import routes_to
    from vllm_operator.cli.gathered import gather
    from vllm_operator.errors import InvalidSpecError

    try:
        spec = parse_server(server).spec
    except InvalidSpecError as error:
        raise CliError(f"{name_of(server)}: {error.message}") from error
    return CheckSubject(
        spec,
        gather(api, server).children,
        mapping(server, "status"),
        routes_to(api, child_name(name_of(server))),
        largest_node(api, spec.accelerator.resource_name) if spec.accelerator.resource_name else None,
        monitoring_api_kinds(api),
    )


def _print_all(results: Results) -> None:
    for head, checked in results:
        _print(head, checked)


def _print(head: str, checked: Sequence[CheckedItem]) -> None:
    from rich.text import Text

    from vllm_operator.cli import console

    screen, section = console.out(), ""
    levels = [item.result.level for item in checked]
    counts = ", ".join(f"{levels.count(level)} {level}" for level in STYLES if level in levels)
    screen.print(Text.assemble((head, "bold"), f": {counts}"))
    for item in checked:
        if item.section != section:
            section = item.section
            screen.print(Text(f"  {section}", style="bold"))
        result = item.result
        mark = (f"    {result.level:8}", STYLES[result.level])
        screen.print(Text.assemble(mark, (f"{item.title}: ", "bold"), result.evidence))
        if result.remedy:
            screen.print(Text(f"            do: {result.remedy}"))
