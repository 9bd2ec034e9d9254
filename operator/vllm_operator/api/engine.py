"""vLLM's own arguments: `spec.engine`.

No field has a default: unset means vLLM's own. A field's flag is its name in kebab-case.
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
    """Arguments of the vLLM server; what has no field of its own goes into extraArgs."""

    tensor_parallel_size: Parallelism | None = Field(default=None, description="GPUs that share every layer.")
    pipeline_parallel_size: Parallelism | None = Field(
        default=None, description="Stages that the layers are split into."
    )
    data_parallel_size: Parallelism | None = Field(default=None, description="Copies of the engine in one replica.")
    gpu_memory_utilization: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None,
        description="Fraction of the GPU's memory that vLLM may use, 0 < x <= 1; 0.85 to 0.95 is usual.",
    )
    max_model_len: Tokens | None = Field(default=None, description="Longest context, in tokens.")
    max_num_seqs: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        default=None, description="Most sequences in one iteration: the bound of vllm_num_requests_running."
    )
    max_num_batched_tokens: Tokens | None = Field(default=None, description="Most tokens in one iteration.")
    enable_prefix_caching: bool | None = Field(default=None, description="Reuse the KV cache of common prefixes.")
    quantization: ShortText | None = Field(default=None, description="Quantization method, such as awq, gptq or fp8.")
    dtype: ShortText | None = Field(
        default=None, description="Type of weights and activations, such as auto or bfloat16."
    )
    kv_cache_dtype: ShortText | None = Field(default=None, description="Type of the KV cache, such as auto or fp8.")
    enable_chunked_prefill: bool | None = Field(default=None, description="Split long prompts into chunks.")
    enforce_eager: bool | None = Field(default=None, description="Do without CUDA graphs and compilation.")
    load_format: ShortText | None = Field(
        default=None, description="Format of the weights, such as auto or safetensors."
    )
    chat_template: Text | None = Field(
        default=None, description="Chat template: a path in the image or the template itself."
    )
    speculative_config: FreeObject | None = Field(
        default=None, description="Speculative decoding, passed to vLLM as JSON."
    )
    trust_remote_code: bool | None = Field(default=None, description="Run code that comes with the model.")
    enable_auto_tool_choice: bool | None = Field(
        default=None, description="Let the model call tools; needs toolCallParser."
    )
    tool_call_parser: ShortText | None = Field(
        default=None, description="Parser of tool calls, such as mistral or hermes."
    )
    reasoning_parser: ShortText | None = Field(default=None, description="Parser of reasoning, such as deepseek_r1.")
    extra_args: Annotated[list[Annotated[str, Field(max_length=16384)]], Field(max_length=256)] = Field(
        default_factory=list,
        description="Any other argument of vLLM, such as --enable-log-requests or --max-model-len=32768. "
        "A flag that is also set by a field is refused.",
    )
    env: Annotated[list[EnvVar], Field(max_length=128), ListMap("name")] = Field(
        default_factory=list,
        description="Environment variables of the vLLM container; they win over the operator's own.",
    )

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(
            "!has(self.enableAutoToolChoice) || !self.enableAutoToolChoice || has(self.toolCallParser) "
            "|| has(self.extraArgs) && self.extraArgs.exists(a, a.startsWith('--tool-call-parser'))",
            "enableAutoToolChoice needs toolCallParser, such as toolCallParser: mistral",
            field_path=".toolCallParser",
        ),
    )


NOT_FLAGS = frozenset({"extra_args", "env"})


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
    """The typed flags that the user set: flag -> value. An empty string or object counts as unset."""
    values = ((flag, getattr(engine, name)) for name, flag in flag_fields().items())
    return {flag: value for flag, value in values if value is not None and value != "" and value != {}}
