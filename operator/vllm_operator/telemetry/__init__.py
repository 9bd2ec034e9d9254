"""Send spans of the operator by OTLP. OpenTelemetry is imported only when tracing is on."""
