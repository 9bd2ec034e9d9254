"""Find the command line of vLLM in the command and the arguments of a container, also inside a shell's command."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SHELLS = frozenset({"sh", "bash", "dash", "ash"})
API_SERVER = "vllm.entrypoints.openai.api_server"
OPERATORS = frozenset({"&&", "||", ";", "|", "&", ">", ">>", "2>&1", "<", "(", ")"})
"""Words that end a simple command of a shell."""

MOST_CHARACTERS = 100_000
"""Characters of a shell's command that are read."""

_VARIABLE = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)\}?")


@dataclass(frozen=True)
class CommandLine:
    """The command line of vLLM.

    Attributes:
        arguments: its arguments; None when no vLLM is started.
        command: the words that start vLLM; empty when the entrypoint of the image does.
        rest: other commands of the shell, for messages.
        shell: the arguments stand in a shell's command.
    """

    arguments: tuple[str, ...] | None
    command: tuple[str, ...] = ()
    rest: tuple[str, ...] = ()
    shell: bool = False


def read_command_line(
    command: Sequence[str], args: Sequence[str], variables: Mapping[str, str], *, entrypoint_starts_vllm: bool
) -> CommandLine:
    """Return the command line of vLLM in a container.

    Args:
        command: command of the container; empty for the entrypoint of its image.
        args: its arguments.
        variables: its variables with plain values, which a shell replaces.
        entrypoint_starts_vllm: the image's entrypoint is vLLM's API server, as far as the image shows.
    """
    words = [str(word) for word in (*command, *args)]
    if not command and entrypoint_starts_vllm and not _starts_vllm(words):
        return CommandLine(tuple(words))
    if words and words[0].rpartition("/")[2] in SHELLS:
        return _in_shell(words, variables)
    found = _starts_vllm(words)
    if found:
        return CommandLine(tuple(words[found:]), tuple(words[:found]))
    if not command and (not words or words[0].startswith("-")):
        return CommandLine(tuple(words))
    return CommandLine(None)


def _starts_vllm(words: Sequence[str]) -> int:
    """Return the number of words that start vLLM's API server; 0 if they start something else."""
    if len(words) > 1 and words[0].rpartition("/")[2] == "vllm" and words[1] == "serve":
        return 2
    if words[:1] == ["serve"]:
        return 1
    for position in range(min(len(words) - 1, 4)):
        if words[position] == "-m" and words[position + 1] == API_SERVER:
            return position + 2
    return 0


def _in_shell(words: Sequence[str], variables: Mapping[str, str]) -> CommandLine:
    """Return the command line in `sh -c "..."`."""
    position = next((index for index, word in enumerate(words) if re.fullmatch(r"-[a-z]*c[a-z]*", word)), None)
    if position is None or position + 1 >= len(words):
        return CommandLine(None, rest=tuple(words))
    script = words[position + 1][:MOST_CHARACTERS]
    try:
        commands = _simple_commands(_shell_words(script))
    except ValueError:
        return CommandLine(None, rest=(script,))
    found = next((one for one in commands if _position(one) is not None), None)
    if found is None:
        return CommandLine(None, rest=tuple(" ".join(one) for one in commands))
    return _found(found, commands, variables)


def _shell_words(script: str) -> list[str]:
    """Return the words and operators of a script.

    Raises:
        ValueError: a quote is not closed.
    """
    joined = script.replace("\\\n", " ").replace("\n", " ; ")
    lexer = shlex.shlex(joined, posix=True, punctuation_chars=";&|<>")
    lexer.whitespace_split = True
    return list(lexer)


def _found(found: list[str], commands: list[list[str]], variables: Mapping[str, str]) -> CommandLine:
    start = _position(found) or 0
    length = _starts_vllm(found[start:])
    rest = [" ".join(one) for one in commands if one is not found]
    rest += [" ".join(found[:start])] if start else []
    arguments = [_replaced(word, variables) for word in found[start + length :]]
    return CommandLine(tuple(arguments), tuple(found[start : start + length]), tuple(rest), shell=True)


def _simple_commands(words: Sequence[str]) -> list[list[str]]:
    """Split the words of a script at its operators."""
    commands: list[list[str]] = [[]]
    for word in words:
        if word in OPERATORS or set(word) <= set(";&|<>"):
            commands.append([])
        else:
            commands[-1].append(word)
    return [one for one in commands if one]


def _position(words: Sequence[str]) -> int | None:
    """Return where vLLM starts in a simple command, after `exec` or settings of variables; None if it does not."""
    for position in range(min(len(words), 16)):
        if _starts_vllm(words[position:]) and words[position] != "serve":
            return position
    return None


def _replaced(word: str, variables: Mapping[str, str]) -> str:
    """Return a word with the variables of the container; one that is not plain becomes a reference for the kubelet."""
    return _VARIABLE.sub(lambda match: variables.get(match[1], f"$({match[1]})"), word)
