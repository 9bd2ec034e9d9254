"""The custom resource, parsed once at the edge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from vllm_operator.api.names import API_VERSION, KIND
from vllm_operator.api.spec import Spec
from vllm_operator.errors import InvalidSpecError


@dataclass(frozen=True)
class VLLMServer:
    """A VLLMServer: identity, typed spec, and the status as it stands."""

    namespace: str
    name: str
    uid: str
    generation: int
    spec: Spec
    status: Mapping[str, Any]

    @property
    def key(self) -> str:
        """`namespace/name`, as logs and the queue name it."""
        return f"{self.namespace}/{self.name}"

    @property
    def owner_reference(self) -> dict[str, Any]:
        """The owner reference of its children."""
        return {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "name": self.name,
            "uid": self.uid,
            "controller": True,
            "blockOwnerDeletion": True,
        }


def parse(body: Mapping[str, Any]) -> VLLMServer:
    """Parse a VLLMServer as the API server sends it.

    Raises:
        InvalidSpecError: names the first field that is wrong. The API server refuses most of these already.
    """
    metadata = body["metadata"]
    try:
        spec = Spec.model_validate(body.get("spec") or {})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        path = ".".join(["spec", *(str(part) for part in first["loc"])])
        raise InvalidSpecError(path, first["msg"]) from None
    except RecursionError:
        raise InvalidSpecError("spec", "is nested too deeply") from None
    return VLLMServer(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata.get("generation", 0),
        spec=spec,
        status=body.get("status") or {},
    )
