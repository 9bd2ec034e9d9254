"""`kubectl vllm render`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TextIO

import click

from vllm_operator.cli.exits import FAILED
from vllm_operator.cli.options import ClusterOptions, cluster_options
from vllm_operator.cli.render_target import TargetOptions, target_options
from vllm_operator.cli_options import pod_template_option

if TYPE_CHECKING:
    from vllm_operator.cli.cluster import Cluster
    from vllm_operator.offline.judgement import Judgement

DIFF_STYLES = {"+": "green", "-": "red", "@": "cyan"}
"""First character of a line of a diff -> its style on a terminal."""


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
    "--monitoring-crds/--no-monitoring-crds",
    default=True,
    show_default=True,
    help="The cluster has the CRDs of prometheus-operator. With --diff, the cluster itself says so.",
)
@pod_template_option(default="restricted")
@click.option(
    "--diff",
    is_flag=True,
    help="Print what would change in the cluster instead; the exit code is 1 when something would, as kubectl diff has "
    "it. It needs the right to patch the objects, and writes nothing.",
)
@target_options
@cluster_options(namespace="default; with --diff, that of the kubeconfig's context")
@click.pass_context
def command(
    context: click.Context,
    source: TextIO | None,
    output: str,
    monitoring_crds: bool,
    pod_template: str,
    diff: bool,
    target: TargetOptions,
    cluster: ClusterOptions,
) -> None:
    """Print the objects that the operator would create for a manifest, or why it is refused.

    It needs no cluster, unless --diff compares with one. Refusals and notes go to standard error, and the exit code is
    1 when a VLLMServer is refused: for pipelines and pre-commit. With --target the files for another place to run are
    printed or written, and what could not be carried over is listed.
    """
    from vllm_operator.cli.manifests import NAMESPACE

    namespace = cluster.namespace or NAMESPACE
    if diff and target.name:
        raise click.UsageError("--diff cannot be combined with --target: leave one out")
    if target.run(source, namespace, output):
        return
    if source is None:
        raise click.UsageError("Missing option '--filename' / '-f'.")
    if diff:
        context.exit(FAILED if _diff(source.read(), pod_template, cluster) else 0)
    from vllm_operator.gateway.offline import rendered_gateway
    from vllm_operator.kube.kinds import MONITORING_KINDS, SCALED_OBJECT
    from vllm_operator.offline.report import judge_file

    kinds = (MONITORING_KINDS if monitoring_crds else frozenset()) | {SCALED_OBJECT}
    judgements = judge_file(source.read(), namespace, kinds, pod_template, rendered_gateway)
    _print(judgements, output)
    if not all(judgement.accepted for judgement in judgements):
        context.exit(FAILED)


def _print(judgements: Sequence[Judgement], output: str) -> None:
    from vllm_operator.offline.report import as_json, as_yaml, explanations

    click.echo(as_json(judgements) if output == "json" else as_yaml(judgements), nl=False)
    for line in explanations(judgements) if output == "yaml" else ():
        click.echo(line, err=True)


def _diff(text: str, pod_template: str, options: ClusterOptions) -> bool:
    """Print the differences between a file and the cluster; return whether there are any, or a refusal."""
    from vllm_operator.cli import console
    from vllm_operator.cli.cluster import Cluster
    from vllm_operator.cli.differences import differences, keeps_former_pods
    from vllm_operator.offline.report import explanations

    api = Cluster(options)
    results: list[Sequence[str]] = []
    with console.progress("comparing with the cluster"):
        judgements = _judged_for(api, text, pod_template)
        former_ones = _judged_for(api, text, pod_template, drains=False)
        for judgement, former in zip(judgements, former_ones, strict=True):
            namespace, _, name = judgement.name.partition("/")
            cluster = api.within(namespace)
            if not judgement.accepted:
                results.append(())
                continue
            objects = former.objects if keeps_former_pods(cluster, former.objects) else judgement.objects
            results.append(differences(cluster, name, objects))
    for line in explanations([dataclasses.replace(judgement, notes=()) for judgement in judgements]):
        click.echo(line, err=True)
    for diff in (diff for found in results for diff in found):
        _print_diff(diff)
    return any(results) or not all(judgement.accepted for judgement in judgements)


def _judged_for(api: Cluster, text: str, pod_template: str, *, drains: bool = True) -> list[Judgement]:
    """Return the verdicts on the VLLMServers of a file, with the identity that they have in the cluster."""
    from vllm_operator.cli.checks.cluster import optional_kinds
    from vllm_operator.cli.manifests import with_uids
    from vllm_operator.offline.gateway_judgement import is_gateway
    from vllm_operator.offline.report import judge_documents

    now = datetime.now(UTC)
    return judge_documents(
        [document for document in with_uids(api, text) if not is_gateway(document.body)],
        api.namespace,
        optional_kinds(api),
        pod_template,
        drains=drains,
        now=now,
    )


def _print_diff(diff: str) -> None:
    from rich.text import Text

    from vllm_operator.cli import console

    screen = console.out()
    for line in diff.splitlines():
        screen.print(Text(line, style=DIFF_STYLES.get(line[:1], "")), soft_wrap=True)
