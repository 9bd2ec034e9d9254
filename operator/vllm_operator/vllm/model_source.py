"""The source of a model: the argument for vLLM, the volume, and the served names."""

from __future__ import annotations

from dataclasses import dataclass

from vllm_operator.api.model import ModelSource

MODEL_PATH = "/model"
"""Path at which a pvc:// model is mounted, read-only."""


@dataclass(frozen=True)
class ResolvedModel:
    """A resolved model source.

    Attributes:
        argument: value of --model.
        served_names: names for --served-model-name.
        claim: claim that is mounted at MODEL_PATH; None for other sources.
        downloads: vLLM downloads the model when it starts.
    """

    argument: str
    served_names: tuple[str, ...]
    claim: str | None = None
    downloads: bool = False


def resolve_model(model: ModelSource) -> ResolvedModel:
    """Return the resolved `hf://org/name` (or `org/name`), `pvc://claim/path` or `file:///path`."""
    scheme, separator, rest = model.uri.partition("://")
    if not separator:
        scheme, rest = "hf", model.uri
    names = tuple(model.served_names) if model.served_names else (_last_part(rest),)
    if scheme == "pvc":
        claim, _, path = rest.partition("/")
        return ResolvedModel(f"{MODEL_PATH}/{path}".rstrip("/"), names, claim=claim)
    if scheme == "file":
        return ResolvedModel(rest, names)
    return ResolvedModel(rest, names, downloads=True)


def _last_part(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]
