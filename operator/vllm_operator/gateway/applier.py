"""Apply the children of a gateway, and leave objects of other owners alone."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from vllm_operator.api.gateway_resource import VLLMGateway
from vllm_operator.api.names import ANNOTATION_HASH, gateway_child_name
from vllm_operator.api.problem import Problem
from vllm_operator.apply.drift import differs
from vllm_operator.errors import ApiError
from vllm_operator.kube.client import ApiClient
from vllm_operator.kube.fields import get_list, get_str
from vllm_operator.kube.kinds import GATEWAY_CHILD_KINDS, Kind
from vllm_operator.kube.manifest import Manifest
from vllm_operator.kube.types import Object

UNUSED_VERSION = "1"
"""A resource version that no object has: an apply with it creates an object, and never changes one."""
PRUNED = ("PodDisruptionBudget", "NetworkPolicy")
"""Kinds that a spec may stop to ask for."""

logger = logging.getLogger(__name__)


class GatewayApplier:
    """Applies children. They are read before each apply: a gateway is reconciled seldom, and most kinds have no cache.

    Args:
        client: the API client.
    """

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    async def apply(self, gateway: VLLMGateway, manifests: Sequence[Manifest]) -> tuple[Problem, ...]:
        """Apply every manifest that is new, changed or drifted; return the refusals.

        Raises:
            ApiError: a failure that a retry may cure.
        """
        problems: list[Problem] = []
        for manifest in manifests:
            try:
                if problem := await self.apply_one(gateway, GATEWAY_CHILD_KINDS[manifest.kind], manifest):
                    problems.append(problem)
            except ApiError as error:
                if not error.is_refusal or error.is_namespace_terminating:
                    raise
                text = f"the API server refused the {manifest.kind} {manifest.name}: {error.message}"
                problems.append(Problem("ApplyRefused", text))
        if not problems:
            await self._prune(gateway, manifests)
        return tuple(problems)

    async def apply_one(self, gateway: VLLMGateway, kind: Kind, manifest: Manifest) -> Problem | None:
        """Apply one manifest that is new, changed or drifted; return a problem where the name is taken.

        Raises:
            ApiError: the API server refused it, or a failure that a retry may cure.
        """
        live = await self._client.get(kind, gateway.namespace, manifest.name, cached=True)
        body = manifest.body
        if live is None:
            body = {**body, "metadata": {**body["metadata"], "resourceVersion": UNUSED_VERSION}}
        elif not is_owned(live, gateway):
            return Problem(
                "NameTaken",
                f"the {manifest.kind} {manifest.name} exists and belongs to something else: rename it, or the gateway",
            )
        elif get_str(live, "metadata", "annotations", ANNOTATION_HASH) == manifest.hash and not differs(body, live):
            return None
        await self._client.apply(kind, body)
        logger.info("%s: applied %s %s", gateway.key, manifest.kind, manifest.name)
        return None

    async def _prune(self, gateway: VLLMGateway, manifests: Sequence[Manifest]) -> None:
        wanted = {(manifest.kind, manifest.name) for manifest in manifests}
        names = (gateway_child_name(gateway.name), gateway_child_name(gateway.name, "servers"))
        for kind_name in PRUNED:
            for name in names:
                if (kind_name, name) in wanted:
                    continue
                kind = GATEWAY_CHILD_KINDS[kind_name]
                live = await self._client.get(kind, gateway.namespace, name, cached=True)
                if live is not None and is_owned(live, gateway):
                    await self._client.delete(kind, gateway.namespace, name, live["metadata"]["uid"])
                    logger.info("%s: deleted %s %s, which the spec no longer asks for", gateway.key, kind_name, name)


def is_owned(live: Object, gateway: VLLMGateway) -> bool:
    """Return whether an object belongs to this very gateway."""
    return any(
        owner.get("controller") is True and get_str(owner, "uid") == gateway.uid
        for owner in get_list(live, "metadata", "ownerReferences")
    )
