"""`kubectl vllm scale`."""

from __future__ import annotations

from typing import Any

import click

from vllm_operator.cli.changes import change_output, change_spec, dry_run_option
from vllm_operator.cli.exits import CliError
from vllm_operator.cli.options import ClusterOptions, cluster_options
from vllm_operator.cli.servers import field, find_server, name_argument, name_of

MOST_REPLICAS = 10_000
"""Largest `spec.replicas` of the CRD."""


@click.command()
@name_argument()
@cluster_options()
@click.option(
    "--replicas",
    type=click.IntRange(0, MOST_REPLICAS),
    help="Number of replicas, without an autoscaler. With minReplicas: 0, 1 wakes a server and 0 puts it to sleep.",
)
@click.option(
    "--min", "low", type=click.IntRange(0, MOST_REPLICAS), help="Fewest replicas of the autoscaler (minReplicas)."
)
@click.option(
    "--max", "high", type=click.IntRange(1, MOST_REPLICAS), help="Most replicas of the autoscaler (maxReplicas)."
)
@dry_run_option
@change_output
def command(
    name: str,
    cluster: ClusterOptions,
    replicas: int | None,
    low: int | None,
    high: int | None,
    dry_run: bool,
    output: str | None,
) -> None:
    """Change the number of replicas, or the bounds of the autoscaler."""
    from vllm_operator.cli.cluster import Cluster

    bounds = {key: value for key, value in (("minReplicas", low), ("maxReplicas", high)) if value is not None}
    if (replicas is None) == (not bounds):
        raise click.UsageError("give --replicas for a server without an autoscaler, or --min and --max for one with it")
    api = Cluster(cluster)
    server = find_server(api, name)
    change_spec(api, server, wanted_change(server, replicas, bounds), dry_run=dry_run, output=output)


def wanted_change(server: dict[str, Any], replicas: int | None, bounds: dict[str, int]) -> dict[str, Any]:
    """Return the fields of the spec to set.

    Raises:
        CliError: the server has an autoscaler and --replicas is given, or the other way round.
    """
    scaler = field(server, "spec", "autoscaling")
    wakes = field(scaler, "minReplicas") == 0 and replicas in {0, 1}
    if replicas is None:
        if not scaler:
            raise CliError(f"{name_of(server)} has no autoscaler (spec.autoscaling is unset): use --replicas")
        return {"autoscaling": bounds}
    if scaler and not wakes:
        low, high = field(scaler, "minReplicas") or 1, field(scaler, "maxReplicas")
        raise CliError(
            f"the autoscaler decides the replicas of {name_of(server)} ({low} to {high}), and spec.replicas is "
            f"ignored: use --min {max(replicas, 1)} or --max {max(replicas, 1)}"
        )
    return {"replicas": replicas}
