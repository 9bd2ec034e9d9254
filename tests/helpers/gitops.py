"""The verdicts of the tools that wait for a server: Flux (kstatus), Argo CD (the Lua script) and `kubectl wait`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lupa.lua51 import LuaRuntime

SCRIPT = Path(__file__).parents[2] / "docs" / "how-to" / "argocd-health.lua"


def kstatus(server: Mapping[str, Any]) -> str:
    """Return kstatus' verdict: sigs.k8s.io/cli-utils `pkg/kstatus/status`, `Compute` for a kind without rules."""
    metadata, status = server["metadata"], server.get("status") or {}
    if metadata.get("deletionTimestamp"):
        return "Terminating"
    if "observedGeneration" in status and status["observedGeneration"] != metadata["generation"]:
        return "InProgress"
    for entry in status.get("conditions", ()):
        if entry["type"] == "Reconciling" and entry["status"] == "True":
            return "InProgress"
        if entry["type"] == "Stalled" and entry["status"] == "True":
            return "Failed"
    for entry in status.get("conditions", ()):
        if entry["type"] == "Ready":
            return "Current" if entry["status"] == "True" else "InProgress"
    return "Current"


def kubectl_wait_ends(server: Mapping[str, Any], kind: str) -> bool:
    """Return True when `kubectl wait --for=condition=KIND` ends (`pkg/cmd/wait/condition.go`, `checkCondition`)."""
    status = server.get("status") or {}
    for entry in status.get("conditions", ()):
        if entry["type"].lower() == kind.lower():
            observed = entry.get("observedGeneration", status.get("observedGeneration"))
            if observed is not None and observed < server["metadata"]["generation"]:
                return False
            return bool(entry["status"].lower() == "true")
    return False


def argocd_health(server: Mapping[str, Any]) -> str:
    """Return the health of the Lua script for Argo CD, which may use Lua's base library only."""
    lua = LuaRuntime(unpack_returned_tuples=True)
    run = lua.eval(
        "function(source, obj) local script = assert(loadstring(source)); "
        "setfenv(script, {obj = obj, ipairs = ipairs, pairs = pairs, type = type}); return script() end"
    )
    health = run(SCRIPT.read_text(), lua.table_from(server, recursive=True))
    assert isinstance(health["message"], str)
    return str(health["status"])
