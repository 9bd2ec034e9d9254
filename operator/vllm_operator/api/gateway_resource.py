"""A VLLMGateway, parsed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from vllm_operator.api.gateway import GatewaySpec
from vllm_operator.api.names import API_VERSION, GATEWAY_KIND, UNREADABLE
from vllm_operator.api.server import parse_spec
from vllm_operator.errors import InvalidSpecError


@dataclass(frozen=True)
class VLLMGateway:
    """A VLLMGateway: identity, typed spec, and the status as the API server holds it.

    Attributes:
        created: Unix time of its creation.
    """

    namespace: str
    name: str
    uid: str
    generation: int
    created: int
    spec: GatewaySpec
    status: Mapping[str, Any]

    @property
    def key(self) -> str:
        """Return `namespace/name`, as log lines show it."""
        return f"{self.namespace}/{self.name}"

    @property
    def owner_reference(self) -> dict[str, Any]:
        """Return the owner reference of the children."""
        return {
            "apiVersion": API_VERSION,
            "kind": GATEWAY_KIND,
            "name": self.name,
            "uid": self.uid,
            "controller": True,
        }


def parse_gateway(body: Mapping[str, Any]) -> VLLMGateway:
    """Parse a VLLMGateway as the API server sends it.

    Raises:
        InvalidSpecError: names the first field that is wrong. The CRD's schema refuses most of these earlier.
    """
    metadata = body["metadata"]
    if reason := body.get(UNREADABLE):
        raise InvalidSpecError("spec", f"the VLLMGateway cannot be read: {reason}", "Unreadable")
    return VLLMGateway(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        generation=metadata.get("generation", 0),
        created=_unix_time(metadata.get("creationTimestamp", "")),
        spec=parse_spec(GatewaySpec, body.get("spec")),
        status=body.get("status") or {},
    )


def _unix_time(timestamp: str) -> int:
    try:
        moment = datetime.fromisoformat(timestamp)
    except ValueError:
        return 0
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
