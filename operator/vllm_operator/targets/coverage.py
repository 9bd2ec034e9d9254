"""Which fields of a spec a target carries over, and what happens to each of the others.

Every field is in one of both lists, which a test asserts for each target: a new field of the spec cannot be lost
without a word.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from vllm_operator.api.fields import Model
from vllm_operator.api.spec import Spec

WHOLE = frozenset({"engine", "autoscaling"})
"""Fields of the spec that are carried over or lost as a whole."""


@dataclass(frozen=True)
class Coverage:
    """The fate of each field of a spec on a target, by paths such as `cache.size`, or `cache` for all below it.

    Attributes:
        carried: fields that it carries over.
        lost: field -> what happens instead.
    """

    carried: frozenset[str]
    lost: Mapping[str, str]

    def reason(self, path: str) -> str | None:
        """Return what happens instead of a field; None when it is carried over. The longest path counts."""
        candidates = [path, path.partition(".")[0]]
        for candidate in candidates:
            if candidate in self.lost:
                return self.lost[candidate]
            if candidate in self.carried:
                return None
        return None

    def unknown(self) -> tuple[str, ...]:
        """Return the fields of the spec that are in neither list."""
        known = self.carried | self.lost.keys()
        return tuple(path for path in spec_paths() if path not in known and path.partition(".")[0] not in known)

    def losses(self, spec: Spec) -> Iterator[tuple[str, str]]:
        """Return field and reason for each field that is set to something else than its default and is lost."""
        for path in spec_paths():
            reason = self.reason(path)
            if reason is not None and is_set(spec, path):
                yield f"spec.{path}", reason


@functools.cache
def spec_paths() -> tuple[str, ...]:
    """Return the paths of a spec, one level deep where a field has fields."""
    return tuple(_paths())


def _paths() -> Iterator[str]:
    for name, field in Spec.model_fields.items():
        alias = field.alias or name
        below = _model_of(field.annotation)
        if below is None or alias in WHOLE:
            yield alias
        else:
            yield from (f"{alias}.{item.alias or key}" for key, item in below.model_fields.items())


def _model_of(annotation: Any) -> type[BaseModel] | None:
    options = [annotation, *getattr(annotation, "__args__", ())]
    models = [item for item in options if isinstance(item, type) and issubclass(item, Model)]
    return models[0] if models and getattr(annotation, "__origin__", None) is not list else None


def is_set(spec: Spec, path: str) -> bool:
    """Return whether a field has another value than its default."""
    first, _, second = path.partition(".")
    value, default = _by_alias(spec, first), _default(Spec, first)
    if not second:
        return bool(value != default)
    if value is None:
        return False
    return bool(_by_alias(value, second) != _default(type(value), second))


def _by_alias(model: BaseModel, alias: str) -> Any:
    return getattr(model, _name(type(model), alias))


def _default(kind: type[BaseModel], alias: str) -> Any:
    field = kind.model_fields[_name(kind, alias)]
    return None if field.is_required() else field.get_default(call_default_factory=True)


@functools.cache
def _name(kind: type[BaseModel], alias: str) -> str:
    return next(name for name, field in kind.model_fields.items() if (field.alias or name) == alias)
