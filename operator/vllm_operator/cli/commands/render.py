"""`kubectl vllm render`."""

from __future__ import annotations

from typing import TextIO

import click

from vllm_operator.cli.exits import FAILED
from vllm_operator.cli.render_target import TargetOptions, target_options
from vllm_operator.cli_options import pod_template_option, validate_namespaces


@click.command()
@click.option(
    "--filename",
    "-f",
    "source",
    type=click.File(encoding="utf-8", errors="replace"),
    help="File with VLLMServers as YAML or JSON, - for standard input.",
)
@click.option(
    "--output",
    "-o",
    type=click.Choice(["yaml", "json"]),
    default="yaml",
    show_default=True,
    help="Format of the output.",
)
@click.option(
    "--namespace",
    "-n",
    callback=validate_namespaces,
    default="default",
    show_default=True,
    help="Namespace of a VLLMServer that names none.",
)
@click.option(
    "--monitoring-crds/--no-monitoring-crds",
    default=True,
    show_default=True,
    help="The cluster has the CRDs of prometheus-operator.",
)
@pod_template_option(default="restricted")
@target_options
@click.pass_context
def command(
    context: click.Context,
    source: TextIO | None,
    output: str,
    namespace: str,
    monitoring_crds: bool,
    pod_template: str,
    target: TargetOptions,
) -> None:
    """Print the objects that the operator would create for a manifest, or why it is refused.

    It needs no cluster. Refusals and notes go to standard error, and the exit code is 1 when a VLLMServer is refused:
    for pipelines and pre-commit. With --target the files for another place to run are printed or written, and what
    could not be carried over is listed.
    """
    if target.run(source, namespace, output):
        return
    if source is None:
        raise click.UsageError("Missing option '--filename' / '-f'.")
    from vllm_operator.kube.kinds import MONITORING_KINDS
    from vllm_operator.offline.report import as_json, as_yaml, explanations, judge_file

    kinds = MONITORING_KINDS if monitoring_crds else frozenset()
    judgements = judge_file(source.read(), namespace, kinds, pod_template)
    click.echo(as_json(judgements) if output == "json" else as_yaml(judgements), nl=False)
    if output == "yaml":
        for line in explanations(judgements):
            click.echo(line, err=True)
    if not all(judgement.accepted for judgement in judgements):
        context.exit(FAILED)
