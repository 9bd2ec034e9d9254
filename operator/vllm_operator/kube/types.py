"""Name the type of Kubernetes objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Object = Mapping[str, Any]
"""A Kubernetes object as the API server sends it."""
