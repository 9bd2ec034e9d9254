"""Decide what the author of a VLLMServer may use of the namespace: the rules, and the labels that lift them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vllm_operator.api.problem import Problem
from vllm_operator.controller.reference_cache import CachedRead
from vllm_operator.validation import pod_template, secret_references
from vllm_operator.validation.secret_references import SecretReference


@dataclass(frozen=True)
class TenantRules:
    """The rules that `run --pod-template` and `run --secrets` choose.

    Attributes:
        restricted_pod_template: refuse parts of a pod template that give further rights.
        labelled_secrets: refuse Secrets without the label that releases them.
    """

    restricted_pod_template: bool = False
    labelled_secrets: bool = False


FREE_RULES = TenantRules()


def namespace_is_free(labels: Mapping[str, str]) -> bool:
    """Return whether a namespace with these labels allows every pod template."""
    return labels.get(pod_template.NAMESPACE_LABEL) == pod_template.FREE


def namespace_releases_secrets(labels: Mapping[str, str]) -> bool:
    """Return whether servers of a namespace with these labels may refer to all its Secrets."""
    return labels.get(secret_references.NAMESPACE_LABEL) == secret_references.ALL


def secret_problem(namespace: str, reference: SecretReference, read: CachedRead) -> Problem | None:
    """Return why a server may not refer to a Secret; None for a released one, and for one that does not exist."""
    if read.denied:
        message = f"{reference.field}: Secret {reference.name} cannot be read: {read.denied}"
        return Problem("SecretUnreadable", message)
    if read.allows_reference or not read.exists:
        return None
    return Problem(
        "SecretNotAllowed",
        f"{reference.field}: Secret {reference.name} is not released for VLLMServers: whoever may write it runs "
        f"`kubectl -n {namespace} label secret {reference.name} "
        f"{secret_references.SECRET_LABEL}={secret_references.SECRET_LABEL_VALUE}`; an administrator releases all "
        f"Secrets of the namespace with its label {secret_references.NAMESPACE_LABEL}={secret_references.ALL}",
    )


def too_many_secrets(reference: SecretReference) -> Problem:
    """Return the problem of a server that names more Secrets than the operator checks."""
    return Problem(
        "TooManySecrets",
        f"{reference.field}: the spec names more than {secret_references.MAX_SECRETS} Secrets: name fewer",
    )
