"""Render manifests from plans: Jinja, a strict YAML loader, the pod template of the spec, labels and owner."""

from vllm_operator.desired.rendering.manifests import render_children
from vllm_operator.desired.rendering.templates import render_template

__all__ = ["render_children", "render_template"]
