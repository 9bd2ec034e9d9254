"""`kubectl vllm doctor`."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import click

from vllm_operator.cli.exits import FAILED
from vllm_operator.cli.gateways import (
    all_findings,
    find_gateway,
    gateway_findings,
    gateway_title,
    is_gateway_name,
)
from vllm_operator.cli.options import ClusterOptions, cluster_options, output_option
from vllm_operator.cli.servers import complete_name, find_server, name_of, namespace_of

if TYPE_CHECKING:
    from vllm_operator.cli.cluster import Cluster, Object
    from vllm_operator.cli.findings import Finding

PARALLEL = 8
"""Servers that are read at once."""

STYLES = {"problem": "bold red", "warning": "yellow", "unknown": "magenta"}


@click.command()
@click.argument("names", nargs=-1, shell_complete=complete_name)
@cluster_options(all_namespaces=True)
@output_option("json", "yaml")
@click.pass_context
def command(context: click.Context, names: tuple[str, ...], cluster: ClusterOptions, output: str | None) -> None:
    """Say what is wrong with servers, gateways and the operator, and what to do.

    Without names it covers all servers and gateways of the namespace; `vllmgateway/NAME` names a gateway. The exit
    code is 1 when there is a problem.
    """
    from vllm_operator.cli import console
    from vllm_operator.cli.cluster import Cluster
    from vllm_operator.cli.findings import title
    from vllm_operator.cli.operator_state import operator_findings
    from vllm_operator.cli.output import print_data

    if names and cluster.all_namespaces:
        raise click.UsageError("names cannot be combined with --all-namespaces: leave one out")
    api = Cluster(cluster)
    with console.progress("reading the servers"):
        servers = _servers(api, names)
        results = [("operator", operator_findings(api))]
        with ThreadPoolExecutor(PARALLEL) as pool:
            found_of_all = list(pool.map(lambda server: findings_of(api, server), servers))
        results += list(zip(map(title, servers), found_of_all, strict=True))
        results += _gateway_results(api, names)
    if output:
        print_data([_as_data(head, found) for head, found in results], output)
    else:
        _print(results)
    if not servers and not names:
        click.echo(f"there are no VLLMServers in {api.scope or 'any namespace'}", err=True)
    if _has_problem(results):
        context.exit(FAILED)


def _servers(api: Cluster, names: Sequence[str]) -> list[Object]:
    from vllm_operator.kube.kinds import SERVER

    if not names:
        return api.list(SERVER, api.scope)
    return [find_server(api, name) for name in names if not is_gateway_name(name)]


def _gateway_results(api: Cluster, names: Sequence[str]) -> list[tuple[str, list[Finding]]]:
    if not names:
        return all_findings(api)
    gateways = [find_gateway(api, name) for name in names if is_gateway_name(name)]
    return [(gateway_title(gateway), gateway_findings(gateway)) for gateway in gateways]


def _has_problem(results: Sequence[tuple[str, Sequence[Finding]]]) -> bool:
    return any(finding.level == "problem" for _, found in results for finding in found)


def _as_data(head: str, found: Sequence[Finding]) -> dict[str, Any]:
    return {"subject": head, "findings": [finding.as_data() for finding in found]}


def findings_of(api: Cluster, server: Object) -> list[Finding]:
    """Return what is wrong with a server, with the newest warnings among its Events when there is a problem."""
    from vllm_operator.cli.api_failures import CallError
    from vllm_operator.cli.findings import Finding, event_findings, server_findings
    from vllm_operator.cli.gathered import events_of, gather

    own = api.within(namespace_of(server))
    state = gather(own, server)
    found = server_findings(state)
    if all(finding.level == "warning" for finding in found):
        # Events of a start that succeeded in the end would only distract.
        return found
    try:
        names = [name_of(server), *map(name_of, [*state.pods, *state.replica_sets, *state.children.values()])]
        return [*found, *event_findings(events_of(own, names))]
    except CallError as error:
        if not error.is_forbidden:
            raise
        return [*found, Finding("unknown", "rights", error.message)]


def _print(results: Sequence[tuple[str, Sequence[Any]]]) -> None:
    from rich.text import Text

    from vllm_operator.cli import console

    screen = console.out()
    for head, found in results:
        screen.print(Text(f"{head}{'' if found else '  ok'}", style="bold" if found else "green"))
        for finding in found:
            mark = (f"  {finding.level}", STYLES[finding.level])
            screen.print(Text.assemble(mark, f"  {finding.subject}: {finding.message}"))
