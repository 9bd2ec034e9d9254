"""The arguments of the vLLM server, and what they amount to wherever they were written."""

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
from vllm_operator.vllm.version import vllm_version

PORT = 8000
"""Port of the vLLM server in its container: vLLM's own default."""


API_KEY = "VLLM_API_KEY"
"""Variable with the key that clients must send."""

HF_TOKEN = "HF_TOKEN"
"""Variable with the token for the model hub."""

NEGATABLE = frozenset({"--enable-prefix-caching", "--enable-chunked-prefill"})
"""Switches that vLLM turns on by itself, so that false must be said aloud."""

DRAIN_FLAG = "--shutdown-timeout"
"""Seconds in which running requests may end once the server was told to stop."""

OPERATOR_FLAGS = {
    "--model": "use spec.model.uri",
    "--host": "remove it: the server listens on all addresses of its pod",
    "--headless": "remove it: without an API server nothing could be served",
    "--grpc": "remove it: probes and the Service speak HTTP",
    "--port": f"remove it: the server listens on port {PORT}, and spec.service.port is free to choose",
    "--uds": "remove it: probes and the Service need a port",
    "--api-key": "use spec.security.apiKeySecretRef, which keeps the key out of the manifest",
    "--hf-token": "use spec.model.tokenSecretRef, which keeps the token out of the manifest",
    DRAIN_FLAG: "use spec.rollout.drainTimeoutSeconds, which the grace period follows",
    "--ssl-certfile": "end TLS in front of the Service: probes speak plain HTTP",
    "--ssl-keyfile": "end TLS in front of the Service: probes speak plain HTTP",
}
"""Flags that the operator sets or that would cut it off from the server, and what to do instead."""

COUNT_FLAGS = ("--tensor-parallel-size", "--pipeline-parallel-size", "--data-parallel-size", "--max-num-seqs")
"""Flags whose numbers other decisions need."""

_WHOLE_NUMBER = re.compile(r"0*[1-9][0-9]{0,8}")

MODEL_FLAGS = {"--served-model-name": "served_names", "--revision": "revision"}


@dataclass(frozen=True)
class EngineValues:
    """Engine settings that other decisions need, from a typed field or from extraArgs; None when unset."""

    tensor_parallel_size: int
    pipeline_parallel_size: int
    data_parallel_size: int
    max_num_seqs: int | None
    served_names: tuple[str, ...] | None


@functools.cache
def completable_flags() -> tuple[str, ...]:
    """Flags whose prefixes are understood: the typed ones, the model's and the operator's own."""
    return (*flag_fields().values(), *MODEL_FLAGS, *OPERATOR_FLAGS)


def extra_flags(spec: Spec) -> tuple[Flag, ...]:
    """The flags in extraArgs; prefixes are completed among all flags of the server's vLLM where they are known."""
    if not spec.engine.extra_args:
        return ()
    release = known_release(spec)
    names = {*completable_flags(), *release.flags} if release and release.measured else completable_flags()
    return read_flags(spec.engine.extra_args, names)


def engine_values(spec: Spec) -> EngineValues:
    """Settings that count, from wherever they were written.

    Raises:
        InvalidSpecError: a number in extraArgs is none.
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


def container_arguments(spec: Spec, source: ResolvedModel) -> tuple[str, ...]:
    """Arguments of the container, in a stable order: model, names, typed flags, drain, the user's own."""
    result = _pair("--model", source.argument)
    if spec.model.revision:
        result += _pair("--revision", spec.model.revision)
    if engine_values(spec).served_names is None:
        first, *more = source.served_names
        result += [*_pair("--served-model-name", first), *map(escape_variables, more)]
    for flag, value in set_flags(spec.engine).items():
        result += field_arguments(flag, value)
    if supports_drain(spec):
        result += [DRAIN_FLAG, str(spec.rollout.drain_timeout_seconds)]
    return (*result, *spec.engine.extra_args)


def supports_drain(spec: Spec) -> bool:
    """True when the server's version is known to have --shutdown-timeout: an older one would refuse it and crash."""
    version = vllm_version(spec)
    return version is not None and DRAIN_FLAG in nearest_release(version).flags


def field_arguments(flag: str, value: Any) -> list[str]:
    """The arguments that a typed field becomes; none where false is what vLLM does anyway."""
    if value is True:
        return [flag]
    if value is False:
        return [f"--no-{flag.removeprefix('--')}"] if flag in NEGATABLE else []
    if isinstance(value, dict):
        return _pair(flag, json.dumps(value, sort_keys=True, separators=(",", ":")))
    return _pair(flag, f"{value:g}" if isinstance(value, float) else str(value))


def _pair(flag: str, value: str) -> list[str]:
    # argparse takes a value that begins with a dash for a flag, unless an equals sign binds it.
    return [f"{flag}={escape_variables(value)}"] if value.startswith("-") else [flag, escape_variables(value)]


def escape_variables(value: str) -> str:
    """A value that the kubelet hands over as it is: it would take `$(NAME)` for a variable, and `$$` for `$`."""
    return value.replace("$", "$$")


def unescape_variables(argument: str) -> str:
    """An argument of a running container as vLLM sees it, apart from variables."""
    return argument.replace("$$", "$")


@functools.cache
def field_of_flag(flag: str) -> str:
    """The spec field that sets `flag`, for messages."""
    if flag in MODEL_FLAGS:
        return f"spec.model.{'servedNames' if MODEL_FLAGS[flag] == 'served_names' else 'revision'}"
    return next(
        f"spec.engine.{alias}"
        for name, field in Engine.model_fields.items()
        if (alias := field.alias or name) and f"--{kebab_case(alias)}" == flag
    )
