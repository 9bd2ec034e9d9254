"""Convert what other projects use to run vLLM on Kubernetes into VLLMServers."""
