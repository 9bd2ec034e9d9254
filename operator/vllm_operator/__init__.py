"""vllm-operator: run vLLM on Kubernetes from one manifest."""
