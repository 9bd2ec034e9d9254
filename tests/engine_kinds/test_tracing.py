"""A real vLLM with the flags and variables of `spec.monitoring.tracing` sends spans of its requests to a collector."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

from tests.helpers.fake_collector import fake_collector
from tests.helpers.specs import server
from tests.stalled_engine.engine import MODEL, RealEngine
from vllm_operator.vllm.tracing import trace_arguments, trace_environment

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SPAN = "llm_request"
"""Name of the span of a request (vLLM 0.32, in its output processor)."""


def test_span_of_a_request_reaches_the_collector(tmp_path: Path) -> None:
    with fake_collector() as collector:
        tracing = {"endpoint": f"{collector.url}/v1/traces", "protocol": "http/protobuf"}
        traced = server("mistral", monitoring={"tracing": tracing})
        engine = RealEngine(tmp_path / "vllm.log", *trace_arguments(traced.spec), variables=trace_environment(traced))
        with engine:
            body = {"model": MODEL, "prompt": "hello", "max_tokens": 4}
            headers = {"Content-Type": "application/json", "traceparent": f"00-{TRACE}-{CALLER}-01"}
            request = urllib.request.Request(f"{engine.url}/v1/completions", json.dumps(body).encode(), headers)
            with urllib.request.urlopen(request, timeout=60) as answer:
                assert answer.status == 200
            span = collector.wait_for(SPAN)[SPAN]

        assert span.trace == TRACE, "it joins the trace of its caller"
        assert span.resource["service.name"] == "mistral"
        assert span.resource["k8s.vllmserver.name"] == "mistral"
        assert span.resource["k8s.namespace.name"] == traced.namespace
        assert collector.requests[0][":path"] == "/v1/traces"
