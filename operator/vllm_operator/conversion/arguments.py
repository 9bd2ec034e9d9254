"""Convert the arguments of vLLM into `spec.model`, `spec.engine` and their neighbours."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError

from vllm_operator.api.engine import Engine, flag_fields
from vllm_operator.conversion.result import Draft, shown
from vllm_operator.vllm.arguments import DRAIN_FLAG, HOST_FLAG, NEGATABLE, PORT
from vllm_operator.vllm.cli_parser import Argument, CliParser
from vllm_operator.vllm.expansion import expand, references
from vllm_operator.vllm.releases import load_release, release_numbers
from vllm_operator.vllm.removed_flags import REPLACEMENTS

SECRET_FLAGS = {
    "--api-key": ("security.apiKeySecretRef", "the key stands in the arguments: put it in a Secret, and name it there"),
    "--hf-token": ("model.tokenSecretRef", "the token stands in the arguments: put it in a Secret, and name it there"),
}
"""Flags with secrets, which are neither copied nor shown."""

DROPPED = {
    "--port": f"vLLM listens on port {PORT}; service.port sets the port of the Service",
    HOST_FLAG: "vLLM listens on all addresses",
    "--ssl-keyfile": "terminate TLS in front of the Service: probes use plain HTTP",
    "--ssl-certfile": "terminate TLS in front of the Service: probes use plain HTTP",
    "--ssl-ca-certs": "terminate TLS in front of the Service: probes use plain HTTP",
    "--uds": "probes and the Service need a port",
    "--root-path": "the Service serves the root path",
}
"""Flags that the operator sets itself."""

HARMLESS = {HOST_FLAG: frozenset({"0.0.0.0", "::"}), "--port": frozenset({str(PORT)})}
"""Values that the operator's own setting equals, so that nothing is lost."""

NO_EFFECT = frozenset({"--disable-log-requests", "--use-v2-block-manager", "--disable-frontend-multiprocessing"})
"""Removed flags that asked for what vLLM does today anyhow. Others are dropped only where the source names no image, so
that the default image of the operator runs."""


@functools.cache
def _parser() -> CliParser:
    return CliParser(load_release(release_numbers()[-1]).flags)


@functools.cache
def _field_types() -> Mapping[str, tuple[str, TypeAdapter[Any]]]:
    """Map each flag to the name of its field in the manifest and its type."""
    result = {}
    for name, flag in flag_fields().items():
        field = Engine.model_fields[name]
        result[flag] = (field.alias or name, TypeAdapter[Any](field.annotation or str))
    return result


def convert_arguments(arguments: Sequence[str], variables: Mapping[str, str], draft: Draft) -> str | None:
    """Add the arguments of vLLM to a draft, and return the model that they name; None if they name none.

    Args:
        arguments: arguments after `vllm serve`.
        variables: variables with plain values, which replace `$(NAME)`.
        draft: receives the fields, and what is lost.
    """
    model: str | None = None
    extra: list[str] = []
    for argument in _parser().parse(arguments):
        name = argument.flag.name if argument.flag else argument.written
        value = expand(argument.values[-1], variables) if argument.values else None
        if not argument.written:
            model = model or value
        elif name == "--model":
            model = value
        elif not _take(name, argument, value, variables, draft):
            extra += _as_written(argument, arguments)
    draft.set("engine.extraArgs", [*(draft.get("engine.extraArgs") or []), *extra])
    return model


def _take(name: str, argument: Argument, value: str | None, variables: Mapping[str, str], draft: Draft) -> bool:
    """Add one flag to a draft; return False if it has to be an extra argument."""
    if _drop(name, argument, value, draft):
        return True
    if argument.key or _is_secret(argument, variables):
        return False
    if name == "--served-model-name":
        draft.set("model.servedNames", [expand(item, variables) for item in argument.values])
        return True
    if name == "--revision":
        draft.set("model.revision", value)
        return True
    if name == DRAIN_FLAG and value is not None and value.isdigit():
        draft.set("rollout.drainTimeoutSeconds", int(value))
        return True
    return _take_typed(name, argument, value, draft)


def _drop(name: str, argument: Argument, value: str | None, draft: Draft) -> bool:
    """Leave out a flag that no VLLMServer may have, and note it where something is lost."""
    written = argument.written
    if name in SECRET_FLAGS:
        field, message = SECRET_FLAGS[name]
        draft.lose(f"argument {name}", f"{message}: spec.{field}")
        return True
    if name in DROPPED:
        if value not in HARMLESS.get(name, ()):
            draft.lose(f"argument {name}", DROPPED[name])
        return True
    # The newest parser knows some removed flags as the opposite of another one.
    if written in NO_EFFECT or (argument.flag is None and name in REPLACEMENTS and draft.get("image") is None):
        draft.lose(f"argument {written}", f"vLLM no longer has it: {REPLACEMENTS[written]}")
        return True
    return False


def _take_typed(name: str, argument: Argument, value: str | None, draft: Draft) -> bool:
    if name not in _field_types():
        return False
    field, kind = _field_types()[name]
    if argument.negated and name not in NEGATABLE:
        return False
    try:
        parsed = not argument.negated if value is None else _parsed(value, kind)
        kind.validate_python(parsed)
    except (ValidationError, ValueError):
        return False
    draft.set(f"engine.{field}", parsed)
    return parsed is not False or draft.get(f"engine.{field}") is False


def _parsed(value: str, kind: TypeAdapter[Any]) -> Any:
    """Return a value as its field has it: a number, a JSON object or a text."""
    if value.lstrip().startswith("{"):
        return json.loads(value) if _takes(kind, {}) else value
    for number in (int, float):
        try:
            parsed = number(value)
        except ValueError:
            continue
        if _takes(kind, parsed) and not _takes(kind, "text"):
            return parsed
    if value.lower() in {"true", "false"} and _takes(kind, True) and not _takes(kind, "text"):
        return value.lower() == "true"
    return value


def _takes(kind: TypeAdapter[Any], value: Any) -> bool:
    try:
        kind.validate_python(value, strict=True)
    except ValidationError:
        return False
    return True


def _is_secret(argument: Argument, variables: Mapping[str, str]) -> bool:
    """Return whether a value refers to a variable without a plain value: only the kubelet can replace it."""
    return any(name not in variables for value in argument.values for name in references(value))


def _as_written(argument: Argument, arguments: Sequence[str]) -> list[str]:
    """Return the items of one argument; a value is bound by an equals sign, so that no item stands alone."""
    written = arguments[argument.position]
    if argument.bound or not argument.values:
        return [written]
    if len(argument.values) == 1:
        return [f"{written}={argument.values[0]}"]
    return [written, *argument.values]


def describe(arguments: Sequence[str]) -> str:
    """Return a command line for messages; values of secrets are left out."""
    words = []
    hidden = False
    for word in arguments:
        words.append("***" if hidden else word)
        hidden = word in SECRET_FLAGS
        if word.partition("=")[0] in SECRET_FLAGS and "=" in word:
            words[-1] = f"{word.partition('=')[0]}=***"
    return shown(" ".join(words))
