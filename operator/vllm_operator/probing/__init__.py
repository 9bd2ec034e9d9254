"""Talking to vLLM: asking every replica how it is."""
