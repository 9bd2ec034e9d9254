"""Convert the volumes of a pod: the cache, /dev/shm, a model in a claim; others stay in `podTemplate`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vllm_operator.conversion.result import Draft, mapping, maps
from vllm_operator.desired.cache_volume import CACHE_PATH

CACHE_PATHS = ("/root/.cache/huggingface", "/root/.cache", "/.cache", "/cache", "/data", "/home/vllm/.cache")
"""Mount paths that hold the downloads in public manifests; a variable HF_HOME and its like come first."""

CACHE_VARIABLES = ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "TRANSFORMERS_CACHE")
CLAIM = "persistentVolumeClaim"


@dataclass(frozen=True)
class Mounted:
    """A volume of a pod where the container sees it."""

    path: str
    volume: dict[str, Any]
    mount: dict[str, Any]

    @property
    def claim(self) -> str | None:
        """Name of the claim; None for another kind of volume."""
        name = mapping(self.volume.get(CLAIM)).get("claimName")
        return name if isinstance(name, str) else None


def mounted_volumes(pod: dict[str, Any], container: dict[str, Any]) -> list[Mounted]:
    """Return the volumes that a container mounts."""
    volumes = {str(volume.get("name")): volume for volume in maps(pod.get("volumes"))}
    return [
        Mounted(str(mount.get("mountPath", "")).rstrip("/") or "/", volumes[str(mount.get("name"))], mount)
        for mount in maps(container.get("volumeMounts"))
        if str(mount.get("name")) in volumes
    ]


def convert_volumes(mounted: list[Mounted], env: dict[str, str], draft: Draft) -> list[Mounted]:
    """Add /dev/shm and the cache to a draft; return the volumes that are neither."""
    rest = []
    for one in mounted:
        if one.path == "/dev/shm":
            draft.set("sharedMemory", mapping(one.volume.get("emptyDir")).get("sizeLimit"))
        else:
            rest.append(one)
    cache = _cache(rest, env)
    if cache is not None:
        rest.remove(cache)
        _convert_cache(cache, env, draft)
    return rest


def model_in_claim(path: str, mounted: list[Mounted]) -> tuple[str, Mounted] | None:
    """Return `pvc://claim/path` and its volume for a model at a path of a mounted claim; None for another place."""
    for one in sorted(mounted, key=lambda item: len(item.path), reverse=True):
        if one.claim and (path == one.path or path.startswith(one.path.rstrip("/") + "/")):
            inside = "/".join(
                part.strip("/")
                for part in (str(one.mount.get("subPath") or ""), path[len(one.path) :])
                if part.strip("/")
            )
            return f"pvc://{one.claim}" + (f"/{inside}" if inside else ""), one
    return None


def _cache(mounted: list[Mounted], env: dict[str, str]) -> Mounted | None:
    """Return the volume that holds downloads: that of a variable, else that of a well-known path."""
    folders = [env[name] for name in CACHE_VARIABLES if name in env]
    for one in mounted:
        if any(folder == one.path or folder.startswith(one.path.rstrip("/") + "/") for folder in folders):
            return one
    return next((one for path in CACHE_PATHS for one in mounted if one.path == path), None)


def _convert_cache(cache: Mounted, env: dict[str, str], draft: Draft) -> None:
    if cache.mount.get("subPath"):
        draft.lose("volumeMounts.subPath", f"the cache is the whole volume: its files lie in {cache.mount['subPath']}")
    source = {key: value for key, value in cache.volume.items() if key != "name"}
    if cache.claim:
        draft.set("cache.existingClaim", cache.claim)
    elif "emptyDir" in source:
        return
    else:
        draft.set("cache.volume", source)
    # The operator keeps downloads in a folder of the volume; the files that are there lie somewhere else in it.
    home = env.get("HF_HOME") or (cache.path if cache.path.endswith("huggingface") else f"{cache.path}/huggingface")
    inside = home[len(cache.path) :] if home.startswith(cache.path) else ""
    if f"{CACHE_PATH}{inside}" != f"{CACHE_PATH}/huggingface":
        draft.set(
            "engine.env", [*(draft.get("engine.env") or []), {"name": "HF_HOME", "value": f"{CACHE_PATH}{inside}"}]
        )
    draft.lose("the cache", "vLLM runs as user 1000 now: files of root in the volume may be read-only for it")
