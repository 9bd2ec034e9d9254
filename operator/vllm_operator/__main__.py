"""The command line of the operator: `python -m vllm_operator run`."""

from __future__ import annotations

import asyncio
import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import click

from vllm_operator import __version__

RECURSION_LIMIT = 60_000
"""Depth of calls that Python allows. The API server accepts JSON of 10,000 levels, and reading it takes up to three
calls a level. The operator refuses such an object, but it must be able to read it."""


Names = TypeVar("Names", str, tuple[str, ...])


def validate_namespaces(_context: click.Context, _option: click.Parameter, value: Names) -> Names:
    """Return the namespaces unchanged.

    Raises:
        click.BadParameter: a name that no namespace can have, such as a pattern.
    """
    for name in [value] if isinstance(value, str) else value:
        if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", name):
            raise click.BadParameter(
                f"{name!r} is not a valid name of a namespace: use a-z, 0-9 and -, at most 63 characters"
            )
    return value


def validate_runbook_url(_context: click.Context, _option: click.Parameter, value: str) -> str:
    """Return the URL unchanged.

    Raises:
        click.BadParameter: the URL cannot lead to the page of an alert.
    """
    if value and (not re.fullmatch(r"https?://[^\s{}]+", value) or value.count("%s") != 1):
        raise click.BadParameter(
            f"{value!r} must be an http or https URL that contains %s once, for the name of the alert"
        )
    return value


runbooks_option = click.option(
    "--runbook-url",
    "runbooks",
    callback=validate_runbook_url,
    default="",
    envvar="VLLM_OPERATOR_RUNBOOK_URL",
    help="URL of your copy of docs/runbooks, with %s for the name of the alert: alerts link to it. "
    "[default: alerts have no link]",
)


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
@runbooks_option
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
def run(
    namespaces: tuple[str, ...],
    listen: str,
    workers: int,
    leader_elect: bool | None,
    lease_namespace: str | None,
    runbooks: str,
    log_format: str,
    log_level: str,
) -> None:
    """Run the operator until it is stopped.

    In a pod it uses the pod's service account, elsewhere the kubeconfig that KUBECONFIG names, or ~/.kube/config.
    """
    import uvloop

    from vllm_operator.errors import VLLMOperatorError
    from vllm_operator.log_setup import configure

    with _hide_other_clients():
        from vllm_operator.kopf_adapter.run import operate
    from vllm_operator.settings import Settings, choose_lease_namespace

    configure(log_format, log_level)
    settings = Settings(
        namespaces=tuple(dict.fromkeys(namespaces)),
        listen=listen,
        workers=workers,
        lease_namespace=choose_lease_namespace(leader_elect, lease_namespace, namespaces),
        runbooks=runbooks,
    )
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(operate(settings))
    except VLLMOperatorError as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        logging.getLogger(__name__).info("stopped")


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
def crd() -> None:
    """Print the CustomResourceDefinition of VLLMServer as YAML."""
    from vllm_operator.api.crd import crd as definition
    from vllm_operator.install.manifests import to_yaml

    click.echo(to_yaml([definition()]), nl=False)


@main.command()
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
    runbooks: str,
    output: Path | None,
) -> None:
    """Print the manifests that install the operator: Namespace, CRD, RBAC, Service and Deployment.

    Apply them with `kubectl apply --server-side -f FILE`.
    """
    from vllm_operator.install.manifests import CLUSTER_OBJECTS, MonitoringOptions, operator_manifests, to_yaml

    served = tuple(dict.fromkeys([namespace, *serve] if namespaced else serve))
    if without_cluster_objects and not served:
        raise click.UsageError(
            "--without-cluster-objects needs --serve or --namespaced: to serve all namespaces takes a ClusterRole"
        )
    objects = operator_manifests(image, namespace, served, MonitoringOptions(pod_monitor, rules, runbooks))
    if without_cluster_objects:
        objects = [body for body in objects if body["kind"] not in CLUSTER_OBJECTS]
    text = to_yaml(objects)
    if output is None:
        click.echo(text, nl=False)
    else:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text)


if __name__ == "__main__":
    main()
