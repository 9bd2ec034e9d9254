"""The extra `cli` installs all that the plugin imports."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib

from tests.helpers.paths import REPOSITORY

PROGRAM = """
import importlib, pkgutil, sys
sys.modules.update(dict.fromkeys({hidden!r}))
import vllm_operator.cli, vllm_operator.client
for module in pkgutil.walk_packages(vllm_operator.cli.__path__, "vllm_operator.cli."):
    if module.name != "vllm_operator.cli.entry":
        importlib.import_module(module.name)
vllm_operator.client.VLLMClient
print("imported")
"""
MODULES = {"kubernetes": "kubernetes", "rich": "rich", "tenacity": "tenacity", "common-expression-language": "cel"}
"""Package of an extra -> its module, for those that the plugin may import."""


def names(requirements: list[str]) -> set[str]:
    """Return the names of the packages of an extra."""
    return {re.split(r"[<>=\[]", requirement)[0] for requirement in requirements}


def test_plugin_imports_with_its_extra_alone() -> None:
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    others = set().union(*(names(extra) for extra in extras.values())) - names(extras["cli"])
    assert "openai" in others
    hidden = sorted(MODULES.get(name, name.replace("-", "_")) for name in others)
    done = subprocess.run([sys.executable, "-c", PROGRAM.format(hidden=hidden)], capture_output=True, text=True)
    assert done.stdout == "imported\n", done.stderr
