"""Discover which optional CRDs the API server serves now: they may come and go while the operator runs."""

from __future__ import annotations

from vllm_operator.kube.client import ApiClient
from vllm_operator.kube.kinds import OPTIONAL_KINDS

CHECK_SECONDS = 10.0
"""Seconds between two discoveries."""
RECHECK_SECONDS = 5.0
"""Seconds until the next discovery after one that lacked a known kind."""

NO_CRD = "the CRD vllmservers.vllm-operator.dev is not installed: apply `vllm-operator crd`; servers are picked up then"


class OptionalKinds:
    """The optional kinds that the API server serves.

    A kind counts as gone when two discoveries in a row lack it: an API server that starts, or takes up the CRDs of a
    group, may answer 404 for a moment, or list the group without the kind.
    """

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self.installed: frozenset[str] = frozenset()
        """Kinds of which objects may be written."""
        self._known: frozenset[str] = frozenset()
        """Kinds that are installed according to discovery alone."""
        self._missed: frozenset[str] = frozenset()
        """Known kinds that the last discovery lacked, or of which a write was answered with 404."""

    @property
    def lacking(self) -> frozenset[str]:
        """Return the optional kinds that are not installed."""
        return frozenset(kind.name for kind in OPTIONAL_KINDS) - self.installed

    @property
    def delay(self) -> float:
        """Return the seconds until the next discovery."""
        return RECHECK_SECONDS if self._missed else CHECK_SECONDS

    async def refresh(self) -> bool:
        """Read the kinds from the API server; return True when `installed` or the kinds of the last discovery changed.

        Raises:
            ApiError: the API server did not answer; the kinds stay as they were.
        """
        served = await self._served()
        before, missing = (self._known, self.installed), self._known - served
        self.installed = self._known = served | (missing - self._missed)
        self._missed = missing & self._known
        return before != (self._known, self.installed)

    def mark_missing(self, kind: str) -> None:
        """Mark a kind as possibly gone after a 404: no object of it is written until the next discovery."""
        self.installed -= {kind}
        self._missed |= {kind} & self._known

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
