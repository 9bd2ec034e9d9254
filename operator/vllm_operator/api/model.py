"""The model that a server serves: `spec.model`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from vllm_operator.api.core import SecretKeyReference
from vllm_operator.api.fields import CelRule, Model, ShortText

_PART = "[A-Za-z0-9][-A-Za-z0-9._]*"
"""Pattern of one part of a name on the Hugging Face Hub."""

URI_RULES = (
    CelRule(
        "self.trim().size() > 0",
        "model.uri is empty: name a model, such as hf://mistralai/Mistral-7B-Instruct-v0.3, "
        "pvc://claim/path or file:///path/in/image",
    ),
    CelRule(
        "!self.matches('^(s3|gs|oci)://')",
        "s3://, gs:// and oci:// are not supported yet: copy the model into a PersistentVolumeClaim and use "
        "pvc://claim/path, or use hf://org/name or file:///path/in/image",
    ),
    CelRule(
        "!self.contains('://') || self.matches('^(hf|pvc|file|s3|gs|oci)://')",
        "model.uri has an unknown scheme: use hf://org/name, pvc://claim/path or file:///path/in/image",
    ),
    CelRule(
        "!self.startsWith('file://') || self.matches('^file:///[^/]')",
        "file:// needs an absolute path in the image, such as file:///models/mistral",
    ),
    CelRule(
        "!self.startsWith('pvc://') || self.matches('^pvc://[a-z0-9]([-a-z0-9.]*[a-z0-9])?(/.*)?$')",
        "pvc:// needs the name of a PersistentVolumeClaim, such as pvc://models/mistral-7b",
    ),
    CelRule(
        "self.contains('://') && !self.startsWith('hf://') || self.trim().size() == 0 "
        f"|| self.matches('^(hf://)?{_PART}(/{_PART}(:{_PART}|(/{_PART})*/{_PART}[.]gguf)?)?$')",
        "a Hugging Face model is named hf://org/name, such as hf://mistralai/Mistral-7B-Instruct-v0.3; a GGUF file is "
        "named hf://org/name:Q4_K_M by its quantization, or hf://org/name/file.gguf",
    ),
    CelRule("!self.contains('/../') && !self.endsWith('/..')", "model.uri must not contain '..'"),
)


class ModelSource(Model):
    """The model that vLLM loads, and the names that clients use for it."""

    uri: Annotated[str, Field(max_length=1024), *URI_RULES] = Field(
        description="Location of the model: hf://org/name (or org/name alone) for the Hugging Face Hub, with :Q4_K_M "
        "or /file.gguf behind it for one GGUF file, "
        "pvc://claim/path for a directory of a PersistentVolumeClaim, file:///path for a directory of the image."
    )
    revision: ShortText | None = Field(
        default=None,
        description="Branch, tag or commit of a Hugging Face model. Unset: the default branch.",
    )
    served_names: (
        Annotated[list[Annotated[str, Field(min_length=1, max_length=256)]], Field(min_length=1, max_length=32)] | None
    ) = Field(
        default=None,
        description="Names that clients may send as `model`; the first is shown in answers. Unset: the last part of "
        "uri.",
    )
    token_secret_ref: SecretKeyReference | None = Field(
        default=None,
        description="Key of a Secret with a Hugging Face token, for gated and private models. Unset: downloads are "
        "anonymous.",
    )
