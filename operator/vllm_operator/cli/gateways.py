"""VLLMGateways in the plugin: find one by name, say what is wrong with it, and show its tree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from vllm_operator.api.names import GATEWAY_KIND, GATEWAY_PLURAL, GATEWAY_SHORT_NAME, GATEWAY_SINGULAR, GROUP
from vllm_operator.cli.exits import NOT_FOUND, CliError
from vllm_operator.cli.findings import Finding
from vllm_operator.cli.sanitize import clean
from vllm_operator.cli.servers import condition, field, is_judged, items, name_of, namespace_of, plain_name, texts

if TYPE_CHECKING:
    from rich.text import Text
    from rich.tree import Tree

    from vllm_operator.cli.cluster import Cluster, Object

TYPES = frozenset(
    {GATEWAY_KIND.lower(), GATEWAY_PLURAL, GATEWAY_SINGULAR, GATEWAY_SHORT_NAME, f"{GATEWAY_PLURAL}.{GROUP}"}
)
"""Words before the slash of `vllmgateway/NAME`, as kubectl takes them."""
MOST_ROWS = 50
"""Models and references that a tree shows."""


def is_gateway_name(name: str) -> bool:
    """Return whether an argument names a VLLMGateway: `vllmgateway/NAME`."""
    kind, slash, _ = name.rpartition("/")
    return bool(slash) and kind.lower() in TYPES


def find_gateway(cluster: Cluster, name: str) -> Object:
    """Return a VLLMGateway by `vllmgateway/NAME`.

    Raises:
        CliError: there is none of this name, or the cluster does not have the kind.
    """
    from vllm_operator.cli.api_failures import CallError
    from vllm_operator.kube.kinds import GATEWAY

    plain = plain_name(name.rpartition("/")[2])
    try:
        return cluster.get(GATEWAY, plain)
    except CallError as error:
        if not error.is_missing_object:
            raise
    raise CliError(f"there is no VLLMGateway {plain!r} in namespace {cluster.namespace}", NOT_FOUND)


def all_findings(cluster: Cluster) -> list[tuple[str, list[Finding]]]:
    """Return the findings of all VLLMGateways of the scope of a command; none where the cluster lacks the kind."""
    from vllm_operator.cli.api_failures import CallError
    from vllm_operator.kube.kinds import GATEWAY

    try:
        found = cluster.list(GATEWAY, cluster.scope)
    except CallError as error:
        if error.is_forbidden:
            return [("gateways", [Finding("unknown", "rights", error.message)])]
        if error.is_missing_kind or error.is_missing_object:
            return []
        raise
    return [(gateway_title(gateway), gateway_findings(gateway)) for gateway in found]


def gateway_title(gateway: Mapping[str, Any]) -> str:
    """Return the name of a gateway in a list with servers."""
    return f"{namespace_of(gateway)}/{name_of(gateway)} (gateway)"


def gateway_findings(gateway: Mapping[str, Any]) -> list[Finding]:
    """Return what is wrong with a gateway; nothing when it serves and every reference is good."""
    found = list(_findings(gateway))
    if not found and condition(gateway, "Ready").get("status") != "True":
        message = clean(field(gateway, "status", "message")) or "the status has no message"
        found.append(Finding("problem", "status", message))
    return list(dict.fromkeys(found))


def _findings(gateway: Mapping[str, Any]) -> Iterator[Finding]:
    if not is_judged(gateway):
        yield Finding(
            "problem",
            "status",
            "the operator has not judged this spec: does it run with --gateway-agent-image, and serve this namespace?",
        )
        return
    for name in ("Accepted", "Available", "ConfigurationApplied"):
        row = condition(gateway, name)
        if row.get("status") == "False":
            yield Finding("problem", f"{name} ({clean(row.get('reason'), 128)})", clean(row.get("message")))
    exposed = condition(gateway, "Exposed")
    if exposed.get("status") in {"False", "Unknown"}:
        level: Any = "warning" if exposed.get("status") == "False" else "unknown"
        yield Finding(level, f"Exposed ({clean(exposed.get('reason'), 128)})", clean(exposed.get("message")))
    for text in texts(gateway, "status", "refusedReferences"):
        yield Finding("problem", "reference", text)
    for model in items(gateway, "status", "models"):
        if not model.get("readyEndpoints"):
            yield Finding("warning", f"model {clean(model.get('name'), 253)}", "no replica is ready: requests wait")


def gateway_tree(gateway: Mapping[str, Any]) -> Tree:
    """Return the tree of a gateway: address, conditions, models with their servers, held requests, references."""
    from rich.text import Text
    from rich.tree import Tree

    phase = clean(field(gateway, "status", "phase"), 64) or "not judged yet"
    message = clean(field(gateway, "status", "message"))
    tree = Tree(Text.assemble((gateway_title(gateway), "bold"), f"  {phase}", f"  {message}" if message else ""))
    for line in _facts(gateway):
        tree.add(line)
    conditions = tree.add("conditions")
    for row in items(gateway, "status", "conditions"):
        text = f"{clean(row.get('type'), 64)}={clean(row.get('status'), 16)} {clean(row.get('reason'), 128)}"
        conditions.add(Text(f"{text}: {clean(row.get('message'))}".rstrip(": ")))
    models = tree.add("models")
    for row in items(gateway, "status", "models")[:MOST_ROWS]:
        servers = ", ".join(texts(row, "servers"))
        models.add(Text(f"{clean(row.get('name'), 253)}: {row.get('readyEndpoints')} ready replicas of {servers}"))
    for text in texts(gateway, "status", "refusedReferences")[:MOST_ROWS]:
        tree.add(Text(f"refused: {text}", style="red"))
    return tree


def _facts(gateway: Mapping[str, Any]) -> Iterator[Text]:
    from rich.text import Text

    if address := field(gateway, "status", "address"):
        yield Text(f"address: {clean(address)}/v1")
    yield Text(f"pods: {clean(field(gateway, 'status', 'ready'), 32) or 'unknown'} ready")
    keys = field(gateway, "status", "keys")
    if isinstance(keys, int):
        yield Text(f"API keys: {keys}")
    held = field(gateway, "status", "heldRequests")
    waiting = [f"{row.get('requests')} for {clean(row.get('server'), 317)}" for row in items(gateway, "status", "held")]
    known = f"{held}" if isinstance(held, int) else "unknown"
    yield Text(f"requests that wait: {known}{' (' + ', '.join(waiting[:MOST_ROWS]) + ')' if waiting else ''}")
