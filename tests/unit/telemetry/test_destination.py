"""The collector: from the option, or from the standard variables."""

from __future__ import annotations

import pytest

from vllm_operator.telemetry.destination import TracingError, destination

BASE, TRACES = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"


@pytest.mark.parametrize(
    ("option", "environment", "expected"),
    [
        ("http://c:4318", {}, "http://c:4318/v1/traces"),
        ("http://c:4318/", {}, "http://c:4318/v1/traces"),
        ("https://c/otel", {}, "https://c/otel/v1/traces"),
        ("https://c/v1/traces", {}, "https://c/v1/traces"),
        ("http://[2001:db8::1]:4318", {}, "http://[2001:db8::1]:4318/v1/traces"),
        ("", {BASE: "http://c:4318"}, "http://c:4318/v1/traces"),
        ("", {TRACES: "http://c:4318/mine"}, "http://c:4318/mine"),
        ("", {TRACES: "http://c/mine", BASE: "http://d"}, "http://c/mine"),
        ("http://c:4318", {TRACES: "http://d/mine"}, "http://c:4318/v1/traces"),
        ("http://c", {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, "http://c/v1/traces"),
        (
            "http://c",
            {"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "http://c/v1/traces",
        ),
    ],
)
def test_url_of_the_traces(option: str, environment: dict[str, str], expected: str) -> None:
    found = destination(option, environment)
    assert found is not None
    assert found.url == expected


@pytest.mark.parametrize(
    ("option", "environment"),
    [
        ("", {}),
        ("", {BASE: ""}),
        ("http://c", {"OTEL_SDK_DISABLED": "True"}),
        ("http://c", {"OTEL_TRACES_EXPORTER": "none"}),
    ],
)
def test_off(option: str, environment: dict[str, str]) -> None:
    assert destination(option, environment) is None


@pytest.mark.parametrize(
    ("option", "environment", "expected"),
    [
        ("c:4318", {}, "--otlp-endpoint: write the http or https URL"),
        ("ftp://c", {}, "--otlp-endpoint: write the http or https URL"),
        ("http://", {}, "--otlp-endpoint: write the http or https URL"),
        ("http://c:0", {}, "--otlp-endpoint: write the http or https URL"),
        ("http://c:99999", {}, "--otlp-endpoint: Port out of range"),
        ("http://[::1", {}, "--otlp-endpoint: Invalid IPv6 URL"),
        ("http://me:secret@c", {}, "--otlp-endpoint: remove the user from the URL"),
        ("", {BASE: "c"}, f"{BASE}: write the http or https URL"),
        ("", {TRACES: "x"}, f"{TRACES}: write the http or https URL"),
        ("http://c", {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "OTEL_EXPORTER_OTLP_PROTOCOL: the operator sends spans"),
    ],
)
def test_wrong_value_is_named_without_secrets(option: str, environment: dict[str, str], expected: str) -> None:
    with pytest.raises(TracingError) as caught:
        destination(option, environment)
    assert str(caught.value).startswith(expected)
    assert "secret" not in str(caught.value)
