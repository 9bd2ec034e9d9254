"""Generate the Grafana dashboards, and run their queries against a Prometheus."""
