"""`kubectl vllm resume`."""

from __future__ import annotations

import click

from vllm_operator.cli.changes import change_spec, dry_run_option
from vllm_operator.cli.options import ClusterOptions, cluster_options
from vllm_operator.cli.servers import field, find_server, name_argument, name_of


@click.command()
@name_argument()
@cluster_options()
@dry_run_option
def command(name: str, cluster: ClusterOptions, dry_run: bool) -> None:
    """Let the operator manage the objects of a paused server again."""
    from vllm_operator.cli.cluster import Cluster

    api = Cluster(cluster)
    server = find_server(api, name)
    if not field(server, "spec", "paused"):
        click.echo(f"{name_of(server)}: unchanged: it is not paused")
        return
    change_spec(api, server, {"paused": False}, dry_run=dry_run)
