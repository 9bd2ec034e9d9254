"""Turn a failed call to the API server into a message with its cause and remedy."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vllm_operator.api.names import GROUP, PLURAL
from vllm_operator.cli.exits import FAILED, NOT_FOUND, UNAVAILABLE, CliError
from vllm_operator.cli.sanitize import clean

VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
NO_RESOURCE = "could not find the requested resource"
"""Part of the message about a kind that a served group does not have."""

LONGEST_MESSAGE = 600
"""Characters of a message of the API server that are shown."""


class CallError(CliError):
    """A call to the API server failed.

    Attributes:
        status: HTTP status code; None when there was no answer.
        reason: the `reason` of the API server's Status object, such as `NotFound`.
        detail: the message of the Status object.
    """

    def __init__(self, message: str, code: int, status: int | None = None, reason: str = "", detail: str = "") -> None:
        super().__init__(message, code)
        self.status = status
        self.reason = reason
        self.detail = detail

    @property
    def is_missing_object(self) -> bool:
        """True when the kind is served, and there is no object of this name."""
        return self.status == 404 and self.reason == "NotFound" and NO_RESOURCE not in self.detail

    @property
    def is_missing_kind(self) -> bool:
        """True when the API server does not serve the kind."""
        return self.status == 404 and not self.is_missing_object

    @property
    def is_passing(self) -> bool:
        """True when the API server may answer later: it did not answer, or it is busy or broken."""
        return self.status is None or self.status == 429 or self.status >= 500

    @property
    def is_forbidden(self) -> bool:
        """True when a right is missing."""
        return self.status == 403 and self.reason in {"", "Forbidden"}


@dataclass(frozen=True)
class Request:
    """The verb and the resource of a call, as RBAC names them."""

    verb: str
    resource: str
    namespace: str
    name: str

    @property
    def where(self) -> str:
        """Return ` in namespace x`, or the whole cluster."""
        return f" in namespace {self.namespace}" if self.namespace else " in the whole cluster"


def described(method: str, path: str) -> Request:
    """Return verb and resource of a call, such as `list vllmservers.vllm-operator.dev`."""
    group, namespace, rest = _split(path)
    resource, name, subresource = (*rest, "", "", "")[:3]
    verb = "list" if method == "GET" and rest and not name else VERBS.get(method, method.lower())
    full = f"{resource or path}{f'.{group}' if group else ''}{f'/{subresource}' if subresource else ''}"
    return Request(verb, full, namespace, name.partition(":")[0])


def _split(path: str) -> tuple[str, str, list[str]]:
    """Return group, namespace, and the parts behind them, of a path of the API server."""
    first, *parts = [*(part for part in path.split("/") if part), ""]
    parts = [part for part in parts if part]
    group, rest = (parts[0], parts[2:]) if first == "apis" and len(parts) > 1 else ("", parts[1:])
    if rest[:1] == ["namespaces"] and len(rest) > 2:
        return group, rest[1], rest[2:]
    return group, "", rest


def refused(method: str, path: str, status: int, body: Any) -> CallError:
    """Return the error for an answer that is no success.

    Args:
        method: HTTP method of the call.
        path: path of the call.
        status: HTTP status code.
        body: the parsed Status object; anything else when the answer is none.
    """
    call = described(method, path)
    fields: Mapping[str, Any] = body if isinstance(body, Mapping) and body.get("kind") == "Status" else {}
    reason, detail = clean(fields.get("reason"), 100), clean(fields.get("message"), LONGEST_MESSAGE)
    message, code = _explained(call, status, reason, detail)
    return CallError(message, code, status, reason, detail)


def _explained(call: Request, status: int, reason: str, detail: str) -> tuple[str, int]:
    """Return message and exit code."""
    if status == 401:
        return "the API server refuses the credentials of the kubeconfig: log in again, or use --context", UNAVAILABLE
    if status == 403 and reason in {"", "Forbidden"}:
        scope = f"-n {call.namespace}" if call.namespace else "--all-namespaces"
        return (
            f"no right to {call.verb} {call.resource}{call.where}: ask an administrator for it, "
            f"and check with: kubectl auth can-i {call.verb} {call.resource} {scope}",
            UNAVAILABLE,
        )
    if status == 404:
        return _missing(call, reason, detail)
    if status == 429 or status >= 500:
        return f"the API server answered {status} to {call.verb} {call.resource}: {detail or reason}", UNAVAILABLE
    return f"the API server refused to {call.verb} {call.resource}: {detail or f'{status} {reason}'}", FAILED


def _missing(call: Request, reason: str, detail: str) -> tuple[str, int]:
    if reason == "NotFound" and NO_RESOURCE not in detail:
        return f"there is no {call.resource} {call.name!r}{call.where}", NOT_FOUND
    return _missing_kind(call), UNAVAILABLE


def _missing_kind(call: Request) -> str:
    if call.resource.startswith(f"{PLURAL}."):
        return (
            f"the cluster has no CRD {PLURAL}.{GROUP}: install the operator "
            "(vllm-operator manifests | kubectl apply --server-side -f -), or choose another --context"
        )
    return f"the cluster does not serve {call.resource}"


def unreachable(server: str, error: BaseException) -> CallError:
    """Return the error for a call without an answer.

    Args:
        server: URL of the API server.
        error: the exception of urllib3.
    """
    from urllib3 import exceptions

    cause = getattr(error, "reason", None) or error
    text = clean(re.sub(r"^HTTPS?Connection(Pool)?\([^)]*\): ", "", str(cause)) or type(cause).__name__, 300)
    if isinstance(cause, exceptions.SSLError | exceptions.ProxyError):
        what = "certificate or TLS of the API server" if isinstance(cause, exceptions.SSLError) else "proxy"
        return CallError(f"no cluster: {what} at {clean(server)} cannot be used: {text}", UNAVAILABLE)
    # A refused connection is a subclass of a timeout in urllib3.
    if isinstance(cause, exceptions.TimeoutError) and not isinstance(cause, exceptions.NewConnectionError):
        return CallError(
            f"no answer from the API server at {clean(server)}: {text}: is it reachable from here? --request-timeout "
            "sets a longer time",
            UNAVAILABLE,
        )
    return CallError(
        f"no cluster: the API server at {clean(server)} is not reachable: {text}: check the cluster, the network and "
        "--context",
        UNAVAILABLE,
    )
