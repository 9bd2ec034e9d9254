"""One look at one replica."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import aiohttp

from vllm_operator.probing.health import ReplicaHealth
from vllm_operator.probing.http import ProbeError, ReplicaEndpoint
from vllm_operator.probing.responses import (
    MAX_MODELS,
    METRICS_LIMIT,
    Models,
    ReplicaCapacity,
    parsed_capacity,
    parsed_models,
    parsed_version,
)

TIMEOUT_SECONDS = 10.0
"""For each answer: a busy engine answers slowly and must not be called dead."""

_SMALL = 1024 * 1024
_UNASKED = ReplicaHealth()


async def probe(
    client: aiohttp.ClientSession,
    base_url: str,
    served_names: tuple[str, ...],
    api_key: str | None,
    known: ReplicaHealth | None = None,
    *,
    refresh: bool = False,
    numbers: Callable[[bytes], None] | None = None,
    timeout: float = TIMEOUT_SECONDS,  # noqa: ASYNC109
) -> ReplicaHealth:
    """Ask a replica how it is; every failure is an answer, none is raised.

    `/health` and `/v1/models` are asked each time. What cannot change while a replica serves, its `/version` and the
    capacity in its `/metrics` (50 KB), is taken over from `known` when that was healthy, unless `refresh` is set.

    Args:
        client: see `replica_client`.
        base_url: such as `http://10.1.2.3:8000`, without a slash at the end.
        served_names: names that `/v1/models` must list.
        api_key: sent as a bearer token, except to `/health`, `/version` and `/metrics`, which need none.
        known: what the replica answered before.
        numbers: takes `/metrics`, which is then asked for instead of `/health`: that it answers says as much.
        timeout: seconds for each answer.
    """
    before = known or _UNASKED
    replica = ReplicaEndpoint(client, base_url, timeout)
    try:
        await _alive(replica, numbers)
        models = await _models(replica, api_key)
    except ProbeError as error:
        return replace(before, reason=error.reason, message=error.message)
    health = _listed(before, models, served_names)
    if health.healthy and (refresh or not before.healthy):
        return await _with_facts(replica, health)
    return health


async def _alive(replica: ReplicaEndpoint, numbers: Callable[[bytes], None] | None) -> None:
    if numbers is not None:
        try:
            numbers(await replica.get("/metrics", METRICS_LIMIT))
            return
        except ProbeError as error:
            if error.status is None:
                # In the words of the next probe, which asks /health: a status must not change with what was asked.
                silent = error.reason != "HTTPError"
                words = error.message.replace("/metrics", "/health", 1) if silent else error.message
                raise ProbeError(error.reason, words) from None
    await replica.get("/health", _SMALL)


async def _models(replica: ReplicaEndpoint, api_key: str | None) -> Models:
    try:
        asked = replace(replica, headers=authorization(api_key)) if api_key else replica
        body = await asked.get("/v1/models", _SMALL)
    except ProbeError as error:
        if error.reason == "Unauthorized":
            raise ProbeError("Unauthorized", f"{error.message}: {_key_advice(api_key)}") from None
        raise
    models = parsed_models(body)
    if models is None:
        raise ProbeError("HTTPError", "/v1/models answered with something that is no list of models")
    return models


def authorization(api_key: str | None) -> dict[str, str]:
    """The header that carries the key.

    Raises:
        ProbeError: no header can.
    """
    if not api_key:
        return {}
    if not (api_key.isascii() and api_key.isprintable()):
        advice = "a line break at the end of the Secret's value is the usual cause"
        raise ProbeError("Unauthorized", f"the API key holds characters that no HTTP header carries: {advice}")
    return {"authorization": f"Bearer {api_key}"}


def _key_advice(api_key: str | None) -> str:
    if api_key:
        return "the key of security.apiKeySecretRef is not the one that this replica was started with"
    return "set security.apiKeySecretRef to the Secret that holds the API key of the replicas"


def _listed(before: ReplicaHealth, models: Models, served_names: tuple[str, ...]) -> ReplicaHealth:
    """Healthy when every wanted name is listed; the longest context is that of the first wanted name that tells it."""
    missing = [name for name in served_names if name not in models.names]
    lengths = (models.max_model_lens.get(name) for name in served_names or models.names)
    health = replace(
        before,
        reason="Serving",
        message="",
        served_models=models.names[:MAX_MODELS],
        max_model_len=next(filter(None, lengths), None),
    )
    if not missing:
        return health
    listed = ", ".join(models.names[:8]) or "nothing"
    words = " ".join(f"/v1/models lacks {', '.join(missing[:8])}; it lists {listed}".split())
    return replace(health, reason="ModelNotServed", message=words[:1024])


async def _with_facts(replica: ReplicaEndpoint, health: ReplicaHealth) -> ReplicaHealth:
    """`health` with version and capacity; a replica that does not tell them serves all the same."""
    version, capacity = health.version, ReplicaCapacity(health.kv_cache_tokens, health.concurrency)
    try:
        version = parsed_version(await replica.get("/version", _SMALL))
        capacity = parsed_capacity(await replica.get("/metrics", METRICS_LIMIT))
    except ProbeError:
        pass
    return replace(health, version=version, kv_cache_tokens=capacity.kv_cache_tokens, concurrency=capacity.concurrency)
