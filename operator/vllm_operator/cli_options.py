"""Options that several commands share, and the checks of their values."""

from __future__ import annotations

import re
from functools import partial
from typing import TypeVar

import click

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


pod_template_option = partial(
    click.option,
    "--pod-template",
    type=click.Choice(["restricted", "free"]),
    show_default=True,
    help="What the open fields of a spec may hold: restricted refuses service accounts, host namespaces, host paths, "
    "privileges and commands, but in namespaces with the label vllm-operator.dev/pod-template=free.",
)
secrets_option = partial(
    click.option,
    "--secrets",
    type=click.Choice(["labelled", "all"]),
    show_default=True,
    help="Secrets that a server may refer to: labelled allows those with the label "
    "vllm-operator.dev/allow-reference=true, and all in namespaces with the label vllm-operator.dev/secrets=all.",
)
restart_option = click.option(
    "--restart-stalled/--no-restart-stalled",
    default=True,
    show_default=True,
    help="Let servers ask for the deletion of pods whose engine is stalled (health.restartStalled).",
)
server_metrics_option = click.option(
    "--server-metrics/--no-server-metrics",
    default=False,
    show_default=True,
    help="Export the status of each server as metrics of the operator: phase, conditions, replicas.",
)
server_metrics_limit_option = click.option(
    "--server-metrics-limit",
    type=click.IntRange(1, 10_000),
    default=500,
    show_default=True,
    help="Servers that may have metrics; each has about 30 series, and further servers are counted only.",
)
otlp_option = click.option(
    "--otlp-endpoint",
    default="",
    metavar="URL",
    help="Send spans of reconciles and of calls to the API server to this OpenTelemetry collector, by OTLP over HTTP, "
    "such as http://collector.observability:4318. The variables OTEL_EXPORTER_OTLP_* apply, too. [default: no spans]",
)
