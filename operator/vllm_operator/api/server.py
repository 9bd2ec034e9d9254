"""The custom resource, parsed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError

from vllm_operator.api.fields import Model
from vllm_operator.api.names import API_VERSION, KIND, UNREADABLE
from vllm_operator.api.replica_bounds import ReplicaBounds, plain_bounds
from vllm_operator.api.spec import Spec
from vllm_operator.errors import InvalidSpecError


@dataclass(frozen=True)
class VLLMServer:
    """A VLLMServer: identity, typed spec, and the status as the API server holds it.

    Attributes:
        scheduled: the bounds that its schedule puts in force; None for those of the spec.
    """

    namespace: str
    name: str
    uid: str
    generation: int
    spec: Spec
    status: Mapping[str, Any]
    scheduled: ReplicaBounds | None = None

    @property
    def bounds(self) -> ReplicaBounds:
        """The bounds of its replicas; without autoscaling there is one number."""
        if self.scheduled is not None:
            return self.scheduled
        scaling = self.spec.autoscaling
        return plain_bounds(scaling) if scaling else ReplicaBounds(self.spec.replicas, self.spec.replicas)

    @property
    def key(self) -> str:
        """Return `namespace/name`, as log lines show it."""
        return f"{self.namespace}/{self.name}"

    @property
    def owner_reference(self) -> dict[str, Any]:
        """Return the owner reference of the children."""
        return {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "name": self.name,
            "uid": self.uid,
            "controller": True,
        }


DEEPEST_NESTING = 64
"""Levels that a spec may have. Real pod templates have far fewer; a deeper one would exhaust Python's stack."""

MOST_VALUES = 10_000
"""Values that a spec may have, counted at all levels. Real ones have hundreds; each costs 5 µs until it is rendered."""

LARGEST_NUMBER = 2**63 - 1
"""Largest whole number of Kubernetes. The API server accepts a larger one where the schema is open."""

_VARIANTS = frozenset({"int", "constrained-int", "constrained-str"})
"""Names that pydantic appends to the path of a field that takes a number or a string."""


def check_shape(spec: Any) -> None:
    """Refuse a spec with open parts that are too deep or too many, or numbers too large; do not recurse.

    Raises:
        InvalidSpecError: the spec is too deep, holds too many values, or a number beyond 64 bits.
    """
    level, values = [spec], 0
    for _ in range(DEEPEST_NESTING + 1):
        if any(isinstance(part, int) and abs(part) > LARGEST_NUMBER for part in level):
            raise InvalidSpecError("spec", "holds a whole number beyond 64 bits: write a smaller one, or a string")
        values += sum(len(_children(part)) for part in level)
        if values > MOST_VALUES:
            raise InvalidSpecError("spec", f"has more than {MOST_VALUES} values: shorten podTemplate")
        level = [item for part in level for item in _children(part)]
        if not level:
            return
    raise InvalidSpecError("spec", f"is nested more than {DEEPEST_NESTING} levels deep: flatten it")


def _children(part: Any) -> Collection[Any]:
    if isinstance(part, Mapping):
        return part.values()
    return part if isinstance(part, list) else ()


def field_path(location: Sequence[int | str]) -> str:
    """Return `spec.engine.env[0].name` for `("engine", "env", 0, "name")`."""
    steps = location[:-1] if location[-1] in _VARIANTS and len(location) > 1 else location
    return "spec" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)


Parsed = TypeVar("Parsed", bound=Model)


def parse_spec(model: type[Parsed], spec: Any) -> Parsed:
    """Parse the spec of a resource.

    Raises:
        InvalidSpecError: names the first field that is wrong.
    """
    check_shape(spec)
    try:
        return model.model_validate(spec or {})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise InvalidSpecError(field_path(first["loc"]), first["msg"].removeprefix("Value error, ")) from None


def parse_server(body: Mapping[str, Any]) -> VLLMServer:
    """Parse a VLLMServer as the API server sends it.

    Raises:
        InvalidSpecError: names the first field that is wrong. The CRD's schema refuses most of these earlier.
    """
    metadata = body["metadata"]
    if reason := body.get(UNREADABLE):
        raise InvalidSpecError("spec", f"the VLLMServer cannot be read: {reason}", "Unreadable")
    spec = parse_spec(Spec, body.get("spec"))
    return VLLMServer(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata.get("generation", 0),
        spec=spec,
        status=body.get("status") or {},
    )
