"""Measure which flags and metrics a release of vLLM has, for `vllm_operator/vllm/releases/`.

Run `python -m tools.vllm_releases 0.32.0 ...`.
"""
