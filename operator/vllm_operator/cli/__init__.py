"""The kubectl plugin `kubectl vllm`: check, watch and use VLLMServers from a terminal."""
