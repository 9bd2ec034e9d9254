"""`kubectl vllm get`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from vllm_operator.cli.options import ClusterOptions, cluster_options, output_option
from vllm_operator.cli.servers import complete_name, field, find_server, name_of, namespace_of
from vllm_operator.cli.times import age

if TYPE_CHECKING:
    from vllm_operator.cli.cluster import Object


@click.command()
@click.argument("names", nargs=-1, shell_complete=complete_name)
@cluster_options(all_namespaces=True)
@output_option("wide", "json", "yaml", "name")
@click.option("--selector", "-l", default="", metavar="LABELS", help="Only servers with these labels.")
def command(names: tuple[str, ...], cluster: ClusterOptions, output: str | None, selector: str) -> None:
    """List servers with the replicas that really serve, and the cause of what is wrong."""
    from vllm_operator.cli import console
    from vllm_operator.cli.cluster import Cluster
    from vllm_operator.cli.output import PHASE_STYLES, print_objects, print_table
    from vllm_operator.kube.kinds import SERVER

    if names and (cluster.all_namespaces or selector):
        raise click.UsageError("names cannot be combined with --all-namespaces or --selector: leave them out")
    api = Cluster(cluster)
    with console.progress("reading the servers"):
        servers = [find_server(api, name) for name in names] if names else api.list(SERVER, api.scope, labels=selector)
    if output in {"json", "yaml", "name"}:
        print_objects(servers, str(output), single=len(names) == 1)
        return
    if not servers:
        where = "any namespace" if cluster.all_namespaces else f"namespace {api.namespace}"
        click.echo(f"No VLLMServers found in {where}.", err=True)
        return
    heads = columns(wide=output == "wide", namespaces=cluster.all_namespaces)
    rows = [[row[head] for head in heads] for row in map(row_of, sorted(servers, key=_order))]
    print_table(heads, rows, PHASE_STYLES)


def _order(server: Object) -> tuple[str, str]:
    return namespace_of(server), name_of(server)


def columns(*, wide: bool, namespaces: bool) -> list[str]:
    """Return the heads of the table: those of `kubectl get vllmservers`, the message last."""
    heads = [*(["NAMESPACE"] if namespaces else []), "NAME", "MODEL", "READY", "PHASE", "VERSION"]
    return [*heads, *(["ENDPOINT", "GPUS", "IMAGE"] if wide else []), "AGE", "MESSAGE"]


def row_of(server: Mapping[str, Any]) -> dict[str, Any]:
    """Return head -> value for a server."""
    return {
        "NAMESPACE": namespace_of(server),
        "NAME": name_of(server),
        "MODEL": field(server, "spec", "model", "uri"),
        "READY": field(server, "status", "ready"),
        "PHASE": field(server, "status", "phase"),
        "VERSION": field(server, "status", "version"),
        "ENDPOINT": field(server, "status", "endpoint"),
        "GPUS": field(server, "spec", "accelerator", "count"),
        "IMAGE": field(server, "spec", "image"),
        "AGE": age(field(server, "metadata", "creationTimestamp")),
        "MESSAGE": field(server, "status", "message"),
    }
