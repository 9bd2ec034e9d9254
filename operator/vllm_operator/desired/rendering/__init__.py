"""Plans become manifests: Jinja, a strict YAML loader, the pod template overlay, labels and owner."""

from vllm_operator.desired.rendering.manifests import render_all
from vllm_operator.desired.rendering.templates import render

__all__ = ["render", "render_all"]
