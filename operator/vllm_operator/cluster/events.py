"""Events on the VLLMServer, for `kubectl describe`."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from vllm_operator.api.names import API_VERSION, KIND
from vllm_operator.cluster.client import ApiClient
from vllm_operator.cluster.kinds import EVENT
from vllm_operator.errors import ApiError

NOTE_LENGTH = 1024
"""Longest note that the API server takes."""

logger = logging.getLogger(__name__)


async def record(
    client: ApiClient,
    metadata: Mapping[str, Any],
    kind: Literal["Normal", "Warning"],
    reason: str,
    note: str,
    now: datetime,
) -> None:
    """Record one event. An event is a courtesy: when it cannot be written, the log says so and nothing else fails."""
    namespace, name = metadata["namespace"], metadata["name"]
    body = {
        "apiVersion": EVENT.api_version,
        "kind": EVENT.name,
        "metadata": {"namespace": namespace, "name": f"{name[:200]}.{secrets.token_hex(8)}"},
        "eventTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "type": kind,
        "reason": reason,
        "note": note[:NOTE_LENGTH],
        "action": "Reconcile",
        "reportingController": "vllm-operator.dev/vllm-operator",
        "reportingInstance": os.environ.get("HOSTNAME", "vllm-operator")[:128],
        "regarding": {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "namespace": namespace,
            "name": name,
            "uid": metadata["uid"],
        },
    }
    try:
        await client.create(EVENT, namespace, body)
    except ApiError as error:
        logger.warning("%s/%s: event %s was not recorded: %s", namespace, name, reason, error)
