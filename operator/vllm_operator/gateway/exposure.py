"""Objects of Gateway API that lead to a gateway: HTTPRoute and InferencePools. The rest goes on without them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from vllm_operator.api.gateway_exposure import ParentReference
from vllm_operator.api.gateway_resource import VLLMGateway
from vllm_operator.api.names import gateway_child_name, gateway_selector_labels, selector_labels
from vllm_operator.desired.rendering.templates import render_template
from vllm_operator.errors import ApiError
from vllm_operator.gateway.applier import GatewayApplier, is_owned
from vllm_operator.gateway.children import finish_child
from vllm_operator.gateway.exposure_state import EXPOSED, Exposed, missing_crds, not_exposed, route_state
from vllm_operator.kube.client import ApiClient
from vllm_operator.kube.fields import get_condition, get_str
from vllm_operator.kube.kinds import EXPOSURE_KINDS, HTTP_ROUTE, INFERENCE_POOL, Kind
from vllm_operator.kube.manifest import Manifest
from vllm_operator.kube.raw_objects import Raw, read_object
from vllm_operator.kube.types import Object
from vllm_operator.vllm.arguments import PORT

logger = logging.getLogger(__name__)


def render_exposure(gateway: VLLMGateway, servers: Sequence[str]) -> tuple[Manifest, ...]:
    """Return the manifests of Gateway API that the spec asks for.

    Args:
        gateway: the gateway.
        servers: names of the VLLMServers of its namespace that it serves.
    """
    return tuple(finish_child(gateway, body) for body in _bodies(gateway, servers))


def _bodies(gateway: VLLMGateway, servers: Sequence[str]) -> Iterator[dict[str, Any]]:
    exposure = gateway.spec.exposure
    if exposure is None:
        return
    if route := exposure.http_route:
        values: dict[str, Any] = {
            "name": gateway_child_name(gateway.name),
            "parents": [_parent(reference) for reference in route.parent_refs],
            "hostnames": list(route.hostnames) or None,
            "port": gateway.spec.service_port,
        }
        yield render_template("gateway/httproute", SimpleNamespace(**values))
    if pools := exposure.inference_pools:
        for server in sorted(servers):
            values = {
                "name": gateway_child_name(gateway.name, server),
                "selector": selector_labels(server),
                "port": PORT,
                "picker": pools.endpoint_picker_ref,
            }
            yield render_template("gateway/inferencepool", SimpleNamespace(**values))


def _parent(reference: ParentReference) -> dict[str, Any]:
    fields = {
        "namespace": reference.namespace,
        "sectionName": reference.section_name,
        "port": reference.port,
    }
    given = {name: value for name, value in fields.items() if value}
    return {"group": reference.group, "kind": reference.kind, "name": reference.name, **given}


class ExposureApplier:
    """Applies the objects of Gateway API of gateways.

    Args:
        client: the API client.
    """

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self._applier = GatewayApplier(client)

    async def apply(self, gateway: VLLMGateway, servers: Sequence[str]) -> Exposed | None:
        """Apply them; return how far the gateway is exposed, None where nobody asks for it.

        Raises:
            ApiError: a failure that a retry may cure.
        """
        try:
            return await self._apply_all(gateway, servers)
        except ApiError as error:
            if not error.is_refusal or error.is_namespace_terminating:
                raise
            return not_exposed([("ApplyRefused", f"the API server refused to expose the gateway: {error.message}")])

    async def _apply_all(self, gateway: VLLMGateway, servers: Sequence[str]) -> Exposed | None:
        manifests = render_exposure(gateway, servers)
        asked_before = get_condition({"status": gateway.status}, EXPOSED) is not None
        if gateway.spec.exposure is None and not asked_before:
            return None
        problems = await self._write(gateway, manifests)
        if gateway.spec.exposure is None:
            return None
        return not_exposed(problems) if problems else await self._state(gateway)

    async def _write(self, gateway: VLLMGateway, manifests: Sequence[Manifest]) -> list[tuple[str, str]]:
        """Apply and prune; return reason and message of what is missing or refused."""
        kinds = {name: kind for name, kind in EXPOSURE_KINDS.items() if await self._is_served(kind)}
        wanted = dict.fromkeys(manifest.kind for manifest in manifests)
        problems = [missing_crds(EXPOSURE_KINDS[name]) for name in wanted if name not in kinds]
        for manifest in manifests:
            if kind := kinds.get(manifest.kind):
                problems += await self._apply(gateway, kind, manifest)
        for kind in kinds.values():
            await self._prune(gateway, kind, {manifest.name for manifest in manifests if manifest.kind == kind.name})
        return problems

    async def _is_served(self, kind: Kind) -> bool:
        found = await self._client.get_path(f"/apis/{kind.api_version}")
        resources = found.get("resources") if found else None
        names = [get_str(one, "name") for one in resources] if isinstance(resources, list) else []
        return kind.plural in names

    async def _apply(self, gateway: VLLMGateway, kind: Kind, manifest: Manifest) -> list[tuple[str, str]]:
        """Apply one object; return reason and message of a refusal."""
        try:
            problem = await self._applier.apply_one(gateway, kind, manifest)
        except ApiError as error:
            if not error.is_refusal or error.is_namespace_terminating:
                raise
            return [("ApplyRefused", f"the API server refused the {manifest.kind} {manifest.name}: {error.message}")]
        return [(problem.reason, problem.message)] if problem else []

    async def _prune(self, gateway: VLLMGateway, kind: Kind, wanted: set[str]) -> None:
        selector = ",".join(f"{name}={value}" for name, value in gateway_selector_labels(gateway.name).items())

        def pack(raw: Raw) -> Object | None:
            return read_object(raw, kind)

        listing = await self._client.list(kind, gateway.namespace, selector, pack)
        for body in listing.items if listing else ():
            name = get_str(body, "metadata", "name")
            if name not in wanted and is_owned(body, gateway):
                await self._client.delete(kind, gateway.namespace, name, get_str(body, "metadata", "uid"))
                logger.info("%s: deleted %s %s, which the spec no longer asks for", gateway.key, kind.name, name)

    async def _state(self, gateway: VLLMGateway) -> Exposed:
        exposure = gateway.spec.exposure
        route: Mapping[str, Any] | None = None
        if exposure and exposure.http_route:
            name = gateway_child_name(gateway.name)
            route = await self._client.get(HTTP_ROUTE, gateway.namespace, name, cached=True) or {}
        pools = INFERENCE_POOL.name if exposure and exposure.inference_pools else ""
        parents = len(exposure.http_route.parent_refs) if exposure and exposure.http_route else 0
        return route_state(route, parents, pools)
