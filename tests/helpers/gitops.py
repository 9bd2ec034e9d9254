"""Those who wait for a server: Flux by kstatus' rules, Argo CD by our Lua script, kubectl by its own check."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lupa.lua51 import LuaRuntime

SCRIPT = Path(__file__).parents[2] / "docs" / "how-to" / "argocd-health.lua"


def kstatus(server: Mapping[str, Any]) -> str:
    """What Flux makes of it: sigs.k8s.io/cli-utils `pkg/kstatus/status`, `Compute` for a kind without rules."""
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


def kubectl_waits_no_more(server: Mapping[str, Any], kind: str) -> bool:
    """`kubectl wait --for=condition=KIND` ends (kubectl `pkg/cmd/wait/condition.go`, `checkCondition`)."""
    status = server.get("status") or {}
    for entry in status.get("conditions", ()):
        if entry["type"].lower() == kind.lower():
            observed = entry.get("observedGeneration", status.get("observedGeneration"))
            if observed is not None and observed < server["metadata"]["generation"]:
                return False
            return bool(entry["status"].lower() == "true")
    return False


def argo(server: Mapping[str, Any]) -> str:
    """What Argo CD makes of it, with nothing but Lua's base library."""
    lua = LuaRuntime(unpack_returned_tuples=True)
    run = lua.eval(
        "function(source, obj) local script = assert(loadstring(source)); "
        "setfenv(script, {obj = obj, ipairs = ipairs, pairs = pairs, type = type}); return script() end"
    )
    health = run(SCRIPT.read_text(), lua.table_from(server, recursive=True))
    assert isinstance(health["message"], str)
    return str(health["status"])
