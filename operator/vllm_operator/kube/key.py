"""Identify one VLLMServer."""

from __future__ import annotations

from typing import NamedTuple


class Key(NamedTuple):
    """The namespace and the instance label of one server. Its pods and children carry the label too."""

    namespace: str
    instance: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.instance}"

    def log_attributes(self) -> dict[str, str]:
        """Return the attributes of a log line or span about this server, by names like OpenTelemetry's."""
        return {"k8s.namespace.name": self.namespace, "k8s.vllmserver.name": self.instance}
