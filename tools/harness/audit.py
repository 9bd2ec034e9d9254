"""Read the API server's audit log: client, request and answer of each call."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})
OPERATOR = "vllm-operator/"
"""How the User-Agent of every call of the operator begins."""


@dataclass(frozen=True)
class Request:
    """One answered request."""

    verb: str
    group: str
    resource: str
    subresource: str
    namespace: str
    name: str
    code: int
    user: str
    agent: str
    uri: str
    is_denied: bool

    @property
    def is_write(self) -> bool:
        return self.verb in WRITES

    @property
    def target(self) -> str:
        """`deployments/mistral` or `vllmservers/mistral/status`."""
        return "/".join(part for part in (self.resource, self.name, self.subresource) if part)


@dataclass(frozen=True)
class AuditLog:
    """The log file of one API server."""

    path: Path

    def mark(self) -> int:
        """Return a position to count from: the end of the last whole line. The API server may be writing another."""
        if not self.path.exists() or not self.path.stat().st_size:
            return 0
        with self.path.open("rb") as log, mmap(log.fileno(), 0, access=ACCESS_READ) as text:
            return text.rfind(b"\n") + 1

    def since(self, mark: int, agent: str = OPERATOR) -> list[Request]:
        """Return the requests whose User-Agent begins with `agent`, answered after the mark."""
        return [request for request in self._requests(mark) if request.agent.startswith(agent)]

    def writes(self, mark: int, agent: str = OPERATOR, namespace: str | None = None) -> list[Request]:
        """Return the writes among them, of one namespace or of all."""
        found = [request for request in self.since(mark, agent) if request.is_write]
        return [request for request in found if namespace is None or request.namespace == namespace]

    def _requests(self, mark: int) -> Iterator[Request]:
        with self.path.open("rb") as log:
            log.seek(mark)
            for line in log:
                if line.endswith(b"\n"):
                    yield _request(json.loads(line))


def by_target(requests: Iterable[Request]) -> dict[str, int]:
    """Count requests by target, such as `deployments` or `vllmservers/status`, the most frequent first."""
    targets = (f"{one.resource}/{one.subresource}".rstrip("/") for one in requests)
    return dict(Counter(targets).most_common())


def _request(event: dict[str, Any]) -> Request:
    target = event.get("objectRef") or {}
    return Request(
        verb=event["verb"],
        group=target.get("apiGroup", ""),
        resource=target.get("resource", ""),
        subresource=target.get("subresource", ""),
        namespace=target.get("namespace", ""),
        name=target.get("name", ""),
        code=(event.get("responseStatus") or {}).get("code", 0),
        user=event["user"].get("username", ""),
        agent=event.get("userAgent", ""),
        uri=event["requestURI"],
        # A 403 may also be a refusal, such as of what is created in a namespace that is on its way out.
        is_denied=(event.get("annotations") or {}).get("authorization.k8s.io/decision") == "forbid",
    )
