"""Measures what a release of vLLM takes and tells, for `plan/releases/`: `python -m tests.versions 0.32.0 ...`."""
