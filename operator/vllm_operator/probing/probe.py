"""The requests of one probe, and the health that their answers show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from vllm_operator.probing.connections import ReplicaSession
from vllm_operator.probing.health import ReplicaHealth
from vllm_operator.probing.http import AnswerTooLongError, ProbeError, ReplicaClient, UnexpectedStatusError
from vllm_operator.probing.responses import (
    MAX_MODELS,
    MAX_NAME_LENGTH,
    METRICS_LIMIT,
    MODELS_LIMIT,
    SMALL_LIMIT,
    Models,
    ReplicaCapacity,
    parse_capacity,
    parse_models,
    parse_version,
)

TIMEOUT_SECONDS = 10.0
"""Timeout of each answer, in seconds: a busy engine answers slowly and must not be reported as silent."""

_NOT_PROBED = ReplicaHealth()


async def probe(
    session: ReplicaSession,
    base_url: str,
    served_names: tuple[str, ...],
    api_key: str | None,
    known: ReplicaHealth | None = None,
    *,
    refresh: bool = False,
    on_metrics: Callable[[bytes], None] | None = None,
    timeout: float = TIMEOUT_SECONDS,  # noqa: ASYNC109
    namespace: str = "",
) -> ReplicaHealth:
    """Probe a replica and return its health; every failure is a result, and none is raised.

    Each probe requests `/health` and `/v1/models`. The version and the capacity (50 KB of `/metrics`) cannot change
    while a replica serves: they are copied from `known` when that is healthy, unless `refresh` is set.

    Args:
        session: see `new_session`.
        base_url: such as `http://10.1.2.3:8000`, without a slash at the end.
        served_names: names that `/v1/models` must list.
        api_key: sent as a bearer token, except to `/health`, `/version` and `/metrics`, which need none.
        known: the result of the probe before.
        refresh: request version and capacity in any case.
        on_metrics: receives the body of `/metrics`, which is then requested in place of `/health`: an answer of either
            shows that the API server lives.
        timeout: seconds for each answer.
        namespace: the namespace of the replica, which shares the memory for answers with others.
    """
    before = known or _NOT_PROBED
    client = ReplicaClient(session, base_url, timeout, namespace=namespace)
    try:
        await _check_alive(client, on_metrics)
        models = await _list_models(client, api_key)
    except ProbeError as error:
        return replace(before, reason=error.reason, message=error.message)
    health = _health_of(models, served_names, before)
    if health.is_healthy and (refresh or not before.is_healthy):
        return await _with_version_and_capacity(client, health)
    return health


async def _check_alive(client: ReplicaClient, on_metrics: Callable[[bytes], None] | None) -> None:
    if on_metrics is not None:
        try:
            on_metrics(await client.get("/metrics", METRICS_LIMIT))
            return
        except (UnexpectedStatusError, AnswerTooLongError):
            pass  # a server without metrics, or with more than are read, may be healthy
        except ProbeError as error:
            if error.reason == "HTTPError":
                raise
            # With the path of the next probe, /health: a status must not change with the path of the request.
            raise ProbeError(error.reason, error.message.replace("/metrics", "/health", 1)) from None
    await client.get("/health", SMALL_LIMIT)


async def _list_models(client: ReplicaClient, api_key: str | None) -> Models:
    try:
        authorized = replace(client, headers=authorization(api_key)) if api_key else client
        body = await authorized.get("/v1/models", MODELS_LIMIT)
    except UnexpectedStatusError as error:
        if error.reason == "Unauthorized":
            raise ProbeError("Unauthorized", f"{error.message}: {_key_remedy(api_key)}") from None
        raise
    models = parse_models(body)
    if models is None:
        raise ProbeError("HTTPError", "/v1/models answered with something that is no list of models")
    return models


def authorization(api_key: str | None) -> dict[str, str]:
    """Return the header that carries the API key; no header without a key.

    Raises:
        ProbeError: the key holds characters that no header can carry.
    """
    if not api_key:
        return {}
    if not (api_key.isascii() and api_key.isprintable()):
        remedy = "a line break at the end of the Secret's value is the usual cause"
        raise ProbeError("Unauthorized", f"the API key holds characters that no HTTP header carries: {remedy}")
    return {"authorization": f"Bearer {api_key}"}


def _key_remedy(api_key: str | None) -> str:
    if api_key:
        return "the key of security.apiKeySecretRef is not the one that this replica was started with"
    return "set security.apiKeySecretRef to the Secret that holds the API key of the replicas"


def _health_of(models: Models, served_names: tuple[str, ...], before: ReplicaHealth) -> ReplicaHealth:
    """Return `Serving` when every expected name is listed, with the longest context of the first name that has one."""
    listed_names = set(models.names)
    missing = [name for name in served_names if name not in listed_names]
    kept = [name for name in models.names if len(name) <= MAX_NAME_LENGTH]
    lengths = (models.max_model_lens.get(name) for name in served_names or models.names)
    health = replace(
        before,
        reason="Serving",
        message="",
        served_models=tuple(kept[:MAX_MODELS]),
        max_model_len=next(filter(None, lengths), None),
    )
    if not missing:
        return health
    listed = ", ".join(kept[:8]) or "nothing"
    message = " ".join(f"/v1/models lacks {', '.join(missing[:8])}; it lists {listed}".split())
    return replace(health, reason="ModelNotServed", message=message[:1024])


async def _with_version_and_capacity(client: ReplicaClient, health: ReplicaHealth) -> ReplicaHealth:
    """Add version and capacity to `health`; a replica without them serves nevertheless."""
    version, capacity = health.version, ReplicaCapacity(health.kv_cache_tokens, health.concurrency)
    try:
        version = parse_version(await client.get("/version", SMALL_LIMIT))
        capacity = parse_capacity(await client.get("/metrics", METRICS_LIMIT))
    except ProbeError:
        pass
    return replace(health, version=version, kv_cache_tokens=capacity.kv_cache_tokens, concurrency=capacity.concurrency)
