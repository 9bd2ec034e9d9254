"""Group, kind, labels and the names of children."""

from __future__ import annotations

import hashlib
import re

GROUP = "vllm-operator.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "VLLMServer"
PLURAL = "vllmservers"
SINGULAR = "vllmserver"
SHORT_NAME = "vllm"

GATEWAY_KIND = "VLLMGateway"
GATEWAY_PLURAL = "vllmgateways"
GATEWAY_SINGULAR = "vllmgateway"
GATEWAY_SHORT_NAME = "vllmgw"

MANAGER = "vllm-operator"
"""Field manager of server-side apply, and value of the managed-by label."""

CONTAINER = "vllm"
"""Name of the container that runs vLLM in each pod."""

LABEL_NAME = "app.kubernetes.io/name"
LABEL_INSTANCE = "app.kubernetes.io/instance"
LABEL_COMPONENT = "app.kubernetes.io/component"
LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
LABEL_PART_OF = "app.kubernetes.io/part-of"
MANAGED_SELECTOR = f"{LABEL_MANAGED_BY}={MANAGER}"

ANNOTATION_HASH = f"{GROUP}/applied-hash"
"""Hash of the manifest as last applied; it differs from that of a new manifest exactly when a write is needed."""

ANNOTATION_SERVER = f"{GROUP}/server"
"""Full name of the server that a child belongs to; the instance label may hold a shortened one."""

ANNOTATION_WAKE = f"{GROUP}/wake"
"""Time (RFC 3339) at which a gateway last held a request for a server that has no ready replica. A gateway renews it
every 15 s while it holds requests; whoever scales the server to zero starts it while the time is younger than 60 s."""

ANNOTATION_GATEWAY = f"{GROUP}/gateway"
"""Full name of the gateway that a child belongs to."""

ALLOW_GATEWAYS = f"gateways.{GROUP}"
"""Prefix of a label of a VLLMServer, followed by a namespace: `gateways.vllm-operator.dev/chat: "true"` allows the
gateways of the namespace chat to use the server."""

UNREADABLE = f"{GROUP}/unreadable"
"""Key of a cached object that is a stub without its spec; its value is the reason."""

LABEL_LENGTH = 63
"""Longest label value, Service name and DNS label (RFC 1123)."""

SERVER_NAME_LENGTH = 128
"""Longest name of a server. The children of a server with more than 63 characters have a shortened name with a hash."""


def shorten(text: str, limit: int = LABEL_LENGTH) -> str:
    """Return `text`, or its beginning and a hash of the whole if it is longer than `limit`: stable and unique."""
    if len(text) <= limit:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{text[: limit - 9].rstrip('-.')}-{digest}"


def child_name(server: str, suffix: str = "") -> str:
    """Return the name of a child: that of the server, with `-suffix` if there is one, at most 63 characters."""
    return shorten(f"{server}-{suffix}" if suffix else server)


def selector_labels(server: str) -> dict[str, str]:
    """Return the labels that select the pods of `server`. Never add one: a Deployment's selector cannot change."""
    return {LABEL_NAME: "vllm", LABEL_INSTANCE: child_name(server), LABEL_COMPONENT: "server"}


def gateway_selector_labels(gateway: str) -> dict[str, str]:
    """Return the labels that select the pods of a gateway. Never add one: a Deployment's selector cannot change."""
    return {LABEL_NAME: "vllm-gateway", LABEL_INSTANCE: gateway_child_name(gateway), LABEL_COMPONENT: "gateway"}


def gateway_labels(gateway: str) -> dict[str, str]:
    """Return the recommended labels of the children of a gateway."""
    return {**gateway_selector_labels(gateway), LABEL_MANAGED_BY: MANAGER, LABEL_PART_OF: "vllm-operator"}


def gateway_child_name(gateway: str, suffix: str = "") -> str:
    """Return the name of a child of a gateway, which differs from those of a server with the same name."""
    return shorten(f"{gateway}-gateway-{suffix}" if suffix else f"{gateway}-gateway")


def recommended_labels(server: str) -> dict[str, str]:
    """Return the recommended labels, which every child has."""
    return {**selector_labels(server), LABEL_MANAGED_BY: MANAGER, LABEL_PART_OF: "vllm-operator"}


def kebab_case(camel: str) -> str:
    """Return `max-num-seqs` for `maxNumSeqs`: the spelling of vLLM's flags."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", camel).lower()
