"""Notes on devices with several cores, where the number of ranks is not the number of devices."""

from __future__ import annotations

from vllm_operator.api.spec import Spec
from vllm_operator.vllm.arguments import engine_values

CORES = {
    "aws.amazon.com/neuron": "2 cores each on Inferentia2 and Trainium1; aws.amazon.com/neuroncore counts cores",
    "aws.amazon.com/neurondevice": "2 cores each on Inferentia2 and Trainium1; aws.amazon.com/neuroncore counts cores",
    "furiosa.ai/rngd": "8 cores each",
    "gpu.intel.com/i915": "2 tiles each on Data Center GPU Max 1550",
    "gpu.intel.com/xe": "2 tiles each on Data Center GPU Max 1550",
}
"""Resource whose unit is a device with several cores -> how many, and the resource that counts cores.

Sources: the device plugins of AWS Neuron, Furiosa and Intel."""


def device_warnings(spec: Spec) -> tuple[str, ...]:
    """Return a note when each rank of the engine requests a device that several ranks could share."""
    values, name = engine_values(spec), spec.accelerator.resource_name
    ranks = values.tensor_parallel_size * values.pipeline_parallel_size * values.data_parallel_size
    if spec.accelerator.count is not None or ranks < 2 or name not in CORES or name in spec.resources.limits:
        return ()
    return (
        f"spec.accelerator.count: each replica requests {ranks} of {name}, one for each rank of the engine, and that "
        f"resource counts devices with several cores ({CORES[name]}): set accelerator.count to the number of devices",
    )
