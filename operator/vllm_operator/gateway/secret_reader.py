"""Read the Secrets of a gateway by name: it has no right to list or watch those of its namespace."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Any

from vllm_operator.errors import ApiError
from vllm_operator.gateway.keys import SecretData
from vllm_operator.kube.client import ApiClient
from vllm_operator.kube.kinds import SECRET


class SecretReader:
    """The values of Secrets, as they were read last.

    Args:
        client: the API client.
        namespace: the namespace.
    """

    def __init__(self, client: ApiClient, namespace: str) -> None:
        self._client = client
        self._namespace = namespace
        self.values: dict[str, SecretData | None] = {}

    async def refresh(self, names: Iterable[str]) -> bool:
        """Read the Secrets again; return whether one of them changed.

        A Secret that cannot be read keeps the values that it had.

        Raises:
            ApiError: the API server did not answer.
        """
        fresh: dict[str, SecretData | None] = {}
        for name in names:
            try:
                body = await self._client.get(SECRET, self._namespace, name, cached=True)
            except ApiError as error:
                if error.status != 403:
                    raise
                # The operator grants the right to a new Secret a moment later.
                fresh[name] = self.values.get(name)
                continue
            fresh[name] = None if body is None else decode(body)
        changed = fresh != self.values
        self.values = fresh
        return changed


def decode(secret: Mapping[str, Any]) -> dict[str, str]:
    """Return the values of a Secret as text; those that are no UTF-8 are left out."""
    data = secret.get("data")
    result: dict[str, str] = {}
    for key, value in data.items() if isinstance(data, Mapping) else ():
        try:
            result[str(key)] = base64.b64decode(str(value), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            continue
    return result
