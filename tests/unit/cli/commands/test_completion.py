from __future__ import annotations

import pytest

from tests.helpers.plugin import plugin


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_script_of_a_shell_calls_the_program(shell: str) -> None:
    ended = plugin("completion", shell)
    assert ended.code == 0
    assert "_KUBECTL_VLLM_COMPLETE" in ended.stdout
    assert "kubectl-vllm" in ended.stdout


def test_script_for_kubectl_is_printed() -> None:
    assert "kubectl-vllm completion kubectl" in plugin("completion", "script").stdout


def test_kubectl_is_answered_also_about_options() -> None:
    assert plugin("completion", "kubectl", "--", "render", "--fil").stdout.startswith("--filename\t")


def test_other_shells_are_a_usage_error() -> None:
    assert plugin("completion", "tcsh").code == 2
