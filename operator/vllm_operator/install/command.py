"""The command `manifests`: what installs the operator."""

from __future__ import annotations

from pathlib import Path

import click

from vllm_operator import __version__
from vllm_operator.cli_options import (
    pod_template_option,
    restart_option,
    runbooks_option,
    secrets_option,
    server_metrics_option,
    validate_namespaces,
)


@click.command()
@click.option(
    "--image", default=f"vllm-operator:{__version__}", show_default=True, help="Container image of the operator."
)
@click.option(
    "--namespace",
    "-n",
    callback=validate_namespaces,
    default="vllm-operator-system",
    show_default=True,
    help="Namespace of the operator.",
)
@click.option("--namespaced", is_flag=True, help="Serve only the operator's own namespace, as --serve with its name.")
@click.option(
    "--serve",
    multiple=True,
    callback=validate_namespaces,
    help="Serve only this namespace, with a Role in it instead of a ClusterRole. Repeat it for several. "
    "[default: all namespaces]",
)
@click.option(
    "--without-cluster-objects",
    is_flag=True,
    help="Leave out Namespace and CRD, which only an administrator can apply; needs --serve or --namespaced.",
)
@click.option("--pod-monitor", is_flag=True, help="Add a PodMonitor for the operator; the cluster needs its CRD.")
@click.option(
    "--rules", is_flag=True, help="Add a PrometheusRule with alerts about the operator; the cluster needs its CRD."
)
@server_metrics_option
@click.option("--dashboards", is_flag=True, help="Add dashboards for Grafana, as ConfigMaps that its sidecar reads.")
@pod_template_option(default="restricted")
@secrets_option(default="labelled")
@restart_option
@click.option(
    "--gateways", is_flag=True, help="Add the CRD of VLLMGateway, and the rights and the option to reconcile them."
)
@click.option(
    "--network-policies",
    is_flag=True,
    help="Add a NetworkPolicy that bounds the connections of the operator.",
)
@click.option(
    "--metrics-from",
    multiple=True,
    callback=validate_namespaces,
    default=["monitoring"],
    show_default=True,
    help="Namespace whose pods may read the operator's metrics, with --network-policies. Repeat it for several.",
)
@click.option(
    "--metrics-api/--no-metrics-api",
    default=True,
    show_default=True,
    help="Let the operator serve the load of the replicas to HorizontalPodAutoscalers as custom.metrics.k8s.io, unless "
    "it serves single namespaces.",
)
@runbooks_option
@click.option(
    "--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="File to write. [default: standard output]"
)
def manifests(
    image: str,
    namespace: str,
    namespaced: bool,
    serve: tuple[str, ...],
    without_cluster_objects: bool,
    pod_monitor: bool,
    rules: bool,
    server_metrics: bool,
    dashboards: bool,
    pod_template: str,
    secrets: str,
    restart_stalled: bool,
    gateways: bool,
    network_policies: bool,
    metrics_from: tuple[str, ...],
    metrics_api: bool,
    runbooks: str,
    output: Path | None,
) -> None:
    """Print the manifests that install the operator: Namespace, CRD, RBAC, Service and Deployment.

    Apply them with `kubectl apply --server-side -f FILE`.
    """
    from vllm_operator.install.manifests import (
        CLUSTER_OBJECTS,
        MonitoringOptions,
        RightsOptions,
        operator_manifests,
        to_yaml,
    )

    served = tuple(dict.fromkeys([namespace, *serve] if namespaced else serve))
    if without_cluster_objects and not served:
        raise click.UsageError(
            "--without-cluster-objects needs --serve or --namespaced: to serve all namespaces takes a ClusterRole"
        )
    rights = RightsOptions(
        pod_template, secrets, restart_stalled, network_policies, metrics_from, metrics_api, gateways
    )
    monitoring = MonitoringOptions(pod_monitor, rules, runbooks, server_metrics, dashboards)
    objects = operator_manifests(image, namespace, served, monitoring, rights)
    if without_cluster_objects:
        objects = [body for body in objects if body["kind"] not in CLUSTER_OBJECTS]
    text = to_yaml(objects)
    if output is None:
        click.echo(text, nl=False)
    else:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text)
