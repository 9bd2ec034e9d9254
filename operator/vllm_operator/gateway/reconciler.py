"""Reconcile one VLLMGateway: apply its children, write its status."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from vllm_operator.api.gateway_resource import VLLMGateway, parse_gateway
from vllm_operator.api.names import gateway_child_name
from vllm_operator.api.problem import Problem
from vllm_operator.errors import InvalidSpecError
from vllm_operator.gateway.applier import GatewayApplier
from vllm_operator.gateway.children import GatewayImages, gateway_url, render_gateway
from vllm_operator.gateway.exposure import ExposureApplier
from vllm_operator.gateway.held_reader import HeldCounts, HeldReader
from vllm_operator.gateway.keys import SecretData
from vllm_operator.gateway.models import resolve_models
from vllm_operator.gateway.observe import MAX_ENDPOINTS, Observation, is_served, observe, secrets_of
from vllm_operator.gateway.pod_secrets import pod_secrets
from vllm_operator.gateway.remote import Neighbours, RemoteServers, find_remote, missing_keys, remote_states
from vllm_operator.gateway.secret_reader import decode
from vllm_operator.gateway.snapshot import ReplicaEndpoint
from vllm_operator.gateway.spec_checks import check_spec
from vllm_operator.gateway.status import GatewayInputs, build_gateway_status, gateway_events
from vllm_operator.kube.client import ApiClient
from vllm_operator.kube.event_recorder import EventRecorder
from vllm_operator.kube.fields import get_int, get_str
from vllm_operator.kube.key import Key
from vllm_operator.kube.kinds import GATEWAY, SECRET
from vllm_operator.kube.types import Object
from vllm_operator.settings import DEFAULT_ENVOY_IMAGE
from vllm_operator.validation.secret_references import SECRET_LABEL, SECRET_LABEL_VALUE

logger = logging.getLogger(__name__)


class GatewayObjects(Neighbours, Protocol):
    """The caches that a gateway is reconciled from."""

    def gateway(self, key: Key) -> Object | None:
        """Return a VLLMGateway."""

    def servers(self, namespace: str) -> list[Object]:
        """Return the VLLMServers of a namespace."""

    def deployment(self, namespace: str, name: str) -> Object | None:
        """Return a Deployment that the operator manages."""

    def pods(self, namespace: str, name: str) -> list[Object]:
        """Return the pods of a gateway, by the name of its children."""


@dataclass(frozen=True)
class GatewayRules:
    """Limits that the install sets.

    Attributes:
        agent_image: image of the operator.
        envoy_image: image of Envoy for gateways that name none.
        labelled_secrets: refuse Secrets without the label.
        restricted_pod_template: refuse spec.podTemplate, by which the pods could get further rights.
    """

    agent_image: str
    envoy_image: str = DEFAULT_ENVOY_IMAGE
    labelled_secrets: bool = False
    restricted_pod_template: bool = False

    @property
    def images(self) -> GatewayImages:
        """Return the images of the pods of a gateway that names none."""
        return GatewayImages(self.agent_image, self.envoy_image)


class GatewayReconciler:
    """Reconciles gateways.

    Args:
        client: the API client.
        objects: the caches.
        events: records Events.
        held: asks the agents of gateways what they hold.
        rules: what the install allows.
        clock: returns the present time in UTC.
    """

    def __init__(
        self,
        client: ApiClient,
        objects: GatewayObjects,
        events: EventRecorder,
        held: HeldReader,
        rules: GatewayRules,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._client = client
        self._objects = objects
        self._events = events
        self._held = held
        self._rules = rules
        self._applier = GatewayApplier(client)
        self._exposure = ExposureApplier(client)
        self._clock = clock

    async def reconcile(self, key: Key) -> GatewayInputs | None:
        """Bring the children to what the spec asks for, and write the status; return what it was computed from.

        The result is None when the gateway does not exist.

        Raises:
            ApiError: a failure that a retry may cure.
        """
        body = self._objects.gateway(key)
        if body is None or body["metadata"].get("deletionTimestamp"):
            self._events.forget(key)
            self._held.forget(str(key))
            return None
        inputs = await self._inputs(body)
        await self._write_status(key, body, build_gateway_status(inputs), inputs.now)
        return inputs

    async def _inputs(self, body: Object) -> GatewayInputs:
        """Apply the children; return the status inputs."""
        metadata = body["metadata"]
        name = gateway_child_name(metadata["name"])
        inputs = GatewayInputs(
            name=metadata["name"],
            generation=metadata.get("generation", 0),
            previous=body.get("status") or {},
            now=self._clock(),
            deployment=self._objects.deployment(metadata["namespace"], name),
            held=await self._held_by(metadata, name),
            wanted=get_int(body, "spec", "replicas"),
        )
        try:
            gateway = parse_gateway(body)
            inputs = replace(inputs, remote=find_remote(gateway, self._objects))
            self._check(gateway)
            missing = await self._check_pod_secrets(gateway)
            servers = self._objects.servers(gateway.namespace)
            secrets, refused = await self._read_secrets(gateway.namespace, secrets_of(gateway, servers))
            observation = self._observe(gateway, servers, secrets, inputs.remote)
            resolution = resolve_models(gateway.spec, observation.snapshot.servers)
            names = [get_str(server, "metadata", "name") for server in servers if is_served(gateway.spec, server)]
            problems = await self._apply(gateway, names, secrets)
            inputs = replace(inputs, exposed=await self._exposure.apply(gateway, names))
        except InvalidSpecError as error:
            return replace(inputs, problems=(Problem(error.reason, error.message),))
        return replace(
            inputs,
            problems=problems,
            refused=(
                *missing,
                *refused,
                *inputs.remote.problems,
                *observation.problems,
                *observation.keys.problems,
                *resolution.problems,
            ),
            resolution=resolution,
            keys=len(observation.keys.keys) if gateway.spec.auth else None,
            address=gateway_url(gateway),
            wanted=gateway.spec.replicas,
        )

    async def _held_by(self, metadata: Mapping[str, Any], name: str) -> HeldCounts | None:
        pods = self._objects.pods(metadata["namespace"], name)
        return await self._held.read(f"{metadata['namespace']}/{metadata['name']}", pods)

    def _check(self, gateway: VLLMGateway) -> None:
        if self._rules.restricted_pod_template and gateway.spec.pod_template:
            raise InvalidSpecError(
                "spec.podTemplate",
                "this operator runs with --pod-template restricted, which refuses it for gateways: remove it",
                "PodTemplateForbidden",
            )
        check_spec(gateway.spec)

    async def _check_pod_secrets(self, gateway: VLLMGateway) -> tuple[str, ...]:
        """Return the Secrets of the pods that do not exist.

        Raises:
            InvalidSpecError: a Secret is not released.
        """
        references = pod_secrets(gateway.spec)
        bodies, refused = await self._read_secrets(gateway.namespace, (reference.name for reference in references))
        for reference in references:
            if reason := next((text for text in refused if f"Secret {reference.name} is" in text), None):
                raise InvalidSpecError(reference.field, reason, "SecretNotAllowed")
        return tuple(
            f"{reference.field}: the Secret {reference.name} does not exist: create it"
            for reference in references
            if bodies[reference.name] is None
        )

    async def _apply(
        self, gateway: VLLMGateway, names: list[str], secrets: Mapping[str, SecretData | None]
    ) -> tuple[Problem, ...]:
        readable = [name for name, data in secrets.items() if data is not None]
        return await self._applier.apply(gateway, render_gateway(gateway, self._rules.images, names, readable))

    async def _read_secrets(
        self, namespace: str, names: Iterable[str]
    ) -> tuple[dict[str, SecretData | None], tuple[str, ...]]:
        """Return the Secrets, and the reasons against those that may not be read."""
        found: dict[str, SecretData | None] = {}
        refused: list[str] = []
        for name in names:
            body = await self._client.get(SECRET, namespace, name, cached=True)
            label = get_str(body, "metadata", "labels", SECRET_LABEL)
            if body is not None and self._rules.labelled_secrets and label != SECRET_LABEL_VALUE:
                refused.append(f"the Secret {name} is not released: label it {SECRET_LABEL}={SECRET_LABEL_VALUE}")
                body = None
            found[name] = None if body is None else decode(body)
        return found, tuple(refused)

    def _observe(
        self,
        gateway: VLLMGateway,
        servers: list[Object],
        secrets: Mapping[str, SecretData | None],
        remote: RemoteServers,
    ) -> Observation:
        references = gateway.spec.servers.references
        found = self._with_ready(observe(gateway, servers, (), secrets), servers)
        states = remote_states(references, {"remoteServers": list(remote.rows)}, secrets)
        snapshot = replace(found.snapshot, servers=(*found.snapshot.servers, *states))
        return replace(found, snapshot=snapshot, problems=(*found.problems, *missing_keys(references, secrets)))

    @staticmethod
    def _with_ready(observation: Observation, servers: Iterable[Object]) -> Observation:
        """Return the observation with the number of healthy replicas of each server, from its status."""
        healthy = {
            get_str(one, "metadata", "name"): min(get_int(one, "status", "healthyReplicas"), MAX_ENDPOINTS)
            for one in servers
        }
        states = tuple(
            replace(
                state,
                endpoints=tuple(ReplicaEndpoint("", number) for number in range(min(healthy[state.name], 10_000))),
            )
            for state in observation.snapshot.servers
        )
        return replace(observation, snapshot=replace(observation.snapshot, servers=states))

    async def _write_status(self, key: Key, body: Object, status: dict[str, Any], now: datetime) -> None:
        previous = body.get("status") or {}
        if dict(previous) == status:
            return
        metadata = body["metadata"]
        change = {
            "apiVersion": GATEWAY.api_version,
            "kind": GATEWAY.name,
            "metadata": {name: metadata[name] for name in ("namespace", "name", "uid")},
            "status": status,
        }
        await self._client.apply(GATEWAY, change, subresource="status")
        for event_type, reason, message in gateway_events(previous, status):
            logger.info("%s: %s: %s", key, reason, message)
            await self._events.record(
                key, metadata, "Warning" if event_type == "Warning" else "Normal", reason, message, now
            )
