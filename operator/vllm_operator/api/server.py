"""The custom resource, parsed once at the edge."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
        }


DEEPEST_NESTING = 64
"""No real pod template comes near; deeper ones would exhaust the stack of whoever walks them."""


def nesting_exceeds(value: Any, limit: int) -> bool:
    """True when objects and lists are nested deeper than `limit`; never recurses."""
    level = [value]
    for _ in range(limit + 1):
        level = [item for part in level for item in _children(part)]
        if not level:
            return False
    return True


def _children(part: Any) -> Iterable[Any]:
    if isinstance(part, Mapping):
        return part.values()
    return part if isinstance(part, list) else ()


def parse(body: Mapping[str, Any]) -> VLLMServer:
    """Parse a VLLMServer as the API server sends it.

    Raises:
        InvalidSpecError: names the first field that is wrong. The API server refuses most of these already.
    """
    metadata = body["metadata"]
    if nesting_exceeds(body.get("spec"), DEEPEST_NESTING):
        raise InvalidSpecError("spec", f"is nested more than {DEEPEST_NESTING} levels deep: flatten it")
    try:
        spec = Spec.model_validate(body.get("spec") or {})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        path = ".".join(["spec", *(str(part) for part in first["loc"])])
        raise InvalidSpecError(path, first["msg"]) from None
    return VLLMServer(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata.get("generation", 0),
        spec=spec,
        status=body.get("status") or {},
    )
