"""Measure how many requests are lost when replicas of a real vLLM leave, on a real cluster: `make e2e-drain`."""
