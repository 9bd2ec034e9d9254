"""Which optional CRDs the cluster has, now: they may come and go while the operator runs."""

from __future__ import annotations

from vllm_operator.cluster.client import ApiClient
from vllm_operator.cluster.kinds import OPTIONAL

CHECK_SECONDS = 20.0


class Capabilities:
    """The optional kinds that the API server serves."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self.installed: frozenset[str] = frozenset()

    async def refresh(self) -> bool:
        """Ask the API server; True when something came or went.

        Raises:
            ApiError: the API server did not answer; what was known stays.
        """
        found: set[str] = set()
        for group_version in sorted({kind.api_version for kind in OPTIONAL}):
            answer = await self._client.get_path(f"/apis/{group_version}") or {}
            served = {resource.get("name") for resource in answer.get("resources", [])}
            found |= {kind.name for kind in OPTIONAL if kind.api_version == group_version and kind.plural in served}
        changed = frozenset(found) != self.installed
        self.installed = frozenset(found)
        return changed

    def drop(self, kind: str) -> None:
        """Take note that the API server no longer serves this kind."""
        self.installed -= {kind}
