"""Command line of the operator: `python -m vllm_operator run`."""

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
"""The API server accepts JSON of 10,000 levels, and reading it takes up to three calls a level. Such a manifest is
refused, but reading it must not fail."""


Names = TypeVar("Names", str, tuple[str, ...])


def checked_names(_context: click.Context, _option: click.Parameter, value: Names) -> Names:
    """The namespaces as they are; a pattern, or what else nobody can create, is an error of usage."""
    for name in [value] if isinstance(value, str) else value:
        if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", name):
            raise click.BadParameter(f"{name!r} is no name of a namespace")
    return value


def checked_runbooks(_context: click.Context, _option: click.Parameter, value: str) -> str:
    """The URL as it is; one that cannot lead to the page of an alert is an error of usage."""
    if value and (not re.fullmatch(r"https?://[^\s{}]+", value) or value.count("%s") != 1):
        raise click.BadParameter(f"{value!r} must be a URL of http or https that holds %s once, for the alert's name")
    return value


runbooks_option = click.option(
    "--runbook-url",
    "runbooks",
    callback=checked_runbooks,
    default="",
    envvar="VLLM_OPERATOR_RUNBOOK_URL",
    help="Where you publish docs/runbooks: a URL with %s for the alert's name, which alerts then link to. "
    "[default: alerts carry no link]",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="vllm-operator")
def main() -> None:
    """Run vLLM on Kubernetes: one VLLMServer manifest becomes a serving, watched, autoscaled deployment."""
    sys.setrecursionlimit(RECURSION_LIMIT)


@main.command()
@click.option(
    "--namespace",
    "-n",
    "namespaces",
    multiple=True,
    callback=checked_names,
    envvar="VLLM_OPERATOR_NAMESPACE",
    help="Serve this namespace only, with the rights of a Role in it; may be repeated. [default: all]",
)
@click.option("--listen", default=":8080", show_default=True, help="Address of /healthz, /readyz and /metrics.")
@click.option(
    "--workers", type=click.IntRange(1, 1000), default=32, show_default=True, help="Servers worked on at once."
)
@click.option(
    "--leader-elect/--no-leader-elect",
    default=None,
    help="Lead only while holding a Lease, so that several operators may run. [default: in a pod yes, outside no]",
)
@click.option(
    "--lease-namespace", help="Namespace of the Lease. [default: the pod's own, else the first that is served]"
)
@runbooks_option
@click.option(
    "--log-format",
    type=click.Choice(["auto", "text", "json"]),
    default="auto",
    show_default=True,
    help="auto: text on a terminal, else JSON.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="Least severe message that is logged.",
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

    Inside a cluster it uses the service account of its pod, outside the kubeconfig of KUBECONFIG or ~/.kube/config.
    """
    import uvloop

    from vllm_operator.errors import VLLMOperatorError
    from vllm_operator.log_setup import configure

    with _without_other_clients():
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
def _without_other_clients() -> Iterator[None]:
    """Hide the Kubernetes clients that kopf imports where they are installed: 15 MB that nothing uses."""
    hidden = [name for name in ("kubernetes", "kubernetes_asyncio", "pykube") if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None makes the import fail
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


@main.command()
def crd() -> None:
    """Print the CustomResourceDefinition, generated from the models."""
    from vllm_operator.api.crd import crd as definition
    from vllm_operator.install.manifests import to_yaml

    click.echo(to_yaml([definition()]), nl=False)


@main.command()
@click.option("--image", default=f"vllm-operator:{__version__}", show_default=True, help="Image of the operator.")
@click.option(
    "--namespace",
    "-n",
    callback=checked_names,
    default="vllm-operator-system",
    show_default=True,
    help="Namespace of the operator.",
)
@click.option("--namespaced", is_flag=True, help="Serve the operator's own namespace only: short for --serve with it.")
@click.option(
    "--serve",
    multiple=True,
    callback=checked_names,
    help="Serve this namespace only, with a Role in it instead of a ClusterRole; may be repeated. [default: all]",
)
@click.option(
    "--without-cluster-objects",
    is_flag=True,
    help="Leave out Namespace and CRD, which need an administrator; only with --serve or --namespaced.",
)
@click.option("--pod-monitor", is_flag=True, help="With a PodMonitor for the operator; needs its CRD.")
@click.option("--rules", is_flag=True, help="With a PrometheusRule, alerts about the operator; needs its CRD.")
@runbooks_option
@click.option(
    "--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="File to write. [default: stdout]"
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
    """Print everything that `kubectl apply` needs: namespace, CRD, RBAC and the operator's Deployment."""
    from vllm_operator.install.manifests import CLUSTER_OBJECTS, MonitoringOptions, operator_manifests, to_yaml

    served = tuple(dict.fromkeys([namespace, *serve] if namespaced else serve))
    if without_cluster_objects and not served:
        raise click.UsageError("--without-cluster-objects needs --serve or --namespaced: a ClusterRole is one, too")
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
