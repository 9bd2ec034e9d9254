"""Options that the commands share, spelled as kubectl spells them."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from vllm_operator.cli_options import validate_namespaces

Function = TypeVar("Function", bound=Callable[..., Any])

REQUEST_TIMEOUT_SECONDS = 30.0
"""Seconds that one request to the API server may take, unless --request-timeout says otherwise."""

_DURATION = re.compile(r"(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9}(?:\.\d{1,9})?)s)?(?:(\d{1,9})ms)?")


@dataclass(frozen=True)
class ClusterOptions:
    """Which cluster and namespace a command uses.

    Attributes:
        namespace: namespace of --namespace; None for that of the kubeconfig's context.
        all_namespaces: the command covers all namespaces.
        context: context of the kubeconfig; None for the current one.
        kubeconfig: path of the kubeconfig; None for KUBECONFIG or ~/.kube/config.
        request_timeout: seconds that one request may take; None for no bound.
    """

    namespace: str | None = None
    all_namespaces: bool = False
    context: str | None = None
    kubeconfig: str | None = None
    request_timeout: float | None = REQUEST_TIMEOUT_SECONDS


class Duration(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.2 only
    """A duration as kubectl writes it: `90s`, `5m`, `1h30m`, or a number of seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the seconds."""
        if isinstance(value, int | float):
            return float(value)
        if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", value):
            return float(value)
        found = _DURATION.fullmatch(value)
        if not value or not found:
            self.fail(f"{value[:80]!r} is not a duration: write 90s, 5m or 1h30m", param, ctx)
        hours, minutes, seconds, milliseconds = (float(part or 0) for part in found.groups())
        return hours * 3600 + minutes * 60 + seconds + milliseconds / 1000


def cluster_options(
    *, all_namespaces: bool = False, namespace: str = "that of the kubeconfig's context"
) -> Callable[[Function], Function]:
    """Add the options that choose a cluster; the command receives them as `cluster: ClusterOptions`.

    Args:
        all_namespaces: whether the command can cover all namespaces (-A).
        namespace: the namespace without --namespace, in words.
    """
    options = [
        click.option(
            "--namespace",
            "-n",
            callback=_checked_namespace,
            metavar="NAMESPACE",
            help=f"Namespace. [default: {namespace}]",
        ),
        click.option("--context", metavar="NAME", help="Context of the kubeconfig. [default: the current one]"),
        click.option(
            "--kubeconfig", metavar="PATH", help="Path of the kubeconfig. [default: KUBECONFIG, else ~/.kube/config]"
        ),
        click.option(
            "--request-timeout",
            type=Duration(),
            metavar="DURATION",
            default=f"{REQUEST_TIMEOUT_SECONDS:.0f}s",
            show_default=True,
            help="Time that one request to the API server may take, such as 5s or 1m; 0 for no bound.",
        ),
    ]
    if all_namespaces:
        options.insert(1, click.option("--all-namespaces", "-A", is_flag=True, help="Cover all namespaces."))

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def wrapper(*arguments: Any, **values: Any) -> Any:
            cluster = ClusterOptions(
                values.pop("namespace"),
                values.pop("all_namespaces", False),
                values.pop("context"),
                values.pop("kubeconfig"),
                values.pop("request_timeout") or None,
            )
            return function(*arguments, cluster=cluster, **values)

        for option in reversed(options):
            wrapper = option(wrapper)
        return wrapper  # type: ignore[return-value]  # click's decorators keep the function

    return decorate


def _checked_namespace(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    return None if value is None else validate_namespaces(context, option, value)


def output_option(*formats: str, default: str | None = None) -> Callable[[Function], Function]:
    """Add -o with these formats; the command receives it as `output`, None for text for people."""
    return click.option(
        "--output",
        "-o",
        type=click.Choice(formats),
        default=default,
        show_default=default is not None,
        help="Format of the output. [default: text for people]" if default is None else "Format of the output.",
    )
