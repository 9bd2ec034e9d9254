"""Failures that no retry can end. A rollout that meets one is stuck at once, before its progress deadline."""

from __future__ import annotations

import re
from collections.abc import Mapping

from vllm_operator.status.replicas.pod_states import IMAGE_PULL_BACK_OFF

PERMANENT_REASONS = frozenset(
    {
        # The kubelet's.
        "ErrImageNeverPull",
        "InvalidImageName",
        # vLLM's: rows of `diagnosis/causes/` that neither a retry nor another node nor time can end.
        "AdapterNotFound",
        "ContextTooLong",
        "GatedModel",
        "InvalidArgument",
        "InvalidChatTemplate",
        "InvalidReasoningParser",
        "InvalidToolCallParser",
        "KVCacheTooSmall",
        "ModelNotFound",
        "NoCommand",
        "QuantizationMismatch",
        "RemoteCodeNotTrusted",
        "RevisionNotFound",
        "ServiceLink",
        "TensorParallelSize",
        "UnknownFlag",
        "UnsupportedModel",
    }
)
"""Reasons of replicas. They leave out everything that depends on the node, on other tenants or on the network."""

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
"""Reasons that the network or a slow node can cause too: the kubelet's message shows the permanent ones."""

_REFUSED_PODS = re.compile(
    r"violates PodSecurity|admission webhook .* denied the request|unable to validate against any security context"
    r"|serviceaccount \"[^\"]*\" not found|is invalid: ",
    re.IGNORECASE,
)


def is_permanent(phase: str, reason: str, message: str) -> bool:
    """Return True when a replica in this state stays in it until a person acts."""
    if phase not in {"Failed", "CrashLooping", "Pulling"}:
        return False
    pattern = _PERMANENT_MESSAGES.get(reason)
    return bool(pattern.search(message)) if pattern else reason in PERMANENT_REASONS


def refuses_pods(failure: str) -> bool:
    """Return True when the API server will refuse the pods of this template again; a quota, by contrast, may grow."""
    return bool(_REFUSED_PODS.search(failure))
