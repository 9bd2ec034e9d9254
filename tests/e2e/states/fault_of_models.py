"""A middleware for a real vLLM that spoils its `/v1/models` while a file says how: vLLM itself never does so.

It is given to vLLM as `--middleware fault_of_models.fault`, with this file on its PYTHONPATH.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

ORDER = Path("/tmp/fault-of-models")
"""Holds `500`, or `other` for a list of another model; absent while all is well."""


def ordered() -> str:
    """Return the answer to falsify now; empty for none."""
    return ORDER.read_text().strip() if ORDER.exists() else ""


async def fault(request: Any, call_next: Any) -> Any:
    """Answer instead of vLLM, if the fault is on."""
    from starlette.responses import JSONResponse

    order = ordered()
    if request.url.path != "/v1/models" or not order:
        return await call_next(request)
    if order == "500":
        return JSONResponse({"error": {"message": "spoiled by a test"}}, status_code=500)
    return JSONResponse({"object": "list", "data": [{"id": "someone-else", "object": "model"}]})
