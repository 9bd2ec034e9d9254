"""Read the last lines of a container's log. The API server asks the kubelet, so it may take its time."""

from __future__ import annotations

from vllm_operator.kube.client import ApiClient
from vllm_operator.kube.kinds import POD

TAIL_LINES = 200
LIMIT_BYTES = 256 * 1024
"""A line may be of any length."""


async def read_log_tail(client: ApiClient, namespace: str, pod: str, container: str, previous: bool) -> str:
    """The end of a container's log.

    Args:
        client: the API server.
        namespace: namespace of the pod.
        pod: its name.
        container: name of the container.
        previous: the log of its former run.

    Raises:
        ApiError: the log cannot be read; 400 and 404 when it is gone.
    """
    parameters = {
        "container": container,
        "previous": str(previous).lower(),
        "tailLines": str(TAIL_LINES),
        "limitBytes": str(LIMIT_BYTES),
    }
    return await client.get_text(POD.path(namespace, pod, "log"), parameters)
