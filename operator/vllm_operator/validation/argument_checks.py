"""Refuse arguments that one pod for each replica cannot serve, and note those that no check can see through."""

from __future__ import annotations

import re
from collections.abc import Iterator

from vllm_operator.api.problem import Problem
from vllm_operator.api.spec import Spec
from vllm_operator.vllm.arguments import engine_values, extra_flags
from vllm_operator.vllm.flags import Flag

ONE_POD = "one replica is one pod on one node, and an engine over several nodes is not supported yet"

MOST_DEVICES_OF_A_NODE = 8
"""Devices of the usual accelerator nodes. With Ray, an engine with more of them was meant for several nodes."""

SINGLE_NODE_VALUES = {"--nnodes": "1", "--node-rank": "0"}
"""Flags for engines over several nodes, with the value that means one node."""

SEVERAL_NODES = frozenset(
    {
        "--data-parallel-address",
        "--data-parallel-external-lb",
        "--data-parallel-hybrid-lb",
        "--data-parallel-multi-port-external-lb",
        "--data-parallel-rank",
        "--data-parallel-start-rank",
    }
)
"""Flags that divide the engines of one server among processes, which one pod does not start (vLLM, `arg_utils.py`)."""

_SHORT = {
    "-n": "--nnodes",
    "-r": "--node-rank",
    "-dpa": "--data-parallel-address",
    "-dpe": "--data-parallel-external-lb",
    "-dph": "--data-parallel-hybrid-lb",
    "-dpl": "--data-parallel-size-local",
    "-dpm": "--data-parallel-multi-port-external-lb",
    "-dpn": "--data-parallel-rank",
    "-dpr": "--data-parallel-start-rank",
}
_SIZES = ("tensorParallelSize", "pipelineParallelSize", "dataParallelSize")
_VARIABLE = re.compile(r"(?<!\$)(?:\$\$)*\$\([^)]*\)")
"""A variable that the kubelet replaces; `$$(NAME)` stands for the text `$(NAME)`."""


def engine_fits_one_pod(spec: Spec) -> Iterator[Problem]:
    """Refuse arguments for an engine over several nodes: each pod would wait for others that never start."""
    for flag in _flags(spec):
        if _spans_nodes(flag, spec):
            yield Problem(
                "MultiNode",
                f"spec.engine.extraArgs[{flag.position}]: {flag.name} is for an engine over several nodes: {ONE_POD}; "
                "remove it, and use a model that fits the accelerators of one node",
            )
    if _ray_needs_nodes(spec):
        values = engine_values(spec)
        sizes = (values.tensor_parallel_size, values.pipeline_parallel_size, values.data_parallel_size)
        product = " x ".join(f"{name} {size}" for name, size in zip(_SIZES, sizes, strict=True) if size > 1)
        yield Problem(
            "MultiNode",
            f"spec.engine: {product} with Ray is an engine over several nodes: {ONE_POD}; lower the sizes to "
            f"{MOST_DEVICES_OF_A_NODE} accelerators, or set accelerator.count where one node has more",
        )


def _flags(spec: Spec) -> tuple[Flag, ...]:
    """Return the flags of extraArgs, with the short names that only these checks need."""
    arguments = spec.engine.extra_args
    short = [
        Flag(_SHORT[name], (value,) if bound else tuple(arguments[place + 1 : place + 2]), place)
        for place, argument in enumerate(arguments)
        for name, bound, value in [argument.partition("=")]
        if name in _SHORT
    ]
    return (*extra_flags(spec), *short)


def _spans_nodes(flag: Flag, spec: Spec) -> bool:
    if flag.negated:
        return False
    if flag.name in SINGLE_NODE_VALUES:
        return flag.value != SINGLE_NODE_VALUES[flag.name]
    if flag.name == "--data-parallel-size-local":
        return flag.value != str(engine_values(spec).data_parallel_size)
    return flag.name in SEVERAL_NODES


def _ray_needs_nodes(spec: Spec) -> bool:
    """Return whether Ray runs more ranks than a node has devices, and no `accelerator.count` says otherwise."""
    backends = {"--distributed-executor-backend", "--data-parallel-backend"}
    uses_ray = any(flag.name in backends and flag.value == "ray" for flag in extra_flags(spec))
    if not uses_ray or spec.accelerator.count is not None:
        return False
    values = engine_values(spec)
    ranks = values.tensor_parallel_size * values.pipeline_parallel_size * values.data_parallel_size
    return ranks > MOST_DEVICES_OF_A_NODE


def served_names_are_known(spec: Spec) -> Iterator[Problem]:
    """Refuse a variable among the served names: the operator cannot know its value, and would wait for its text."""
    for flag in extra_flags(spec):
        if flag.name == "--served-model-name" and any(_VARIABLE.search(value) for value in flag.values):
            yield Problem(
                "InvalidArgument",
                f"spec.engine.extraArgs[{flag.position}]: --served-model-name holds a variable, whose value only the "
                "container knows: write the name into spec.model.servedNames",
            )


def config_file_warnings(spec: Spec) -> tuple[str, ...]:
    """Return a note on a configuration file of vLLM, whose contents the operator does not see."""
    if not any(flag.name == "--config" for flag in extra_flags(spec)):
        return ()
    return (
        "the file of --config was not checked: its port and host must leave vLLM on port 8000 of the pod, without TLS; "
        "API key, served names and the sizes that the accelerators follow belong into the fields of the spec",
    )
