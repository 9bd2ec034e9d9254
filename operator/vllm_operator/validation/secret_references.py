"""Find every Secret that a spec refers to, wherever Kubernetes takes the name of one.

In the labelled mode, a server may refer only to Secrets that someone who may write them has released.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vllm_operator.api.names import GROUP
from vllm_operator.api.spec import Spec
from vllm_operator.errors import InvalidSpecError

SECRET_LABEL = f"{GROUP}/allow-reference"
SECRET_LABEL_VALUE = "true"
NAMESPACE_LABEL = f"{GROUP}/secrets"
ALL = "all"
LABELLED = "labelled"

POD_TEMPLATE = "spec.podTemplate"
MAX_SECRETS = 256
"""Secrets that a server may refer to in the labelled mode: each is read by name."""

MAX_PARTS = 20_000
"""Objects, lists and values that `podTemplate.spec` may have: a search of them takes 20 ms. Real ones have
hundreds."""

_SECRETS_IN_A_LIST = "imagePullSecrets"
_SECRET_SOURCE = "secret"
"""A volume's source (`secretName`), or a part of a projected volume (`name`)."""
_NAME_FIELD = "secretName"
_REFERENCE_ENDINGS = ("secretRef", "SecretRef", "secretKeyRef")
"""Ends of the fields that refer to a Secret by `name`: of variables, and of every kind of volume."""


@dataclass(frozen=True)
class SecretReference:
    """A Secret that a spec names.

    Attributes:
        name: name of the Secret, in the namespace of the server.
        field: first field that names it.
    """

    name: str
    field: str


def secret_references(spec: Spec) -> tuple[SecretReference, ...]:
    """Return each Secret that a spec refers to once, also those that need not exist.

    Raises:
        InvalidSpecError: spec.podTemplate is too large to be searched.
    """
    found: dict[str, str] = {}
    volume = spec.cache.volume if spec.cache else None
    open_parts = ((spec.pod_template or {}).get("spec"), f"{POD_TEMPLATE}.spec"), (volume, "spec.cache.volume")
    for name, field in (*_typed(spec), *(pair for part, path in open_parts for pair in open_references(part, path))):
        found.setdefault(name, field)
    return tuple(SecretReference(name, field) for name, field in found.items())


def _typed(spec: Spec) -> Iterator[tuple[str, str]]:
    if spec.model.token_secret_ref:
        yield spec.model.token_secret_ref.name, "spec.model.tokenSecretRef"
    if spec.security.api_key_secret_ref:
        yield spec.security.api_key_secret_ref.name, "spec.security.apiKeySecretRef"
    for variable in spec.engine.env:
        if variable.value_from and variable.value_from.secret_key_ref:
            yield variable.value_from.secret_key_ref.name, f"spec.engine.env[{variable.name}].valueFrom.secretKeyRef"
    for secret in spec.image_pull_secrets:
        yield secret.name, "spec.imagePullSecrets"


def open_references(part: Any, path: str) -> Iterator[tuple[str, str]]:
    """Yield name and field of the Secrets of an open part of a spec; do not recurse.

    Raises:
        InvalidSpecError: the part is too large to be searched.
    """
    where_open = path
    waiting: list[tuple[Any, str]] = [(part, path)]
    seen = 0
    while waiting:
        part, path = waiting.pop()
        seen += 1
        if seen + len(waiting) > MAX_PARTS:
            raise InvalidSpecError(where_open, f"has more than {MAX_PARTS} parts: shorten it")
        if isinstance(part, list):
            waiting.extend((item, f"{path}[{position}]") for position, item in enumerate(part))
        elif isinstance(part, Mapping):
            for key, value in part.items():
                where = f"{path}.{str(key)[:80]}"
                yield from ((name, where) for name in _names(key, value))
                waiting.append((value, where))


def _names(key: str, value: Any) -> Iterator[str]:
    """Yield the names of Secrets that one field holds."""
    found: list[Any] = []
    if key == _NAME_FIELD:
        found = [value]
    elif key.endswith(_REFERENCE_ENDINGS) or key == _SECRET_SOURCE:
        found = [value.get("name")] if isinstance(value, Mapping) else []
    elif key == _SECRETS_IN_A_LIST and isinstance(value, list):
        found = [item.get("name") for item in value if isinstance(item, Mapping)]
    yield from (name for name in found if isinstance(name, str) and name)
