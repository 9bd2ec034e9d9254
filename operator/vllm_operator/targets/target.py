"""The result of a target: its files, what could not be carried over, and the commands that use the files."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vllm_operator.api.server import VLLMServer
from vllm_operator.errors import VLLMOperatorError
from vllm_operator.targets.coverage import Coverage

Manifests = Sequence[Mapping[str, Any]]
"""The children that the operator would create for the server."""


class TargetError(VLLMOperatorError):
    """A server cannot run on a target at all.

    Args:
        field: path of the field that makes it impossible, or the option of the command line.
        message: the cause and the remedy, without the field's name.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


@dataclass(frozen=True)
class TargetFile:
    """One file; `path` is relative to the output folder."""

    path: str
    text: str


@dataclass(frozen=True)
class NotCarried:
    """One part of a server that the target lacks, or has in another way; `message` says what happens instead."""

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


@dataclass(frozen=True)
class RenderedTarget:
    """The files of a target.

    Attributes:
        files: the files, in the order of reading.
        not_carried: what could not be carried over.
        steps: shell commands that bring the files to use.
    """

    files: tuple[TargetFile, ...]
    not_carried: tuple[NotCarried, ...] = ()
    steps: tuple[str, ...] = ()


@dataclass(frozen=True)
class Setting:
    """A value that a target needs and a VLLMServer does not have, such as a region.

    Attributes:
        default: value until the user gives one.
        pattern: regular expression that a value matches as a whole.
        required: the default is only an example, so that the user must replace it.
    """

    name: str
    default: str
    description: str
    pattern: str
    required: bool = False


@dataclass(frozen=True)
class Order:
    """Everything that a target is rendered from.

    Attributes:
        server: the accepted server.
        manifests: the children that the operator would create for it.
        settings: value of each setting of the target.
        replicas: number of replicas; None for that of the spec.
    """

    server: VLLMServer
    manifests: Manifests
    settings: Mapping[str, str] = field(default_factory=dict)
    replicas: int | None = None


@dataclass(frozen=True)
class Target:
    """A place to run a VLLMServer.

    Attributes:
        name: name on the command line.
        title: short description.
        render: function that renders the files.
        coverage: the fields of the spec that it carries over, and what happens to the others.
        settings: values that the user may give.
    """

    name: str
    title: str
    render: Callable[[Order], RenderedTarget]
    coverage: Coverage
    settings: tuple[Setting, ...] = ()


def checked_settings(target: Target, given: Mapping[str, str]) -> tuple[dict[str, str], tuple[NotCarried, ...]]:
    """Return the value of each setting, and a note for each example that the user must still replace.

    Raises:
        TargetError: an unknown setting, or a value that its pattern does not match.
    """
    known = {setting.name: setting for setting in target.settings}
    for name, value in given.items():
        if name not in known:
            names = ", ".join(known) or "no settings"
            raise TargetError(f"--set {name[:80]}", f"the target {target.name} has {names}")
        if not re.fullmatch(known[name].pattern, value):
            raise TargetError(f"--set {name}", f"{value[:80]!r} is no {known[name].description}")
    missing = tuple(
        NotCarried(f"--set {setting.name}", f"the example {setting.default} stands for your {setting.description}")
        for setting in target.settings
        if setting.required and setting.name not in given
    )
    return {name: given.get(name, setting.default) for name, setting in known.items()}, missing
