"""Read the end of a container's log. The API server requests it from the kubelet, which can take seconds."""

from __future__ import annotations

from vllm_operator.kube.client import ApiClient
from vllm_operator.kube.kinds import POD

TAIL_LINES = 200
LIMIT_BYTES = 256 * 1024
"""Bytes at most, since a line can have any length."""


async def read_log_tail(client: ApiClient, namespace: str, pod: str, container: str, previous: bool) -> str:
    """Return the end of a container's log: TAIL_LINES lines, at most LIMIT_BYTES.

    Args:
        client: the API client.
        namespace: namespace of the pod.
        pod: its name.
        container: name of the container.
        previous: read the log of its former run.

    Raises:
        ApiError: the log cannot be read; the status is 400 or 404 when it is gone.
    """
    parameters = {
        "container": container,
        "previous": str(previous).lower(),
        "tailLines": str(TAIL_LINES),
        "limitBytes": str(LIMIT_BYTES),
    }
    return await client.get_text(POD.path(namespace, pod, "log"), parameters, LIMIT_BYTES)
