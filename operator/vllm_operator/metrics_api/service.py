"""Run the metrics API: certificate, server and registration, checked again every minute."""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from vllm_operator.api.names import LABEL_MANAGED_BY, MANAGER
from vllm_operator.errors import ApiError
from vllm_operator.kube.client import ApiClient
from vllm_operator.kube.fields import get_map, get_str
from vllm_operator.kube.kinds import ACCESS_REVIEW, CONFIG_MAP, SECRET
from vllm_operator.kube.types import Object
from vllm_operator.metrics_api.access import AccessReviews
from vllm_operator.metrics_api.certificates import RENEW_DAYS, ServingCertificate, expiry, issue, server_context
from vllm_operator.metrics_api.front_proxy import (
    CONFIG_NAME,
    CONFIG_NAMESPACE,
    FrontProxy,
    FrontProxyError,
    read_front_proxy,
)
from vllm_operator.metrics_api.readings import LoadReader
from vllm_operator.metrics_api.registration import MetricsService, Registration, registration_failure
from vllm_operator.metrics_api.server import MetricsServer
from vllm_operator.status.metrics_api_state import STARTING, WAYS_OUT, MetricsApiState

REFRESH_SECONDS = 60.0
"""Seconds between two checks of certificate, front proxy and registration."""
OTHER_SECONDS = 10.0
"""Seconds between two checks whether something that only a person ends has gone."""
ENDED_BY_A_PERSON = {"OtherMetricsAdapter", "MetricsAPIForbidden", "NoFrontProxy"}
"""Reasons that last until a person removes another adapter, gives a right, or configures the API server."""
RETRY_SECONDS = 2.0
"""Seconds between two checks until the API is served."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class MetricsApiOptions:
    """Where the metrics API is served.

    Attributes:
        host: address to listen on; None for all.
        port: port to listen on.
        service: the Service in front of it.
    """

    host: str | None
    port: int
    service: MetricsService


class MetricsApi:
    """The metrics API of one replica of the operator. Each replica answers; the leader registers it.

    Args:
        client: the API client, which writes only while this process leads.
        reviewer: an API client that may create access reviews at any time.
        reader: reads the load of the replicas.
        options: where it is served.
        may_write: returns whether this process leads.
        on_change: called when the state has changed; must not block.

    Attributes:
        state: whether the API is served.
    """

    def __init__(
        self,
        client: ApiClient,
        reviewer: ApiClient,
        reader: LoadReader,
        options: MetricsApiOptions,
        may_write: Callable[[], bool],
        on_change: Callable[[], None],
    ) -> None:
        self._client = client
        self._options = options
        self._may_write = may_write
        self._on_change = on_change
        self._registration = Registration(client, options.service)

        async def review(body: dict[str, Any]) -> Object:
            return await reviewer.create(ACCESS_REVIEW, "", body)

        self._server = MetricsServer(reader, AccessReviews(review))
        self._served: tuple[ServingCertificate, FrontProxy] | None = None
        self.state = STARTING

    @property
    def port(self) -> int:
        """The port that it listens on; 0 before it does."""
        return self._server.port

    async def run(self) -> None:
        """Serve until cancelled. A failure is reported in the state and tried again; it never ends the process."""
        try:
            while True:
                self._report(await self._try_to_refresh())
                await asyncio.sleep(self._pause())
        finally:
            await self._server.close()

    def _pause(self) -> float:
        """Return the seconds until the next check."""
        if self.state.reason in ENDED_BY_A_PERSON:
            return OTHER_SECONDS
        waits_for_a_leader = not self._may_write() and self._served is not None
        return REFRESH_SECONDS if self.state.is_served or waits_for_a_leader else RETRY_SECONDS

    def _report(self, state: MetricsApiState) -> None:
        if state == self.state:
            return
        self.state = state
        (logger.info if state.is_served else logger.warning)("metrics API: %s", state.message or state.reason)
        self._on_change()

    async def _try_to_refresh(self) -> MetricsApiState:
        try:
            return await self._refresh()
        except ApiError as error:
            return registration_failure(error)
        except FrontProxyError as error:
            return MetricsApiState("NoFrontProxy", f"{error}; {WAYS_OUT}")
        except (OSError, ValueError) as error:
            return MetricsApiState("MetricsAPIFailed", f"the metrics API is not served: {error}; it is tried again")

    async def _refresh(self) -> MetricsApiState:
        """Bring certificate, server and registration up to date."""
        config = await self._client.get(CONFIG_MAP, CONFIG_NAMESPACE, CONFIG_NAME)
        proxy = read_front_proxy(config)
        serving = await self._certificate()
        if serving is None:
            return self.state
        if self._served is None:
            await self._serve(serving, proxy)
        state = self.state
        if self._may_write():
            bundle = base64.b64encode(serving.authorities.encode()).decode()
            state = await self._registration.sync(bundle)
        # The API server trusts the new authority before the new certificate is served.
        if self._served != (serving, proxy):
            await self._serve(serving, proxy)
        return state

    async def _serve(self, serving: ServingCertificate, proxy: FrontProxy) -> None:
        context = server_context(serving, proxy.ca)
        await self._server.serve(self._options.host, self._options.port, context, proxy)
        self._served = serving, proxy

    async def _certificate(self) -> ServingCertificate | None:
        """Return the shared certificate; the leader issues one that is missing, unusable or about to end."""
        service = self._options.service
        live = await self._client.get(SECRET, service.namespace, service.secret)
        known, now = read_secret(live), datetime.now(UTC)
        try:
            if known is not None and expiry(known, service.host) > now + timedelta(days=RENEW_DAYS):
                return known
        except ValueError as error:
            logger.warning("metrics API: the certificate in Secret %s is not used: %s", service.secret, error)
            known = None
        if not self._may_write():
            return known
        issued = issue(service.host, now, known.authorities if known else "")
        body = secret_body(service, issued)
        if live is None:
            await self._client.create(SECRET, service.namespace, body)
        else:
            body["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"]
            await self._client.replace(SECRET, body)
        return issued


def read_secret(live: Object | None) -> ServingCertificate | None:
    """Return the certificate of a Secret; None where a part is missing or no text."""
    data = get_map(live, "data")
    try:
        parts = [base64.b64decode(get_str(data, key), validate=True).decode() for key in _KEYS]
    except (binascii.Error, UnicodeDecodeError):
        return None
    return ServingCertificate(*parts) if all(parts) else None


_KEYS = ("tls.crt", "tls.key", "ca.crt")


def secret_body(service: MetricsService, serving: ServingCertificate) -> dict[str, Any]:
    """Return the Secret that the replicas of the operator share."""
    values = (serving.certificate, serving.key, serving.authorities)
    return {
        "apiVersion": SECRET.api_version,
        "kind": SECRET.name,
        "metadata": {
            "name": service.secret,
            "namespace": service.namespace,
            "labels": {LABEL_MANAGED_BY: MANAGER},
        },
        "type": "kubernetes.io/tls",
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in zip(_KEYS, values, strict=True)},
    }
