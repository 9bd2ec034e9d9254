"""Record the defaults of the fields that a config.json may leave out: run by the Python of an installed vLLM.

`PYTHON -m tools.sizing.family_defaults` writes `operator/vllm_operator/sizing/family_defaults.json`. A config.json
holds only what differs from the class of its family in Transformers: Gemma 3 4B names no vocabulary and no heads.
"""

from __future__ import annotations

import dataclasses
import json
import re
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

SIZING = Path(__file__).parents[2] / "operator" / "vllm_operator" / "sizing"
READERS = ("model.py", "layer_plan.py", "state_layers.py", "tensors.py", "tower_tensors.py", "encoder_budget.py")
"""Modules whose quoted names are the fields that sizing reads."""

MAPPINGS = (
    "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES",
    "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES",
    "MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES",
    "MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES",
    "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES",
    "MODEL_FOR_MASKED_LM_MAPPING_NAMES",
)
"""Tables of Transformers that name the class of each family."""


def fields() -> set[str]:
    """Return the fields of a config.json that sizing reads."""
    texts = [(SIZING / name).read_text() for name in READERS if (SIZING / name).is_file()]
    return {name for text in texts for name in re.findall(r'"([a-z][a-z_0-9]+)"', text)}


def families() -> list[str]:
    """Return the families whose models vLLM serves."""
    modeling_auto: Any = import_module("transformers.models.auto.modeling_auto")
    registry: Any = import_module("vllm.model_executor.models.registry")

    served = set(registry.ModelRegistry.get_supported_archs())
    found: set[str] = set()
    for mapping in MAPPINGS:
        for family, names in getattr(modeling_auto, mapping, {}).items():
            classes = [names] if isinstance(names, str) else names
            if served.intersection(classes):
                found.add(family)
    return sorted(found)


def defaults(kind: Any, wanted: set[str]) -> dict[str, Any]:
    """Return the defaults of a class of Transformers that are numbers, texts or flags."""
    values = {field.name: field.default for field in dataclasses.fields(kind)}
    return {
        name: value for name, value in values.items() if name in wanted and isinstance(value, bool | int | float | str)
    }


def main() -> None:
    """Write the file."""
    mapping: Any = import_module("transformers.models.auto.configuration_auto").CONFIG_MAPPING

    wanted, found, parts = fields(), {}, {}
    waiting = families()
    while waiting:
        family = waiting.pop()
        if family in found or family not in mapping:
            continue
        kind = mapping[family]
        found[family] = defaults(kind, wanted)
        subs = {name: getattr(part, "model_type", "") for name, part in (kind.sub_configs or {}).items()}
        if subs := {name: part for name, part in subs.items() if part}:
            parts[family] = subs
            waiting.extend(subs.values())
    document = {
        "source": f"classes of Transformers {version('transformers')}, of the families that vLLM serves",
        "families": {family: found[family] for family in sorted(found) if found[family]},
        "parts": dict(sorted(parts.items())),
    }
    lines = json.dumps(document, separators=(",", ":")).replace('},"', '},\n"')
    (SIZING / "family_defaults.json").write_text(lines + "\n")


if __name__ == "__main__":
    main()
