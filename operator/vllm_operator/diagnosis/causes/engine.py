"""The engine's process, of which only the API server beside it tells."""

from __future__ import annotations

from vllm_operator.diagnosis.causes.row import Cause

ENGINE: tuple[Cause, ...] = (
    Cause(
        "engine-died",
        "EngineDied",
        # An engine that fails by itself says so first, and then its own error tells more.
        r"\A(?![\s\S]*EngineCore encountered a fatal error)"
        r"[\s\S]*(?:engine core exited unexpectedly|Engine core proc \S+ died unexpectedly)",
        "the engine process ended without a word, most often killed for want of memory: look for it in the node's "
        "kernel log, and raise resources.limits.memory",
    ),
)
