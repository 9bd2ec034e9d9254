"""Which optional CRDs the cluster has, now: they may come and go while the operator runs."""

from __future__ import annotations

from vllm_operator.kube.client import ApiClient
from vllm_operator.kube.kinds import OPTIONAL_KINDS

CHECK_SECONDS = 10.0
DOUBT_SECONDS = 5.0
"""When to look again after an answer that lacked a kind."""


class OptionalKinds:
    """The optional kinds that the API server serves.

    A kind is gone when it was missed twice in a row: an API server that starts, or takes up the CRDs of a group, may
    answer 404 for a moment, or tell of the group without the kind.
    """

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self.installed: frozenset[str] = frozenset()
        self._known: frozenset[str] = frozenset()
        """The installed kinds as of the last look."""
        self._missed: frozenset[str] = frozenset()
        """Those of them that were missing in one answer."""

    @property
    def lacking(self) -> frozenset[str]:
        """The optional kinds that it is not known to serve."""
        return frozenset(kind.name for kind in OPTIONAL_KINDS) - self.installed

    @property
    def pause(self) -> float:
        """Seconds until the next look."""
        return DOUBT_SECONDS if self._missed else CHECK_SECONDS

    async def refresh(self) -> bool:
        """Ask the API server; True when something came, went, or is there after all.

        Raises:
            ApiError: the API server did not answer; what was known stays.
        """
        served = await self._served()
        before, missing = (self._known, self.installed), self._known - served
        self.installed = self._known = served | (missing - self._missed)
        self._missed = missing & self._known
        return before != (self._known, self.installed)

    async def _served(self) -> frozenset[str]:
        found: set[str] = set()
        for group_version in sorted({kind.api_version for kind in OPTIONAL_KINDS}):
            answer = await self._client.get_path(f"/apis/{group_version}") or {}
            # A kind whose CRD is being deleted is listed, but can no longer be created.
            served = {entry.get("name") for entry in answer.get("resources", []) if "create" in entry.get("verbs", ())}
            found |= {
                kind.name for kind in OPTIONAL_KINDS if kind.api_version == group_version and kind.plural in served
            }
        return frozenset(found)

    def drop(self, kind: str) -> None:
        """Take note that a write of this kind was answered with 404: none is sent until the next look decides."""
        self.installed -= {kind}
        self._missed |= {kind} & self._known
