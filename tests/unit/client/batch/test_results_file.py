"""The results file: what a run finds in it after the last one was killed at any byte, and what it refuses."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vllm_operator.client.batch import results_file
from vllm_operator.client.batch.errors import BatchFileError
from vllm_operator.client.batch.records import START, Record, as_line
from vllm_operator.client.batch.results_file import ResultsFile

PRINT = b"f" * 16


def record(name: str, text: str = "answer", is_final: bool = True, print_: bytes = PRINT) -> Record:
    """Return the record of an answered request."""
    return Record(
        name, print_, is_final, 200 if is_final else None, {"text": text} if is_final else None, error={"e": 1}
    )


def lines(path: Path) -> list[str]:
    """Return the ids of the lines of a file, each of which is JSON."""
    return [orjson.loads(line)["custom_id"] for line in path.read_bytes().splitlines()]


def test_records_are_found_by_the_next_run(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with ResultsFile(path) as file:
        file.append(record("a", "one"))
        assert file.find("a", PRINT) == record("a", "one")

    with ResultsFile(path) as file:
        assert file.find("a", PRINT) == record("a", "one")
        assert file.find("b", PRINT) is None


def test_record_is_on_the_file_before_append_returns(tmp_path: Path) -> None:
    with ResultsFile(tmp_path / "out.jsonl") as file:
        file.append(record("a"))

        assert (tmp_path / "out.jsonl").read_bytes() == as_line(record("a"))


def test_changed_request_is_not_answered_by_the_old_record(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with ResultsFile(path) as file:
        file.append(record("a"))
        assert file.find("a", b"g" * 16) is None
        file.append(record("a", "new", print_=b"g" * 16))
        file.finish()

    assert lines(path) == ["a"]
    with ResultsFile(path) as file:
        assert file.find("a", b"g" * 16) == record("a", "new", print_=b"g" * 16)


def test_failure_that_a_retry_can_help_is_no_outcome(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with ResultsFile(path) as file:
        file.append(record("a", is_final=False))
        file.append(record("b", is_final=False))

    with ResultsFile(path) as file:
        assert file.find("a", PRINT) is None
        file.append(record("a"))
        file.finish()

    assert lines(path) == ["b", "a"]


def test_answer_counts_whatever_a_later_line_says(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_bytes(as_line(record("a", "good")) + as_line(record("a", is_final=False)))

    with ResultsFile(path) as file:
        assert file.find("a", PRINT) == record("a", "good")
        file.finish()

    assert path.read_bytes() == as_line(record("a", "good"))


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data(), texts=st.lists(st.text(max_size=30), min_size=1, max_size=5))
def test_file_cut_at_any_byte_keeps_each_whole_line(tmp_path: Path, data: st.DataObject, texts: list[str]) -> None:
    path = tmp_path / "out.jsonl"
    path.unlink(missing_ok=True)
    written = [as_line(record(str(number), text)) for number, text in enumerate(texts)]
    whole = b"".join(written)
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])

    with ResultsFile(path) as file:
        missing = [number for number in range(len(texts)) if file.find(str(number), PRINT) is None]
        for number in missing:
            file.append(record(str(number), texts[number]))
        file.finish()

    assert path.read_bytes() == whole
    # A line counts as soon as its JSON is whole, with or without its newline.
    ends = [sum(map(len, written[: number + 1])) - 1 for number in range(len(texts))]
    assert missing == [number for number, end in enumerate(ends) if end > cut]


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.integers(0, 2), st.binary(min_size=1, max_size=60).filter(lambda b: b"\n" not in b))
def test_unreadable_line_costs_only_its_request(tmp_path: Path, place: int, garbage: bytes) -> None:
    path = tmp_path / "out.jsonl"
    written = [as_line(record(str(number))) for number in range(3)]
    path.write_bytes(b"".join([*written[:place], garbage + b"\n", *written[place + 1 :]]))

    with ResultsFile(path) as file:
        found = [number for number in range(3) if file.find(str(number), PRINT)]
        assert (found, file.unreadable) == ([number for number in range(3) if number != place], 1)
        file.finish()

    assert lines(path) == [str(number) for number in found]


@pytest.mark.parametrize("content", [b"\0" * 100, b"", START[:5], START, START + b'x","custom'])
def test_start_of_a_first_line_is_removed(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "out.jsonl"
    path.write_bytes(content)

    with ResultsFile(path) as file:
        file.append(record("a"))

    assert path.read_bytes() == as_line(record("a"))


@pytest.mark.parametrize(
    "content",
    [
        b"my notes",
        b"my notes\nof today\n",
        b'{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":{}}\n',
        b'{"model": 1}',
        b"\x89PNG\r\n\x1a\n" + bytes(range(256)),
    ],
)
def test_file_with_something_else_is_refused_and_kept(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)

    with pytest.raises(BatchFileError, match=r"notes\.txt: it is no results file of a batch.*name another file"):
        ResultsFile(path)

    assert path.read_bytes() == content


def test_second_run_is_refused_while_the_first_one_writes(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with ResultsFile(path), pytest.raises(BatchFileError, match="another run uses it"):
        ResultsFile(path)

    ResultsFile(path).close()


@pytest.mark.parametrize("name", ["no/such/folder/out.jsonl", "."])
def test_path_that_cannot_be_opened_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(BatchFileError, match="cannot be opened for writing"):
        ResultsFile(tmp_path / name)


def test_pipes_and_devices_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    for path in (tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(BatchFileError, match="no regular file"):
            ResultsFile(path)


def test_link_to_the_file_stays_a_link(tmp_path: Path) -> None:
    target, link = tmp_path / "target.jsonl", tmp_path / "link.jsonl"
    target.write_bytes(as_line(record("a", "old")) + as_line(record("a", "new")))
    link.symlink_to(target)

    with ResultsFile(link) as file:
        file.finish()

    assert link.is_symlink()
    assert target.read_bytes() == as_line(record("a", "new"))


def test_rewritten_file_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_bytes(as_line(record("a", "old")) + as_line(record("a", "new")))
    path.chmod(0o600)

    with ResultsFile(path) as file:
        file.finish()

    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_line_above_the_bound_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results_file, "MAX_LINE_BYTES", 1000)
    path = tmp_path / "out.jsonl"
    path.write_bytes(as_line(record("a", "x" * 5000)) + as_line(record("b")))

    with ResultsFile(path) as file:
        assert file.find("a", PRINT) is None
        assert file.find("b", PRINT) == record("b")
        assert file.unreadable == 1


def test_file_changed_by_another_program_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with ResultsFile(path) as file:
        file.append(record("a"))
        os.truncate(path, 0)

        with pytest.raises(BatchFileError, match="another program changed it"):
            file.find("a", PRINT)


def test_full_disk_leaves_whole_lines_and_says_how_to_go_on(tmp_path: Path) -> None:
    """A bound on the size of files makes `write` fail in the middle of a line, as a full disk does."""
    path = tmp_path / "out.jsonl"
    program = """
        import resource, signal, sys
        from tests.unit.client.batch.test_results_file import record
        from vllm_operator.client.batch.errors import BatchFileError
        from vllm_operator.client.batch.results_file import ResultsFile

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        with ResultsFile(sys.argv[1]) as file:
            try:
                for number in range(100):
                    file.append(record(str(number)))
            except BatchFileError as error:
                print(number, error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(path)], capture_output=True, text=True, check=True
    )

    number, _, message = done.stdout.partition(" ")
    assert "out.jsonl: it cannot be written: File too large" in message
    assert "start the run again with the same file" in message
    assert lines(path) == [str(n) for n in range(int(number))]
    with ResultsFile(path) as file:
        file.append(record(number))
    assert lines(path) == [str(n) for n in range(int(number) + 1)]
