"""vllm-operator: run vLLM on Kubernetes from one manifest."""

__version__ = "0.1.0"
