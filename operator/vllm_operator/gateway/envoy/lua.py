"""The configuration of the Lua filter: who may do what, and which cluster answers."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from vllm_operator.api.gateway_access import Jwt, Limit
from vllm_operator.gateway.models import ModelRoute, ModelTarget, Resolution
from vllm_operator.gateway.snapshot import GatewaySnapshot

PATHS = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/responses",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/v1/embeddings",
    "/v1/rerank",
    "/v2/rerank",
    "/rerank",
    "/v1/score",
    "/score",
    "/classify",
    "/pooling",
    "/tokenize",
    "/detokenize",
    "/v1/audio/transcriptions",
    "/v1/audio/translations",
)
"""Paths of vLLM that are served, each with a body that names its model. All others are closed, such as /invocations,
/metrics and /load_lora_adapter, which vLLM leaves open without a key."""


@functools.cache
def lua_source() -> str:
    """Return the program of the filter."""
    return Path(__file__).with_name("gateway.lua").read_text()


def lua_program(snapshot: GatewaySnapshot, resolution: Resolution) -> str:
    """Return the program with its configuration in front."""
    return f"local config = {to_lua(lua_config(snapshot, resolution))}\n{lua_source()}"


def lua_config(snapshot: GatewaySnapshot, resolution: Resolution) -> dict[str, Any]:
    """Return the table `config` of the program."""
    spec = snapshot.spec
    return {
        "auth": spec.auth is not None,
        "keys": {key.digest: _key(key.id, key.models, key.expires) for key in snapshot.keys},
        "names": list(resolution.models),
        "models": {name: _model(model) for name, model in resolution.models.items()},
        "created": snapshot.created,
        "paths": dict.fromkeys(PATHS, True),
        "session_header": spec.session_header,
        "max_body": spec.max_body_bytes,
        "bodies": _bodies(spec.limits),
        "limited": _rules(limit for limit in spec.limits if is_counted(limit)),
        "metered": _rules(limit for limit in spec.limits if limit.tokens_per_minute is not None),
        "audit": spec.audit is not None,
        "holds": spec.holding.timeout_seconds > 0,
        **({"jwt": _jwt(spec.auth.jwt)} if spec.auth and spec.auth.jwt else {}),
    }


def is_counted(limit: Limit) -> bool:
    """Return whether the agent counts for a limit."""
    counts = (limit.requests_per_minute, limit.tokens_per_minute, limit.concurrent)
    return any(count is not None for count in counts)


def _jwt(jwt: Jwt) -> dict[str, Any]:
    return {"id": jwt.id_claim, **({"models": jwt.models_claim} if jwt.models_claim else {})}


def _key(identity: str, models: Iterable[str], expires: int | None) -> dict[str, Any]:
    result: dict[str, Any] = {"id": identity}
    if allowed := dict.fromkeys(models, True):
        result["models"] = allowed
    if expires is not None:
        result["expires"] = expires
    return result


def _model(model: ModelRoute) -> dict[str, Any]:
    result: dict[str, Any] = {
        "routing": model.routing[0],
        "targets": [_target(target) for target in model.targets],
        "total": sum(target.weight for target in model.targets),
    }
    if model.versions:
        result["versions"] = [_target(target) for target in model.versions]
    if model.mirror:
        result["mirror"] = {"cluster": model.mirror[0], "percent": model.mirror[1]}
    return result


def _target(target: ModelTarget) -> dict[str, Any]:
    result: dict[str, Any] = {"cluster": target.cluster, "weight": target.weight}
    if target.model:
        # With its quotes, as it is written into the body; and plain, for a form.
        result |= {"model": json.dumps(target.model), "plain": target.model}
    if target.api_key:
        result["authorization"] = f"Bearer {target.api_key}"
    if target.header:
        result["header"], result["value"] = target.header
    return result


def _bodies(limits: Iterable[Limit]) -> dict[str, list[dict[str, Any]]]:
    result: dict[str, list[dict[str, Any]]] = {}
    for limit in limits:
        if limit.max_body_bytes is not None:
            result.setdefault(limit.key, []).append({"model": limit.model, "bytes": limit.max_body_bytes})
    return result


def _rules(limits: Iterable[Limit]) -> dict[str, dict[str, bool]]:
    result: dict[str, dict[str, bool]] = {}
    for limit in limits:
        result.setdefault(limit.key, {})[limit.model] = True
    return result


def to_lua(value: Any) -> str:
    """Return a value as an expression of Lua."""
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return quote_lua(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"[{quote_lua(key)}]={to_lua(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "{" + ",".join(to_lua(item) for item in value) + "}"
    raise TypeError(f"no Lua for {type(value).__name__}")


def quote_lua(text: str) -> str:
    """Return a string of Lua in which every byte but letters, digits and a few signs is escaped."""
    safe = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:@ ")
    return '"' + "".join(chr(byte) if byte in safe else f"\\{byte:03d}" for byte in text.encode()) + '"'
