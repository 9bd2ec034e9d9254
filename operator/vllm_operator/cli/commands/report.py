"""`kubectl vllm report`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from vllm_operator.cli.exits import CliError
from vllm_operator.cli.options import ClusterOptions, cluster_options
from vllm_operator.cli.servers import complete_name, find_server


@click.command()
@click.argument("names", nargs=-1, shell_complete=complete_name)
@cluster_options(all_namespaces=True)
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write. [default: vllm-report-TIME.zip]",
)
@click.option("--force", is_flag=True, help="Overwrite the file if it exists.")
def command(names: tuple[str, ...], cluster: ClusterOptions, output: Path | None, force: bool) -> None:
    """Write a zip of manifests, statuses, logs and Events for a bug report, with secrets removed.

    Without names it covers all servers of the namespace. It reads no Secret, and masks what looks like a token, a
    key or a password everywhere. Logs may hold prompts: read the files before you share them.
    """
    from vllm_operator.cli import console
    from vllm_operator.cli.bundle import Bundle, fill
    from vllm_operator.cli.cluster import Cluster
    from vllm_operator.kube.kinds import SERVER

    if names and cluster.all_namespaces:
        raise click.UsageError("names cannot be combined with --all-namespaces: leave one out")
    path = output or Path(f"vllm-report-{datetime.now(UTC):%Y%m%d-%H%M%S}.zip")
    if path.exists() and not force:
        raise CliError(f"{path} exists: choose another --output, or use --force")
    api = Cluster(cluster)
    servers = [find_server(api, name) for name in names] if names else api.list(SERVER, api.scope)
    bundle = Bundle()
    with console.progress("collecting manifests, logs and Events"):
        fill(bundle, api, servers)
        data = bundle.finish()
    try:
        path.write_bytes(data)
    except OSError as error:
        raise CliError(f"{path} cannot be written: {error.strerror}: choose another --output") from error
    click.echo(f"{path}: {len(bundle.names)} files about {len(servers)} servers, {len(data):,} bytes")
    for problem in bundle.problems:
        click.echo(f"not included: {problem}", err=True)
    click.echo("Secrets are masked. Logs may hold prompts: read the files before you share them.", err=True)
