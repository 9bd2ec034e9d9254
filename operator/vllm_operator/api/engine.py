"""vLLM's own arguments: `spec.engine`.

No field has a default: vLLM's own default applies to an unset field. The flag of a field is its name in kebab-case.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, ClassVar

from pydantic import Field

from vllm_operator.api.core import EnvVar
from vllm_operator.api.fields import CelRule, FreeObject, ListMap, Model, ShortText, Text
from vllm_operator.api.names import kebab_case

Parallelism = Annotated[int, Field(ge=1, le=1024)]
Tokens = Annotated[int, Field(ge=1, le=100_000_000)]


class Engine(Model):
    """Arguments of vLLM's API server. An argument without a field here goes into extraArgs."""

    tensor_parallel_size: Parallelism | None = Field(
        default=None, description="GPUs that share each layer (--tensor-parallel-size)."
    )
    pipeline_parallel_size: Parallelism | None = Field(
        default=None, description="Stages that the layers are divided into (--pipeline-parallel-size)."
    )
    data_parallel_size: Parallelism | None = Field(
        default=None, description="Engines in one replica, each with a full copy of the model (--data-parallel-size)."
    )
    gpu_memory_utilization: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None,
        description="Fraction of each GPU's memory that vLLM may use, above 0 and at most 1; 0.85 to 0.95 is usual.",
    )
    max_model_len: Tokens | None = Field(
        default=None, description="Longest context, prompt and answer together, in tokens. Unset: the model's own."
    )
    max_num_seqs: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        default=None,
        description="Most requests that one engine runs at once: the upper bound of vllm_num_requests_running.",
    )
    max_num_batched_tokens: Tokens | None = Field(
        default=None, description="Most tokens that one step of the engine processes."
    )
    enable_prefix_caching: bool | None = Field(
        default=None, description="Reuse the KV cache of prompts that begin alike; false turns it off."
    )
    quantization: ShortText | None = Field(
        default=None,
        description="Quantization method, such as awq, gptq or fp8. Unset: as the model's configuration says.",
    )
    dtype: ShortText | None = Field(
        default=None, description="Data type of weights and activations, such as auto or bfloat16."
    )
    kv_cache_dtype: ShortText | None = Field(
        default=None, description="Data type of the KV cache, such as auto or fp8."
    )
    enable_chunked_prefill: bool | None = Field(
        default=None,
        description="Process long prompts in chunks, between the steps of other requests; false turns it off.",
    )
    enforce_eager: bool | None = Field(
        default=None, description="Run without CUDA graphs and compilation: a faster start, slower answers."
    )
    load_format: ShortText | None = Field(
        default=None, description="Format of the weights, such as auto or safetensors."
    )
    chat_template: Text | None = Field(
        default=None, description="Chat template: a path in the image, or the template itself. Unset: the model's own."
    )
    speculative_config: FreeObject | None = Field(
        default=None,
        description="Settings of speculative decoding, passed to vLLM as JSON. Unset: no speculative decoding.",
    )
    trust_remote_code: bool | None = Field(
        default=None, description="Run Python code that is part of the model's repository. Unset: vLLM refuses it."
    )
    enable_auto_tool_choice: bool | None = Field(
        default=None, description="Let the model decide when to call a tool; needs toolCallParser."
    )
    tool_call_parser: ShortText | None = Field(
        default=None, description="Parser that finds tool calls in the answers, such as mistral or hermes."
    )
    reasoning_parser: ShortText | None = Field(
        default=None, description="Parser that separates reasoning from the answer, such as deepseek_r1."
    )
    extra_args: Annotated[list[Annotated[str, Field(max_length=16384)]], Field(max_length=256)] = Field(
        default_factory=list,
        description="Further arguments of vLLM, one item each, such as --enable-log-requests or --cpu-offload-gb=4. "
        "A flag that a field sets too is refused.",
    )
    command: (
        Annotated[list[Annotated[str, Field(min_length=1, max_length=4096)]], Field(min_length=1, max_length=32)] | None
    ) = Field(
        default=None,
        description="Command that starts vLLM's API server, such as [vllm, serve]; the arguments follow it. Needed for "
        "images that start a shell. Unset: the entrypoint of the image.",
    )
    env: Annotated[list[EnvVar], Field(max_length=128), ListMap("name")] = Field(
        default_factory=list,
        description="Environment variables of the vLLM container. One with the name of a variable that the operator "
        "sets replaces it.",
    )

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "!has(self.enableAutoToolChoice) || !self.enableAutoToolChoice || has(self.toolCallParser) "
            "|| has(self.extraArgs) && self.extraArgs.exists(a, a.startsWith('--tool-call-parser'))",
            "enableAutoToolChoice needs toolCallParser: set it, such as toolCallParser: mistral",
            field_path=".toolCallParser",
        ),
    )


NOT_FLAGS = frozenset({"extra_args", "command", "env"})


@functools.cache
def flag_fields() -> Mapping[str, str]:
    """Map each typed field (Python name) to its flag, in the order of declaration."""
    flags = {
        name: "--" + kebab_case(field.alias or name)
        for name, field in Engine.model_fields.items()
        if name not in NOT_FLAGS
    }
    return MappingProxyType(flags)


def set_flags(engine: Engine) -> dict[str, Any]:
    """Return the typed flags that the user set, as flag -> value; an empty string or object counts as unset."""
    values = ((flag, getattr(engine, name)) for name, flag in flag_fields().items())
    return {flag: value for flag, value in values if value is not None and value != "" and value != {}}
