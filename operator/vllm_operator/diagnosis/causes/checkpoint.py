"""Causes in the model: its code, its architecture, its quantization."""

from __future__ import annotations

from vllm_operator.diagnosis.causes.row import Cause, nearest_choice

CHECKPOINT: tuple[Cause, ...] = (
    Cause(
        "trust-remote-code",
        "RemoteCodeNotTrusted",
        ("contains custom code which must be executed", "requires you to execute the ", "`trust_remote_code=true`"),
        r"(?:contains custom code which must be executed|requires you to execute the (?:configuration|modeling) file|"
        r"set (?:the option )?`trust_remote_code=True`)",
        "the model contains its own code: review it, then set engine.trustRemoteCode: true",
    ),
    Cause(
        "quantization-card",
        "QuantizationNotSupported",
        ("the quantization method ",),
        r"The quantization method (?P<method>\S{1,256}) is not supported for the current GPU\. Minimum capability: "
        r"(?P<least>\d+)\. Current capability: (?P<own>\d+)",
        "{method} needs a GPU of compute capability {least} or more, this one has {own}: choose another checkpoint, or "
        "other nodes by accelerator.product",
    ),
    Cause(
        "quantization-scheme",
        "QuantizationNotSupported",
        ("quantization scheme is not supported for ",),
        r"Quantization scheme is not supported for [', ]{0,8}the current GPU\.[', ]{0,8}"
        r"(?:Min|Required) capability: (?P<least>\d+)\.[', ]{0,8}Current capability: (?P<own>\d+)",
        "the checkpoint's quantization needs a GPU of compute capability {least} or more, this one has {own}: choose "
        "another checkpoint, or other nodes by accelerator.product",
    ),
    Cause(
        "quantization-unsupported",
        "QuantizationNotSupported",
        (" quantization is currently not supported in ",),
        r"(?<!\S)(?P<method>\S{1,256}) quantization is currently not supported in (?P<device>\w{1,64})",
        "{method} does not run on {device}: choose another checkpoint or another accelerator",
    ),
    Cause(
        "quantization-unknown",
        "QuantizationNotSupported",
        ("unknown quantization method: ",),
        r"Unknown quantization method: (?P<name>\S{1,256})\. Must be one of \[(?P<choices>[^\]]*)\]",
        nearest_choice("quantization method", "engine.quantization"),
    ),
    Cause(
        "quantization-mismatch",
        "QuantizationMismatch",
        ("quantization method specified in the model config (",),
        r"Quantization method specified in the model config \((?P<own>[^)]*)\) does not match the quantization method "
        r"specified in the `quantization` argument \((?P<asked>[^)]*)\)",
        "the checkpoint is quantized with {own}, not {asked}: remove engine.quantization, since vLLM reads it from "
        "the model",
    ),
    Cause(
        "unsupported-architecture",
        "UnsupportedModel",
        ("model architectures [",),
        r"Model architectures \[(?P<names>[^\]]*)\] (?:are not supported for now|failed to be inspected)",
        "this vLLM does not support the architecture {names}: use a newer image, or another model",
    ),
    Cause(
        "unknown-model-type",
        "UnsupportedModel",
        ("checkpoint you are trying to load has model type `",),
        r"checkpoint you are trying to load has model type `(?P<type>[^`]*)` but Transformers does not recognize this "
        r"architecture",
        "this vLLM does not know the model type {type}: use a newer image, or set engine.trustRemoteCode: true for a "
        "model that contains its own code",
    ),
)
