"""Measures what a release of vLLM takes and tells, for `plan/releases/`: `python -m tools.vllm_releases 0.32.0 ...`."""
