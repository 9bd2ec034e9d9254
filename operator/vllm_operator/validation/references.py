"""Objects that a spec refers to: they must exist in the cluster."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from vllm_operator.api.core import SecretKeyReference
from vllm_operator.api.server import VLLMServer
from vllm_operator.api.spec import Spec
from vllm_operator.validation.claim_checks import sharing_problem
from vllm_operator.vllm.arguments import API_KEY, HF_TOKEN
from vllm_operator.vllm.model_source import resolve_model


@dataclass(frozen=True)
class Reference:
    """A key of a Secret, or a claim, and the field that names it.

    Attributes:
        kind: kind of the object.
        name: name of the object, in the namespace of the server.
        field: path of the field, such as `spec.model.tokenSecretRef`.
        key: key in the Secret; None for a claim.
        sharing_problem: why a claim that one node may mount is not enough, and what to do; empty if it is.
        keep_value: whether the probes need the value of the key. No other value is kept.
    """

    kind: Literal["Secret", "PersistentVolumeClaim"]
    name: str
    field: str
    key: str | None = None
    sharing_problem: str = ""
    keep_value: bool = False


def references(server: VLLMServer) -> tuple[Reference, ...]:
    """Return all objects that must exist before the pods can start.

    A Secret is left out if a variable in `engine.env` replaces the one that it would fill.
    """
    return (*_secrets(server.spec), *_claims(server.spec))


def _secrets(spec: Spec) -> Iterator[Reference]:
    named: dict[str, tuple[str, SecretKeyReference | None]] = {
        HF_TOKEN: ("spec.model.tokenSecretRef", spec.model.token_secret_ref),
        API_KEY: ("spec.security.apiKeySecretRef", spec.security.api_key_secret_ref),
    }
    replaced = {variable.name for variable in spec.engine.env}
    for variable_name, (field, reference) in named.items():
        if reference is not None and variable_name not in replaced:
            yield Reference("Secret", reference.name, field, reference.key, keep_value=variable_name == API_KEY)
    for variable in spec.engine.env:
        secret = variable.value_from.secret_key_ref if variable.value_from else None
        if secret is not None and not secret.optional:
            field = f"spec.engine.env[{variable.name}].valueFrom.secretKeyRef"
            yield Reference("Secret", secret.name, field, secret.key, keep_value=variable.name == API_KEY)


def _claims(spec: Spec) -> Iterator[Reference]:
    claims = {
        "spec.model.uri": resolve_model(spec.model).claim,
        "spec.cache.existingClaim": spec.cache.existing_claim if spec.cache else None,
    }
    for field, name in claims.items():
        if name is not None:
            yield Reference("PersistentVolumeClaim", name, field, sharing_problem=sharing_problem(spec))
