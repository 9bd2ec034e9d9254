"""Start the tests of children: a server in the caches, and an API server in memory."""

from __future__ import annotations

from typing import Any

from tests.helpers.fakes import FakeApiClient, FakeClock
from tests.helpers.specs import body
from vllm_operator.apply.applier import Applier
from vllm_operator.apply.result import ApplyResult
from vllm_operator.desired.state import desired_state
from vllm_operator.informers.store import Store
from vllm_operator.kube.key import Key

KEY = Key("llm", "mistral")
Json = dict[str, Any]

EDIT: Json = {"manager": "kubectl-edit", "operation": "Update", "fieldsV1": {"f:spec": {"f:paused": {}}}}
"""The managed fields of a user who pauses a Deployment."""


class Scene:
    """A server in the caches, and an API server in memory."""

    def __init__(self, **spec: Any) -> None:
        self.api, self.store, self.clock = FakeApiClient(), Store(), FakeClock()
        self.applier = Applier(self.api, self.store, self.clock)  # type: ignore[arg-type]
        self.history = self.applier.new_history()
        self.set_spec(**spec)

    def set_spec(self, **spec: Any) -> None:
        """Change the spec."""
        desired = desired_state(body(**spec), frozenset())
        self.server = desired.server
        self.manifests = {manifest.kind: manifest for manifest in desired.manifests}
        self.store.put("VLLMServer", body(**spec))

    async def apply(self) -> ApplyResult:
        """Apply the children; raises the failure of the result, if there is one."""
        result = await self.applier.apply(KEY, self.server, self.history, list(self.manifests.values()))
        if result.failure is not None:
            raise result.failure
        return result

    async def prune(self) -> None:
        """Delete the children that the spec does not ask for."""
        await self.applier.prune(KEY, self.server, self.history, list(self.manifests.values()))

    def hold(self, kind: str, *, cached: bool = True, **metadata: Any) -> Json:
        """Store a child on the API server, and in the caches if it is `cached`."""
        held = self.api.hold(self.manifests[kind].body, **metadata)
        if cached:
            self.store.put(kind, held)
        return held
