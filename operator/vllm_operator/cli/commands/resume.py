"""`kubectl vllm resume`."""

from __future__ import annotations

import click

from vllm_operator.cli.changes import change_output, change_spec, dry_run_option, print_change
from vllm_operator.cli.options import ClusterOptions, cluster_options
from vllm_operator.cli.servers import field, find_server, name_argument, name_of


@click.command()
@name_argument()
@cluster_options()
@dry_run_option
@change_output
def command(name: str, cluster: ClusterOptions, dry_run: bool, output: str | None) -> None:
    """Let the operator manage the objects of a paused server again."""
    from vllm_operator.cli.cluster import Cluster

    api = Cluster(cluster)
    server = find_server(api, name)
    if not field(server, "spec", "paused"):
        print_change([f"{name_of(server)}: unchanged: it is not paused"], server, output)
        return
    change_spec(api, server, {"paused": False}, dry_run=dry_run, output=output)
