"""Subjects of the production checklist, made from a spec."""

from __future__ import annotations

import json
from typing import Any

from vllm_operator.api.names import API_VERSION, KIND
from vllm_operator.cli.checks.item import CheckSubject
from vllm_operator.cli.manifests import subjects_of_file

MODEL = {"uri": "hf://org/name"}


def subject(spec: dict[str, Any] | None = None, **parts: Any) -> CheckSubject:
    """Return the subject of a manifest with this spec, with other parts as a cluster gives them."""
    body = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": "a"},
        "spec": {"model": MODEL, **(spec or {})},
    }
    [(_, found)] = subjects_of_file(json.dumps(body), None)
    values = {"spec": found.spec, "objects": found.objects, **parts}
    return CheckSubject(**values)
