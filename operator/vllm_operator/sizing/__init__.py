"""Sizing: how much memory a model takes in vLLM, and what is left for the KV cache. Pure, but for `sources`.

`estimate.py` joins the parts: the weights of one GPU (`weights.py`), the peak of the profile run
(`activation.py`), what lies outside of PyTorch (`overheads.py`) and the KV cache (`kv_cache.py`).
"""
