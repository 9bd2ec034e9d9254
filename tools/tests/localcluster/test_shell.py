"""A failed program is reported with its command line and the end of its output."""

import sys
import time
from pathlib import Path

import pytest

from tools.localcluster.errors import ClusterError
from tools.localcluster.shell import locked, run, succeeds


def test_output_is_returned_and_input_passed_on() -> None:
    assert run([sys.executable, "-c", "print(input())"], stdin="hello\n") == "hello\n"


def test_failure_shows_command_code_and_output() -> None:
    with pytest.raises(ClusterError, match=r"exit code 3:\nno such option"):
        run(["sh", "-c", "echo no such option >&2; exit 3"])


def test_missing_program_is_named() -> None:
    with pytest.raises(ClusterError, match="`no-such-program` is not installed"):
        run(["no-such-program"])


def test_program_is_ended_at_its_timeout() -> None:
    began = time.monotonic()
    with pytest.raises(ClusterError, match="did not end within 0 s"):
        run(["sleep", "600"], timeout=0.1)
    assert time.monotonic() - began < 300
    assert not succeeds(["sleep", "600"], timeout=0.1)


def test_lock_is_free_again_after_its_block(tmp_path: Path) -> None:
    for _ in range(2):
        with locked(tmp_path / "locks" / "one.lock"):
            pass
