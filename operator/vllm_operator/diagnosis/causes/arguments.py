"""Causes in vLLM's arguments: flags and values that it refuses."""

from __future__ import annotations

import re
from difflib import get_close_matches

from vllm_operator.api.engine import flag_fields
from vllm_operator.diagnosis.causes.row import HINT_LENGTH, Cause, nearest_choice
from vllm_operator.vllm.arguments import DRAIN_FLAG, field_of_flag
from vllm_operator.vllm.known_release import nearest_release


def _unknown_flags(found: re.Match[str]) -> str:
    """Name the unknown flags. vLLM lists their values too, which may be secrets, so the message leaves them out."""
    flags = [word.partition("=")[0] for word in found["flags"].split() if word.startswith("-")]
    if not flags:
        return "vLLM received a value that belongs to no flag: correct engine.extraArgs"
    return f"this vLLM has no {', '.join(flags)}: {_remedy(flags[0])}"


def _remedy(flag: str) -> str:
    """Return what to do about an unknown flag, by who set it: the operator, a field, or extraArgs."""
    if flag == DRAIN_FLAG:
        return "the operator passes it to the vLLM that the spec shows: set spec.version to the version in the image"
    if flag in flag_fields().values():
        return f"remove {field_of_flag(flag)}, or use a newer image"
    newest = nearest_release(None).flags
    if flag in newest:
        return "use a newer image, or remove it (engine.extraArgs)"
    close = get_close_matches(flag[:HINT_LENGTH], newest, n=1, cutoff=0.7)
    return (f"did you mean {close[0]}?" if close else "correct or remove it") + " (engine.extraArgs)"


ARGUMENTS: tuple[Cause, ...] = (
    Cause(
        "unknown-flag",
        "UnknownFlag",
        ("error: unrecognized arguments: ",),
        r"error: unrecognized arguments: (?P<flags>.+)",
        _unknown_flags,
    ),
    Cause(
        "invalid-value",
        "InvalidArgument",
        ("error: argument ",),
        r"error: argument (?P<flag>-[\w\-./]{1,256}): (?P<why>[^\n]{1,300})",
        "{flag}: {why}: correct engine.extraArgs",
    ),
    Cause(
        "context-too-long",
        "ContextTooLong",
        ("user-specified max_model_len (",),
        r"User-specified max_model_len \((?P<asked>\d{1,20})\) is greater than the derived max_model_len "
        r"\((?P<what>\w{1,100})=(?P<largest>\d{1,20})",
        "a context of {asked} tokens is more than the model allows ({what}): set engine.maxModelLen to {largest} or "
        "less",
    ),
    Cause(
        "tensor-parallel-size",
        "TensorParallelSize",
        ("total number of attention heads (",),
        r"Total number of attention heads \((?P<heads>\d{1,20})\) must be divisible by tensor parallel size "
        r"\((?P<size>\d{1,20})\)",
        "{heads} attention heads cannot be divided among {size} GPUs: set engine.tensorParallelSize to a divisor of "
        "{heads}",
    ),
    Cause(
        "chat-template",
        "InvalidChatTemplate",
        ("the supplied chat template ",),
        r"The supplied chat template (?:string )?\((?P<path>[^)]*)\) (?:looks like a file path, but it failed to be "
        r"opened|appears path-like, but doesn't exist)",
        "the chat template {path} is not in the image or on a volume: correct engine.chatTemplate, or mount the file",
    ),
    Cause(
        "tool-parser",
        "InvalidToolCallParser",
        ("invalid tool call parser: ",),
        r"invalid tool call parser: (?P<name>\S{1,256})(?: \(chose from \{(?P<choices>[^}]*)\})?",
        nearest_choice("tool call parser", "engine.toolCallParser"),
    ),
    Cause(
        "reasoning-parser",
        "InvalidReasoningParser",
        ("invalid reasoning parser: ", "reasoning parser '"),
        r"(?:invalid reasoning parser: |Reasoning parser ')(?P<name>[^\s']{1,256})"
        r"(?: \(chose from \{|' not found\. Available parsers: )(?P<choices>[^}\n\"]*)",
        nearest_choice("reasoning parser", "engine.reasoningParser"),
    ),
    Cause(
        "missing-lora",
        "AdapterNotFound",
        ("no adapter found for ",),
        r"No adapter found for (?P<path>\S{1,256})",
        lambda found: f"there is no LoRA adapter at {found['path']}: correct --lora-modules, or mount it",
    ),
)
