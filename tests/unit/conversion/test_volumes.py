from __future__ import annotations

import pytest

from vllm_operator.conversion.result import Draft
from vllm_operator.conversion.volumes import convert_volumes, model_in_claim, mounted_volumes


def mounted(**volumes: tuple[str, dict]):
    pod = {"volumes": [{"name": name, **source} for name, (_, source) in volumes.items()]}
    container = {"volumeMounts": [{"name": name, "mountPath": path} for name, (path, _) in volumes.items()]}
    return mounted_volumes(pod, container)


CLAIM = {"persistentVolumeClaim": {"claimName": "models"}}


def test_shared_memory() -> None:
    draft = Draft()
    rest = convert_volumes(mounted(shm=("/dev/shm", {"emptyDir": {"medium": "Memory", "sizeLimit": "2Gi"}})), {}, draft)
    assert (rest, draft.spec) == ([], {"sharedMemory": "2Gi"})


@pytest.mark.parametrize(
    ("path", "env", "home"),
    [
        ("/root/.cache/huggingface", {}, "/cache"),
        ("/root/.cache", {}, None),
        ("/models", {"HF_HOME": "/models"}, "/cache"),
        ("/models", {"HF_HOME": "/models/hub"}, "/cache/hub"),
    ],
)
def test_downloads_in_a_claim_are_found_again(path: str, env: dict[str, str], home: str | None) -> None:
    draft = Draft()
    assert convert_volumes(mounted(cache=(path, CLAIM)), env, draft) == []
    assert draft.get("cache.existingClaim") == "models"
    assert draft.get("engine.env") == ([{"name": "HF_HOME", "value": home}] if home else None)


def test_other_kinds_of_volumes_stay_as_they_are() -> None:
    draft = Draft()
    convert_volumes(mounted(cache=("/data", {"hostPath": {"path": "/m"}})), {}, draft)
    assert draft.get("cache.volume") == {"hostPath": {"path": "/m"}}
    draft = Draft()
    convert_volumes(mounted(cache=("/data", {"emptyDir": {}})), {}, draft)
    assert draft.get("cache") is None


def test_volumes_without_a_meaning_are_returned() -> None:
    rest = convert_volumes(mounted(x=("/templates", {"configMap": {"name": "t"}})), {}, Draft())
    assert [one.path for one in rest] == ["/templates"]


def test_a_model_in_a_claim_has_its_path() -> None:
    volumes = mounted(models=("/models", CLAIM), other=("/models/x", {"emptyDir": {}}))
    found = model_in_claim("/models/llama/8b", volumes)
    assert found
    assert found[0] == "pvc://models/llama/8b"
    assert model_in_claim("/models", volumes)[0] == "pvc://models"
    assert model_in_claim("/modelsx", volumes) is None
