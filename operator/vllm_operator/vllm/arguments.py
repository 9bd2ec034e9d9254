"""The arguments of vLLM's API server, and the settings that they amount to."""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass
from typing import Any

from vllm_operator.api.engine import Engine, flag_fields, set_flags
from vllm_operator.api.names import kebab_case
from vllm_operator.api.spec import Spec
from vllm_operator.errors import InvalidSpecError
from vllm_operator.vllm.flags import Flag, read_flags
from vllm_operator.vllm.known_release import known_release, nearest_release
from vllm_operator.vllm.model_source import ResolvedModel
from vllm_operator.vllm.tracing import trace_arguments
from vllm_operator.vllm.version import vllm_version

PORT = 8000
"""Port of vLLM in its container: vLLM's own default."""


API_KEY = "VLLM_API_KEY"
"""Name of the variable with the key that clients must send."""

HF_TOKEN = "HF_TOKEN"
"""Name of the variable with the token for the Hugging Face Hub."""

NEGATABLE = frozenset({"--enable-prefix-caching", "--enable-chunked-prefill"})
"""Switches that vLLM turns on by default, so that false needs an argument."""

DRAIN_FLAG = "--shutdown-timeout"
"""Flag with the seconds in which running requests may end after SIGTERM."""

HOST_FLAG = "--host"
ALL_ADDRESSES = frozenset({"::", "0:0:0:0:0:0:0:0", "0.0.0.0"})
"""Values of `--host` that listen on all addresses: of IPv6 and IPv4, or of IPv4 alone, vLLM's default."""

OPERATOR_FLAGS = {
    "--model": "use spec.model.uri",
    HOST_FLAG: "vLLM must listen on all addresses of its pod, since probes and the Service use them: remove it, or "
    "write --host=:: for pods with IPv6 addresses (0.0.0.0 is IPv4 alone)",
    "--headless": "remove it: without its API server vLLM cannot serve",
    "--grpc": "remove it: probes and the Service use HTTP",
    "--port": f"remove it: vLLM listens on port {PORT}; spec.service.port sets the port of the Service",
    "--uds": "remove it: probes and the Service need a port",
    "--api-key": "use spec.security.apiKeySecretRef, which keeps the key out of the manifest",
    "--hf-token": "use spec.model.tokenSecretRef, which keeps the token out of the manifest",
    DRAIN_FLAG: "use spec.rollout.drainTimeoutSeconds, which the grace period follows",
    "--ssl-certfile": "terminate TLS in front of the Service: probes use plain HTTP",
    "--ssl-keyfile": "terminate TLS in front of the Service: probes use plain HTTP",
}
"""Flag -> what to do instead, for flags that the operator sets or that would hide vLLM from it."""

COUNT_FLAGS = ("--tensor-parallel-size", "--pipeline-parallel-size", "--data-parallel-size", "--max-num-seqs")
"""Flags with a number that other decisions need."""

_WHOLE_NUMBER = re.compile(r"0*[1-9][0-9]{0,8}")

MODEL_FLAGS = {"--served-model-name": "served_names", "--revision": "revision"}
"""Flag -> field of `spec.model` that sets it."""


@dataclass(frozen=True)
class EngineValues:
    """Settings of the engine that other decisions need, from a typed field or from extraArgs; None when unset."""

    tensor_parallel_size: int
    pipeline_parallel_size: int
    data_parallel_size: int
    max_num_seqs: int | None
    served_names: tuple[str, ...] | None


@functools.cache
def completable_flags() -> tuple[str, ...]:
    """Return the flags that a prefix may stand for: those of fields, of the model, and of the operator."""
    return (*flag_fields().values(), *MODEL_FLAGS, *OPERATOR_FLAGS)


def extra_flags(spec: Spec) -> tuple[Flag, ...]:
    """Return the flags in extraArgs; prefixes are completed among all flags of the server's vLLM, if it is known."""
    if not spec.engine.extra_args:
        return ()
    release = known_release(spec)
    names = {*completable_flags(), *release.flags} if release and release.measured else completable_flags()
    return read_flags(spec.engine.extra_args, names)


def engine_values(spec: Spec) -> EngineValues:
    """Return the settings that apply, from fields and from extraArgs.

    Raises:
        InvalidSpecError: a number in extraArgs is not a whole number above 0.
    """
    flags = {flag.name: flag for flag in extra_flags(spec)}
    engine = spec.engine
    tensor, pipeline, data, sequences = (_whole_number(flags, name) for name in COUNT_FLAGS)
    served = flags.get("--served-model-name")
    return EngineValues(
        tensor_parallel_size=engine.tensor_parallel_size or tensor or 1,
        pipeline_parallel_size=engine.pipeline_parallel_size or pipeline or 1,
        data_parallel_size=engine.data_parallel_size or data or 1,
        max_num_seqs=engine.max_num_seqs or sequences,
        served_names=served.values if served and served.values else None,
    )


def _whole_number(flags: dict[str, Flag], name: str) -> int | None:
    flag = flags.get(name)
    if flag is None:
        return None
    if flag.value is None or not _WHOLE_NUMBER.fullmatch(flag.value):
        raise InvalidSpecError(
            f"spec.engine.extraArgs[{flag.position}]", f"{name} needs a whole number above 0, not {flag.value!r}"
        )
    return int(flag.value)


def container_arguments(spec: Spec, model: ResolvedModel) -> tuple[str, ...]:
    """Return the arguments of the container in a stable order.

    They are model, names, fields, tracing, drain timeout and extraArgs.
    """
    result = _pair("--model", model.argument)
    if spec.model.revision:
        result += _pair("--revision", spec.model.revision)
    if engine_values(spec).served_names is None:
        first, *more = model.served_names
        result += [*_pair("--served-model-name", first), *map(escape_variables, more)]
    for flag, value in set_flags(spec.engine).items():
        result += field_arguments(flag, value)
    result += trace_arguments(spec)
    if supports_drain(spec):
        result += [DRAIN_FLAG, str(spec.rollout.drain_timeout_seconds)]
    return (*result, *spec.engine.extra_args)


def supports_drain(spec: Spec) -> bool:
    """Return whether the server's vLLM is known to have --shutdown-timeout: an older one would crash on it."""
    version = vllm_version(spec)
    return version is not None and DRAIN_FLAG in nearest_release(version).flags


def field_arguments(flag: str, value: Any) -> list[str]:
    """Return the arguments of a typed field; none for false where that is vLLM's default."""
    if value is True:
        return [flag]
    if value is False:
        return [f"--no-{flag.removeprefix('--')}"] if flag in NEGATABLE else []
    if isinstance(value, dict):
        return _pair(flag, json.dumps(value, sort_keys=True, separators=(",", ":")))
    return _pair(flag, f"{value:g}" if isinstance(value, float) else str(value))


def _pair(flag: str, value: str) -> list[str]:
    # argparse reads a value with a leading dash as a flag, unless an equals sign binds it.
    return [f"{flag}={escape_variables(value)}"] if value.startswith("-") else [flag, escape_variables(value)]


def escape_variables(value: str) -> str:
    """Return a value that the kubelet passes on unchanged: it replaces `$(NAME)` by a variable, and `$$` by `$`."""
    return value.replace("$", "$$")


def unescape_variables(argument: str) -> str:
    """Return an argument of a running container as vLLM reads it, apart from variables."""
    return argument.replace("$$", "$")


@functools.cache
def field_of_flag(flag: str) -> str:
    """Return the path of the field that sets `flag`, for messages."""
    if flag in MODEL_FLAGS:
        return f"spec.model.{'servedNames' if MODEL_FLAGS[flag] == 'served_names' else 'revision'}"
    return next(
        f"spec.engine.{alias}"
        for name, field in Engine.model_fields.items()
        if (alias := field.alias or name) and f"--{kebab_case(alias)}" == flag
    )
