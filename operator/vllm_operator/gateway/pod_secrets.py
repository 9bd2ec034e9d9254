"""Find the Secrets that the pods of a gateway get from its spec, in addition to the API keys. Pure."""

from __future__ import annotations

from vllm_operator.api.gateway import GatewaySpec
from vllm_operator.validation.secret_references import POD_TEMPLATE, SecretReference, open_references


def pod_secrets(spec: GatewaySpec) -> tuple[SecretReference, ...]:
    """Return each Secret once: that of the certificate, those of the registries, and those of the pod template.

    Whoever writes the spec chooses the image of Envoy, so a mounted Secret is one that this person can read.

    Raises:
        InvalidSpecError: spec.podTemplate is too large to be searched.
    """
    found: dict[str, str] = {}
    if spec.tls:
        found[spec.tls.secret_name] = "spec.tls.secretName"
    for secret in spec.image_pull_secrets:
        found.setdefault(secret.name, "spec.imagePullSecrets")
    for name, field in open_references((spec.pod_template or {}).get("spec"), f"{POD_TEMPLATE}.spec"):
        found.setdefault(name, field)
    return tuple(SecretReference(name, field) for name, field in found.items())
