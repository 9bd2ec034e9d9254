"""Plans become manifests: Jinja, a strict YAML loader, the pod template overlay, labels and owner."""

from vllm_operator.render.manifests import render_all
from vllm_operator.render.templates import render

__all__ = ["render", "render_all"]
