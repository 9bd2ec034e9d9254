"""Alerts on a real Prometheus: each fires and resolves by its real cause, and healthy waves fire none."""
