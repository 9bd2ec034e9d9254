"""Causes that last until a person acts: a rollout that meets one need not wait for its deadline to be called stuck."""

from __future__ import annotations

import re
from collections.abc import Mapping

from vllm_operator.status.replicas.pod_states import IMAGE_PULL_BACK_OFF

PERMANENT_REASONS = frozenset(
    {
        # The kubelet's.
        "ErrImageNeverPull",
        "InvalidImageName",
        # vLLM's: rows of `status/causes/` that no second try, no other node and no patience can cure.
        "AdapterNotFound",
        "ContextTooLong",
        "GatedModel",
        "InvalidArgument",
        "InvalidChatTemplate",
        "InvalidReasoningParser",
        "InvalidToolCallParser",
        "KVCacheTooSmall",
        "ModelNotFound",
        "QuantizationMismatch",
        "RemoteCodeNotTrusted",
        "RevisionNotFound",
        "ServiceLink",
        "TensorParallelSize",
        "UnknownFlag",
        "UnsupportedModel",
    }
)
"""Reasons of replicas. What depends on the node, on other tenants or on the network is none of them."""

_PERMANENT_MESSAGES: Mapping[str, re.Pattern[str]] = {
    IMAGE_PULL_BACK_OFF: re.compile(
        r"not found|manifest unknown|access denied|unauthorized|authentication required|insufficient_scope"
        r"|no basic auth|\b40[134] ?(?:Unauthorized|Forbidden|Not Found)|no match for platform",
        re.IGNORECASE,
    ),
    "CreateContainerConfigError": re.compile(
        r"not found|couldn't find key|runAsNonRoot|non-numeric user|references non-existent", re.IGNORECASE
    ),
    "CreateContainerError": re.compile(r"no command specified|executable file not found", re.IGNORECASE),
    "RunContainerError": re.compile(
        r"executable file not found|no such file or directory|permission denied|exec format error", re.IGNORECASE
    ),
}
"""Reasons behind which the network or a slow node may stand: the kubelet's words tell them apart."""

_REFUSED_PODS = re.compile(
    r"violates PodSecurity|admission webhook .* denied the request|unable to validate against any security context"
    r"|serviceaccount \"[^\"]*\" not found|is invalid: ",
    re.IGNORECASE,
)


def is_permanent(phase: str, reason: str, message: str) -> bool:
    """True when a replica in this state stays in it until a person acts."""
    if phase not in {"Failed", "CrashLooping", "Pulling"}:
        return False
    words = _PERMANENT_MESSAGES.get(reason)
    return bool(words.search(message)) if words else reason in PERMANENT_REASONS


def refuses_pods(failure: str) -> bool:
    """True when the API server will refuse the pods of this template again; a quota, by contrast, may become free."""
    return bool(_REFUSED_PODS.search(failure))
