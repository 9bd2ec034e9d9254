"""Find VLLMServers by name, and read the fields that commands show."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from vllm_operator.api.names import GROUP, KIND, PLURAL, SHORT_NAME, SINGULAR
from vllm_operator.cli.exits import NOT_FOUND, USAGE, CliError
from vllm_operator.cli.group import nearest
from vllm_operator.cli.options import ClusterOptions, Function
from vllm_operator.cli.sanitize import clean

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from vllm_operator.cli.cluster import Cluster, Object

TYPES = frozenset({KIND, PLURAL, SINGULAR, SHORT_NAME, f"{PLURAL}.{GROUP}", f"{SINGULAR}.{GROUP}"})
"""Words before the slash of `vllmserver/NAME`, as kubectl takes them."""

COMPLETION_SECONDS = 3.0
"""Seconds that the completion of a name may take."""

LONGEST_NAME = 253
"""Longest name of an object (RFC 1123 subdomain)."""


def complete_name(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names of servers that start so; none if the cluster does not answer."""
    from click.shell_completion import CompletionItem

    from vllm_operator.cli.cluster import Cluster
    from vllm_operator.kube.kinds import SERVER

    given = context.params
    options = ClusterOptions(
        given.get("namespace"), False, given.get("context"), given.get("kubeconfig"), COMPLETION_SECONDS
    )
    try:
        cluster = Cluster(options)
        names = [name_of(server) for server in cluster.list(SERVER, cluster.namespace, most=500)]
    except CliError:
        return []
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def name_argument(*, required: bool = True) -> Callable[[Function], Function]:
    """Return the argument NAME of a command, with completion."""
    return click.argument("name", required=required, shell_complete=complete_name)


def find_server(cluster: Cluster, name: str) -> Object:
    """Return a VLLMServer by its name, or by `vllmserver/NAME`.

    Raises:
        CliError: there is none of this name; the message names the nearest, and where else one of this name is.
    """
    from vllm_operator.cli.api_failures import CallError
    from vllm_operator.kube.kinds import SERVER

    plain = plain_name(name)
    try:
        return cluster.get(SERVER, plain)
    except CallError as error:
        if not error.is_missing_object:
            raise
    raise CliError(_unknown(cluster, plain), NOT_FOUND)


def plain_name(name: str) -> str:
    """Return NAME of `vllmserver/NAME` or `NAME`.

    Raises:
        CliError: another kind, or no name that an object can have.
    """
    kind, slash, rest = name.rpartition("/")
    if slash and kind.lower() not in {known.lower() for known in TYPES}:
        raise CliError(f"{clean(kind)!r} is no VLLMServer: write the name of a VLLMServer, or vllmserver/NAME", USAGE)
    if not rest or len(rest) > LONGEST_NAME or not all(part.isalnum() or part in "-." for part in rest):
        raise CliError(f"{clean(rest, 80)!r} is no name of a VLLMServer: use letters, digits, '-' and '.'", USAGE)
    return rest


def _unknown(cluster: Cluster, name: str) -> str:
    from vllm_operator.kube.kinds import SERVER

    text = f"there is no VLLMServer {name!r} in namespace {cluster.namespace}"
    try:
        known = [name_of(server) for server in cluster.list(SERVER, cluster.namespace, most=1000)]
    except CliError:
        # No right to list: the message goes without a hint.
        return text
    if hint := nearest(name, known):
        return text + hint
    elsewhere = sorted({namespace_of(server) for server in _everywhere(cluster, name)})
    if elsewhere:
        return f"{text}: there is one in {', '.join(elsewhere[:5])}: add -n {elsewhere[0]}"
    if not known:
        return f"{text}: it has no VLLMServers; kubectl vllm get -A lists those of all namespaces"
    return f"{text}: it has {', '.join(sorted(known)[:10])}"


def _everywhere(cluster: Cluster, name: str) -> Iterator[Object]:
    """Return the servers of one name in all namespaces; the API server leaves out the others, however large."""
    from vllm_operator.kube.kinds import SERVER

    try:
        yield from cluster.list(SERVER, None, fields=f"metadata.name={name}", most=100)
    except CliError:
        # No right to list all namespaces: the message goes without this hint.
        return


def name_of(body: Mapping[str, Any]) -> str:
    """Return the name of an object."""
    return clean(field(body, "metadata", "name"), LONGEST_NAME)


def namespace_of(body: Mapping[str, Any]) -> str:
    """Return the namespace of an object."""
    return clean(field(body, "metadata", "namespace"), LONGEST_NAME)


def field(body: Any, *path: str) -> Any:
    """Return the value at a path of maps; None where a part is missing or no map."""
    for part in path:
        body = body.get(part) if isinstance(body, Mapping) else None
    return body


def items(body: Any, *path: str) -> list[Mapping[str, Any]]:
    """Return the maps of the list at a path; none where it is missing or no list."""
    found = field(body, *path)
    return [item for item in found if isinstance(item, Mapping)] if isinstance(found, list) else []


def mapping(body: Any, *path: str) -> Mapping[str, Any]:
    """Return the map at a path; an empty one where it is missing or no map."""
    found = field(body, *path)
    return found if isinstance(found, Mapping) else {}


def texts(body: Any, *path: str) -> list[str]:
    """Return the values of the list at a path, as texts without control characters; none where it is no list."""
    found = field(body, *path)
    return [clean(item) for item in found] if isinstance(found, list) else []


def condition(server: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """Return a condition of a status; empty if it is absent."""
    return next((entry for entry in items(server, "status", "conditions") if entry.get("type") == kind), {})


def is_judged(server: Mapping[str, Any]) -> bool:
    """Return whether the status is of the present generation of the spec."""
    return bool(field(server, "status", "observedGeneration") == field(server, "metadata", "generation"))
