"""Causes in vLLM's arguments: flags and values that it refuses."""

from __future__ import annotations

import re
from difflib import get_close_matches

from vllm_operator.diagnosis.causes.row import Cause, nearest_choice
from vllm_operator.vllm.known_release import nearest_release


def _unknown_flags(found: re.Match[str]) -> str:
    """Name the unknown flags. vLLM lists their values too, which may be secrets, so the message leaves them out."""
    flags = [word.partition("=")[0] for word in found["flags"].split() if word.startswith("-")]
    if not flags:
        return "vLLM received a value that belongs to no flag: correct engine.extraArgs"
    close = [*get_close_matches(flags[0], nearest_release(None).flags, n=1, cutoff=0.7), ""][0]
    hint = f"did you mean {close}?" if close else "correct or remove it"
    return f"this vLLM has no {', '.join(flags)}: {hint} (engine.extraArgs)"


ARGUMENTS: tuple[Cause, ...] = (
    Cause(
        "unknown-flag",
        "UnknownFlag",
        r"error: unrecognized arguments: (?P<flags>.+)",
        _unknown_flags,
    ),
    Cause(
        "invalid-value",
        "InvalidArgument",
        r"error: argument (?P<flag>-\S*?--[\w-]+|-\S+): (?P<why>[^\n]{1,300})",
        "{flag}: {why}: correct engine.extraArgs",
    ),
    Cause(
        "context-too-long",
        "ContextTooLong",
        r"User-specified max_model_len \((?P<asked>\d+)\) is greater than the derived max_model_len "
        r"\((?P<what>\w+)=(?P<largest>\d+)",
        "a context of {asked} tokens is more than the model allows ({what}): set engine.maxModelLen to {largest} or "
        "less",
    ),
    Cause(
        "tensor-parallel-size",
        "TensorParallelSize",
        r"Total number of attention heads \((?P<heads>\d+)\) must be divisible by tensor parallel size "
        r"\((?P<size>\d+)\)",
        "{heads} attention heads cannot be divided among {size} GPUs: set engine.tensorParallelSize to a divisor of "
        "{heads}",
    ),
    Cause(
        "chat-template",
        "InvalidChatTemplate",
        r"The supplied chat template (?:string )?\((?P<path>[^)]*)\) (?:looks like a file path, but it failed to be "
        r"opened|appears path-like, but doesn't exist)",
        "the chat template {path} is not in the image or on a volume: correct engine.chatTemplate, or mount the file",
    ),
    Cause(
        "tool-parser",
        "InvalidToolCallParser",
        r"invalid tool call parser: (?P<name>\S+)(?: \(chose from \{(?P<choices>[^}]*)\})?",
        nearest_choice("tool call parser", "engine.toolCallParser"),
    ),
    Cause(
        "reasoning-parser",
        "InvalidReasoningParser",
        r"(?:invalid reasoning parser: |Reasoning parser ')(?P<name>[^\s']+)"
        r"(?: \(chose from \{|' not found\. Available parsers: )(?P<choices>[^}\n\"]*)",
        nearest_choice("reasoning parser", "engine.reasoningParser"),
    ),
    Cause(
        "missing-lora",
        "AdapterNotFound",
        r"(?:Loading lora (?P<name>\S+) failed: No adapter found for (?P<path>\S+)|No adapter found for (?P<only>\S+))",
        lambda found: (
            f"there is no LoRA adapter at {found['path'] or found['only']}: correct --lora-modules, or mount it"
        ),
    ),
)
