"""Flags and variables with which vLLM sends spans. Source: vLLM 0.32, its modules tracing and observability.

vLLM takes the protocol from a variable, and whether to encrypt from the scheme of the endpoint.
"""

from __future__ import annotations

from vllm_operator.api.names import child_name
from vllm_operator.api.server import VLLMServer
from vllm_operator.api.spec import Spec

ENDPOINT_FLAG = "--otlp-traces-endpoint"
DETAILED_FLAG = "--collect-detailed-traces"
TRACE_FLAGS = {ENDPOINT_FLAG: "endpoint", DETAILED_FLAG: "detailed"}
"""Flag -> field of `spec.monitoring.tracing` that sets it."""

SAMPLER = "parentbased_traceidratio"
"""Sampler of OpenTelemetry's SDK that follows the caller's decision, and takes a share of the rest."""


def trace_arguments(spec: Spec) -> list[str]:
    """Return the arguments of tracing; none without `spec.monitoring.tracing`."""
    tracing = spec.monitoring.tracing
    if tracing is None:
        return []
    # The kubelet replaces $(NAME) and $$.
    arguments = [ENDPOINT_FLAG, tracing.endpoint.replace("$", "$$")]
    # Releases up to 0.30 also take a list with commas; all of them take several values.
    return [*arguments, DETAILED_FLAG, *dict.fromkeys(tracing.detailed)] if tracing.detailed else arguments


def trace_environment(server: VLLMServer) -> dict[str, str]:
    """Return the variables of tracing; none without `spec.monitoring.tracing`."""
    tracing = server.spec.monitoring.tracing
    if tracing is None:
        return {}
    name = (tracing.service_name or child_name(server.name)).replace("$", "$$")
    variables = {
        "OTEL_SERVICE_NAME": name,
        "OTEL_RESOURCE_ATTRIBUTES": f"k8s.namespace.name={server.namespace},k8s.vllmserver.name={server.name}",
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": tracing.protocol,
    }
    if tracing.sample_ratio is not None:
        variables |= {"OTEL_TRACES_SAMPLER": SAMPLER, "OTEL_TRACES_SAMPLER_ARG": f"{tracing.sample_ratio:g}"}
    return variables
