"""The health script in the layout of the repository of Argo CD, ready for its `resource_customizations`.

`make golden` writes the folder from the states that the tests know.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from lupa.lua51 import LuaRuntime

from tests.helpers.gitops import SCRIPT
from tests.helpers.paths import REPOSITORY
from tests.project.test_gitops_health import ROWS
from tools.block_yaml import in_block_style
from vllm_operator.api.names import API_VERSION, GROUP, KIND

Object = dict[str, Any]

FOLDER = REPOSITORY / "config" / "argocd" / "resource_customizations" / GROUP / KIND
MODEL = {"model": {"uri": "hf://mistralai/Mistral-7B-Instruct-v0.3"}}


def health(server: Object) -> Object:
    """Return status and message of the script, which gets Lua's base library only."""
    lua = LuaRuntime(unpack_returned_tuples=True)
    run = lua.eval(
        "function(source, obj) local script = assert(loadstring(source)); "
        "setfenv(script, {obj = obj, ipairs = ipairs, pairs = pairs, type = type}); return script() end"
    )
    found = run(SCRIPT.read_text(), lua.table_from(server, recursive=True))
    return {"status": str(found["status"]), "message": str(found["message"])}


def files() -> dict[Path, str]:
    """Return the files of the folder with their content."""
    tests: list[Object] = []
    found = {FOLDER / "health.lua": SCRIPT.read_text()}
    for name, resource, _, _ in ROWS:
        place = f"testdata/{re.sub('[^a-z]+', '-', name.lower())}.yaml"
        metadata = {"namespace": "llm", **resource["metadata"]}
        server = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": metadata,
            "spec": {**MODEL, **resource["spec"]},
            "status": resource["status"],
        }
        found[FOLDER / place] = in_block_style([server])
        tests.append({"inputPath": place, "healthStatus": health(server)})
    found[FOLDER / "health_test.yaml"] = in_block_style([{"tests": tests}])
    return found


def test_folder_is_what_the_states_make() -> None:
    expected = files()
    if os.environ.get("UPDATE_GOLDEN"):
        for path, text in expected.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    assert {path: path.read_text() for path in FOLDER.rglob("*.*") if path.is_file()} == expected, "run `make golden`"


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_script_judges_the_test_data(row: tuple[str, Object, str, str]) -> None:
    place = f"testdata/{re.sub('[^a-z]+', '-', row[0].lower())}.yaml"
    (test,) = [
        one for one in yaml.safe_load((FOLDER / "health_test.yaml").read_text())["tests"] if one["inputPath"] == place
    ]

    assert health(yaml.safe_load((FOLDER / place).read_text())) == test["healthStatus"]
    assert test["healthStatus"]["status"] == row[3]
