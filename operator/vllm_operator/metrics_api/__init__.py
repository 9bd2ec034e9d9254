"""The load of the replicas as `custom.metrics.k8s.io`, which HorizontalPodAutoscalers read."""
