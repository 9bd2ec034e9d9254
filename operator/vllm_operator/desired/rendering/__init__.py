"""Plans become manifests: Jinja, a strict YAML loader, the pod template overlay, labels and owner."""

from vllm_operator.desired.rendering.manifests import render_children
from vllm_operator.desired.rendering.templates import render_template

__all__ = ["render_children", "render_template"]
