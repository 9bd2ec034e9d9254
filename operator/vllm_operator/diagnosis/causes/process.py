"""Causes in the container: its network, shared memory and environment, and the engine process."""

from __future__ import annotations

from vllm_operator.diagnosis.causes.row import Cause

_NO_COMMAND = (
    "the image does not start vLLM: its entrypoint takes --model for a program; set engine.command, such as "
    "[vllm, serve] or [python3, -m, vllm.entrypoints.openai.api_server]"
)

PROCESS: tuple[Cause, ...] = (
    Cause(
        "no-command",
        "NoCommand",
        ('exec: "-', "executable file `-"),
        r'exec: "-[^"\n]{0,64}": executable file not found|executable file `-[^`\n]{0,64}` not found',
        _NO_COMMAND,
    ),
    Cause(
        "no-command-shell",
        "NoCommand",
        ("exec: --", "bash: --model: "),
        r"exec: --(?:model)?: (?:invalid option|not found)|bash: --model: invalid option",
        _NO_COMMAND,
    ),
    Cause(
        "service-link",
        "ServiceLink",
        ("vllm_port '",),
        r"VLLM_PORT '(?P<value>[^']*)' appears to be a URI",
        "a Service named vllm sets VLLM_PORT={value} in every pod: set enableServiceLinks: false in the pod, or rename "
        "that Service",
    ),
    Cause(
        "port-in-use",
        "PortInUse",
        ("[errno 98] ",),
        r"\[Errno 98\] (?:error while attempting to bind on address \([^)]*\): )?[Aa]ddress already in use",
        "the port is taken already: another container of the pod, or of its node with hostNetwork, listens on it",
    ),
    Cause(
        "shared-memory",
        "SharedMemoryTooSmall",
        ("insufficient space in /dev/shm for shared-memory allocation: ",),
        r"Insufficient space in (?P<path>/dev/shm) for shared-memory allocation: (?P<wanted>\d+ \w+) required, "
        r"(?P<free>\d+ \w+) free",
        "{path} is too small ({wanted} are needed, {free} are free): raise sharedMemory",
    ),
    Cause(
        "shared-memory-nccl",
        "SharedMemoryTooSmall",
        ("error while creating shared memory segment /dev/shm/",),
        r"Error while creating shared memory segment (?P<path>/dev/shm/\S{1,128})[^\n]{0,300}No space left on device",
        "/dev/shm is full ({path}): raise sharedMemory",
    ),
)
ENGINE_PROCESS: tuple[Cause, ...] = (
    Cause(
        "engine-died",
        "EngineDied",
        ("engine core exited unexpectedly", " died unexpectedly"),
        # An engine that fails by itself logs that first, and then its own error says more.
        r"engine core exited unexpectedly|Engine core proc \S{1,64} died unexpectedly",
        "the engine process ended and logged no error, most often because the kernel killed it for lack of memory: "
        "look for it in the node's kernel log, and raise resources.limits.memory",
        unless="enginecore encountered a fatal error",
    ),
)
"""The last table: only vLLM's API server reports the end of its engine, and any other cause says more."""
