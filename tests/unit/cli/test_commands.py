"""Answers in which any value is another one: a command may refuse them, and must not fail by a defect."""

from __future__ import annotations

import copy
import os
import random
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.fake_api_server import fake_api_server
from tests.helpers.plugin import plugin
from tests.helpers.plugin_world import answers
from vllm_operator.cli.exits import DEFECT

ODD: tuple[Any, ...] = (
    *(None, True, 0, -1, 2**70, 1.5, "", "x", "\x1b[2J\u202e", "a" * 5000),
    *([], {}, [[]], [None], {"a": {}}, [3], {"name": 3}),
)
COMMANDS: tuple[tuple[str, ...], ...] = (
    ("get",),
    ("get", "-A", "-o", "wide"),
    ("status", "mistral"),
    ("status", "crashed", "-o", "yaml"),
    ("top",),
    ("logs", "crashed"),
    ("logs", "mistral"),
    ("doctor",),
    ("check", "mistral", "--cluster"),
    ("wait", "mistral", "--timeout", "0"),
    ("scale", "mistral", "--replicas", "2"),
    ("restart", "mistral"),
    ("report", "-o", os.devnull, "--force"),
)
ROUNDS = int(os.environ.get("HOSTILE_ANSWERS", "8"))


def changed(body: Any, chance: random.Random) -> Any:
    """Return a copy in which one value, at a random place, is an odd one."""
    body = copy.deepcopy(body)
    holder, key = None, None
    node = body
    while isinstance(node, dict | list) and node and (holder is None or chance.random() < 0.85):
        holder, key = node, chance.choice(list(node) if isinstance(node, dict) else range(len(node)))
        node = holder[key]
    if holder is None:
        return chance.choice(ODD)
    holder[key] = chance.choice(ODD)
    return body


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_odd_values_are_no_defect(words: tuple[str, ...], tmp_path: Path) -> None:
    chance = random.Random(" ".join(words))
    with fake_api_server(answers(), tmp_path) as (server, kubeconfig):
        good = dict(server.answers)
        for number in range(ROUNDS):
            server.answers = {
                key: (code, body if isinstance(body, bytes) or chance.random() < 0.5 else changed(body, chance))
                for key, (code, body) in good.items()
            }
            ended = plugin(*words, "--kubeconfig", kubeconfig)
            assert ended.code != DEFECT, (number, ended.stderr)
            assert "\x1b" not in ended.text
            assert "\u202e" not in ended.text or "-o" in words
