"""`kubectl vllm restart`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from vllm_operator.api.names import child_name
from vllm_operator.cli.changes import change_output, dry_run_option, note_gitops, print_change, shown
from vllm_operator.cli.exits import CliError
from vllm_operator.cli.options import ClusterOptions, cluster_options
from vllm_operator.cli.servers import field, find_server, mapping, name_argument, name_of

if TYPE_CHECKING:
    from vllm_operator.cli.cluster import Object

RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"
"""The annotation of `kubectl rollout restart`, which the operator leaves in the pod template."""


@click.command()
@name_argument()
@cluster_options()
@dry_run_option
@change_output
def command(name: str, cluster: ClusterOptions, dry_run: bool, output: str | None) -> None:
    """Replace all replicas of a server, by its rollout settings.

    It sets the annotation that `kubectl rollout restart` sets, in the pod template of the Deployment.
    """
    from vllm_operator.cli import console
    from vllm_operator.cli.cluster import Cluster
    from vllm_operator.kube.kinds import DEPLOYMENT

    api = Cluster(cluster)
    server = find_server(api, name)
    deployment = api.find(DEPLOYMENT, child_name(name_of(server)))
    if deployment is None:
        message = shown(field(server, "status", "message"))
        raise CliError(f"{name_of(server)} has no Deployment yet, so there is nothing to restart ({message})")
    now = datetime.now(UTC).isoformat(timespec="seconds")
    before = field(deployment, "spec", "template", "metadata", "annotations", RESTARTED_AT)
    body = {"spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: now}}}}}
    with console.progress(f"changing {name}"):
        changed = api.patch(DEPLOYMENT, name_of(deployment), body, dry_run=dry_run)
    line = f"{name_of(server)}: Deployment {name_of(deployment)}: {RESTARTED_AT}: {shown(before)} -> {now}"
    print_change([f"{line}{' (dry run)' if dry_run else ''}", rollout_text(deployment)], changed, output)
    note_gitops(server)


def rollout_text(deployment: Object) -> str:
    """Return how the rollout replaces the replicas, in words."""
    replicas: Any = field(deployment, "spec", "replicas")
    strategy = mapping(deployment, "spec", "strategy")
    if strategy.get("type") == "Recreate":
        return f"all {shown(replicas)} replicas stop before new ones start"
    rolling = mapping(strategy, "rollingUpdate")
    return (
        f"{shown(replicas)} replicas are replaced, at most {shown(rolling.get('maxUnavailable'))} missing and "
        f"{shown(rolling.get('maxSurge'))} more at a time; follow it with: kubectl vllm status {name_of(deployment)} -w"
    )
