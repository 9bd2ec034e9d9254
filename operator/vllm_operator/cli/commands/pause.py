"""`kubectl vllm pause`."""

from __future__ import annotations

import click

from vllm_operator.cli.changes import change_output, change_spec, dry_run_option
from vllm_operator.cli.options import ClusterOptions, cluster_options
from vllm_operator.cli.servers import find_server, name_argument


@click.command()
@name_argument()
@cluster_options()
@dry_run_option
@change_output
def command(name: str, cluster: ClusterOptions, dry_run: bool, output: str | None) -> None:
    """Let the operator leave all objects of a server unchanged; its status goes on."""
    from vllm_operator.cli.cluster import Cluster

    api = Cluster(cluster)
    change_spec(api, find_server(api, name), {"paused": True}, dry_run=dry_run, output=output)
