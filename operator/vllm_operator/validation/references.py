"""What a manifest refers to and the cluster must have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vllm_operator.api.server import VLLMServer
from vllm_operator.validation.claim_checks import sharing_problem
from vllm_operator.vllm.arguments import API_KEY, HF_TOKEN
from vllm_operator.vllm.model_source import resolve_model


@dataclass(frozen=True)
class Reference:
    """A Secret's key or a claim, and the field that names it.

    Attributes:
        sharing: what goes wrong when the claim can be mounted on one node only; empty where nothing does.
    """

    kind: Literal["Secret", "PersistentVolumeClaim"]
    name: str
    field: str
    key: str | None = None
    sharing_problem: str = ""


def references(server: VLLMServer) -> tuple[Reference, ...]:
    """Everything that must exist before the pods can start; not a Secret whose variable engine.env replaces."""
    spec = server.spec
    found: list[Reference] = []
    replaced = {variable.name for variable in spec.engine.env}
    if (token := spec.model.token_secret_ref) is not None and HF_TOKEN not in replaced:
        found.append(Reference("Secret", token.name, "spec.model.tokenSecretRef", token.key))
    if (key := spec.security.api_key_secret_ref) is not None and API_KEY not in replaced:
        found.append(Reference("Secret", key.name, "spec.security.apiKeySecretRef", key.key))
    for variable in spec.engine.env:
        secret = variable.value_from.secret_key_ref if variable.value_from else None
        if secret is not None and not secret.optional:
            field = f"spec.engine.env[{variable.name}].valueFrom.secretKeyRef"
            found.append(Reference("Secret", secret.name, field, secret.key))
    if (claim := resolve_model(spec.model).claim) is not None:
        found.append(Reference("PersistentVolumeClaim", claim, "spec.model.uri", sharing_problem=sharing_problem(spec)))
    if spec.cache is not None and spec.cache.existing_claim is not None:
        claim, field = spec.cache.existing_claim, "spec.cache.existingClaim"
        found.append(Reference("PersistentVolumeClaim", claim, field, sharing_problem=sharing_problem(spec)))
    return tuple(found)
