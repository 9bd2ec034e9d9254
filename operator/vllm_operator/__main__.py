"""The command line of the operator: `python -m vllm_operator run`."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

import click

from vllm_operator import __version__
from vllm_operator.cli_options import (
    otlp_option,
    pod_template_option,
    restart_option,
    runbooks_option,
    secrets_option,
    server_metrics_limit_option,
    server_metrics_option,
    validate_namespaces,
)
from vllm_operator.gateway.cli import gateway_agent, gateway_drain, gateway_prepare
from vllm_operator.install.command import manifests

RECURSION_LIMIT = 60_000
"""Depth of calls that Python allows. The API server accepts JSON of 10,000 levels, and reading it takes up to three
calls a level. The operator refuses such an object, but it must be able to read it."""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="vllm-operator")
def main() -> None:
    """Run vLLM on Kubernetes: one VLLMServer becomes replicas, Service, cache, autoscaler and alerts."""
    sys.setrecursionlimit(RECURSION_LIMIT)


@main.command()
@click.option(
    "--namespace",
    "-n",
    "namespaces",
    multiple=True,
    callback=validate_namespaces,
    envvar="VLLM_OPERATOR_NAMESPACE",
    help="Serve only this namespace, with the rights of a Role in it. Repeat it for several. [default: all namespaces]",
)
@click.option(
    "--listen", default=":8080", show_default=True, help="Address and port of /healthz, /readyz and /metrics."
)
@click.option(
    "--workers",
    type=click.IntRange(1, 1000),
    default=32,
    show_default=True,
    help="VLLMServers that are reconciled at once.",
)
@click.option(
    "--leader-elect/--no-leader-elect",
    default=None,
    help="Write only while holding a Lease, so that several operators can run and one leads. "
    "[default: yes in a pod, no outside]",
)
@click.option(
    "--lease-namespace", help="Namespace of the Lease. [default: that of the pod, else the first served namespace]"
)
@pod_template_option(default="free")
@secrets_option(default="all")
@restart_option
@runbooks_option
@server_metrics_option
@server_metrics_limit_option
@click.option(
    "--metrics-api/--no-metrics-api",
    default=None,
    help="Serve the load of the replicas to HorizontalPodAutoscalers as custom.metrics.k8s.io. [default: yes in a pod "
    "that serves all namespaces, else no]",
)
@click.option("--metrics-api-listen", default=":10250", show_default=True, help="Address and port of the metrics API.")
@click.option(
    "--metrics-service",
    default="vllm-operator",
    show_default=True,
    help="Service in front of the metrics API, as NAME or NAMESPACE/NAME. [default namespace: that of the pod]",
)
@click.option(
    "--gateway-agent-image",
    default="",
    help="Reconcile VLLMGateways, too: the image of this operator, which their pods run as agent. [default: leave "
    "gateways alone]",
)
@click.option(
    "--gateway-envoy-image",
    default="",
    help="Image of Envoy for VLLMGateways that name none. [default: the release that the gateway is tested with]",
)
@click.option(
    "--log-format",
    type=click.Choice(["auto", "text", "json"]),
    default="auto",
    show_default=True,
    help="Format of the log; auto is text on a terminal, else JSON.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="Lowest severity that is logged.",
)
@otlp_option
def run(
    namespaces: tuple[str, ...],
    listen: str,
    workers: int,
    leader_elect: bool | None,
    lease_namespace: str | None,
    pod_template: str,
    secrets: str,
    restart_stalled: bool,
    runbooks: str,
    server_metrics: bool,
    server_metrics_limit: int,
    metrics_api: bool | None,
    metrics_api_listen: str,
    metrics_service: str,
    gateway_agent_image: str,
    gateway_envoy_image: str,
    log_format: str,
    log_level: str,
    otlp_endpoint: str,
) -> None:
    """Run the operator until it is stopped.

    In a pod it uses the pod's service account, elsewhere the kubeconfig that KUBECONFIG names, or ~/.kube/config.
    """
    import uvloop

    from vllm_operator.errors import VLLMOperatorError
    from vllm_operator.log_setup import configure
    from vllm_operator.telemetry.start import start_tracing

    with _hide_other_clients():
        from vllm_operator.kopf_adapter.run import operate
    from vllm_operator.settings import DEFAULT_ENVOY_IMAGE, Settings, choose_lease_namespace, choose_metrics_service

    spans = start_tracing(otlp_endpoint)
    configure(log_format, log_level, spans.current if spans else None)
    service = choose_metrics_service(metrics_api, metrics_service, namespaces)
    settings = Settings(
        namespaces=tuple(dict.fromkeys(namespaces)),
        listen=listen,
        workers=workers,
        lease_namespace=choose_lease_namespace(leader_elect, lease_namespace, namespaces),
        runbooks=runbooks,
        restricted_pod_template=pod_template == "restricted",
        labelled_secrets=secrets == "labelled",
        restart_stalled=restart_stalled,
        server_metrics=server_metrics_limit if server_metrics else 0,
        metrics_api=None if service is None else metrics_api_listen,
        metrics_service=service or ("", metrics_service),
        agent_image=gateway_agent_image,
        envoy_image=gateway_envoy_image or DEFAULT_ENVOY_IMAGE,
    )
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(operate(settings, spans))
    except VLLMOperatorError as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        logging.getLogger(__name__).info("stopped")
    finally:
        if spans is not None:
            spans.stop()


@contextmanager
def _hide_other_clients() -> Iterator[None]:
    """Hide the Kubernetes clients that kopf imports if they are installed: 15 MB that the operator does not use."""
    hidden = [name for name in ("kubernetes", "kubernetes_asyncio", "pykube") if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None makes the import fail
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


@main.command()
@click.option(
    "--kind",
    type=click.Choice(["VLLMServer", "VLLMGateway"]),
    default="VLLMServer",
    show_default=True,
    help="Kind whose CustomResourceDefinition is printed.",
)
def crd(kind: str) -> None:
    """Print the CustomResourceDefinition of a kind as YAML."""
    from vllm_operator.api.crd import crd as definition
    from vllm_operator.api.gateway_crd import gateway_crd
    from vllm_operator.install.manifests import to_yaml

    click.echo(to_yaml([gateway_crd() if kind == "VLLMGateway" else definition()]), nl=False)


@main.command()
@click.option(
    "--filename",
    "-f",
    "source",
    type=click.File(encoding="utf-8", errors="replace"),
    required=True,
    help="File with VLLMServers as YAML or JSON, - for standard input. It may hold several documents; objects of other "
    "kinds next to them are left out.",
)
@click.option(
    "--output",
    "-o",
    type=click.Choice(["yaml", "json"]),
    default="yaml",
    show_default=True,
    help="yaml prints the objects. json prints accepted, problems, notes and objects: one result for one VLLMServer, a "
    "list of results for several.",
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
@click.pass_context
def render(
    context: click.Context, source: TextIO, output: str, namespace: str, monitoring_crds: bool, pod_template: str
) -> None:
    """Print the objects that the operator would create, or why a VLLMServer would be refused; needs no cluster.

    A VLLMServer is judged as the API server would (schema and CEL rules of the CRD, the admission policy of the install
    file) and as the operator would. The exit code is 1 when one is refused.
    """
    from vllm_operator.gateway.offline import rendered_gateway
    from vllm_operator.kube.kinds import MONITORING_KINDS, SCALED_OBJECT
    from vllm_operator.offline.report import as_json, as_yaml, explanations, judge_file

    kinds = (MONITORING_KINDS if monitoring_crds else frozenset()) | {SCALED_OBJECT}
    judgements = judge_file(source.read(), namespace, kinds, pod_template, rendered_gateway)
    click.echo(as_json(judgements) if output == "json" else as_yaml(judgements), nl=False)
    if output == "yaml":
        for line in explanations(judgements):
            click.echo(line, err=True)
    if not all(judgement.accepted for judgement in judgements):
        context.exit(1)


for command in (manifests, gateway_agent, gateway_drain, gateway_prepare):
    main.add_command(command)


if __name__ == "__main__":
    main()
