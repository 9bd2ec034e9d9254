"""The index of requests: what it remembers, and that it stays on disk."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
import tracemalloc

from vllm_operator.client.batch.index import Answered, RequestIndex


def test_later_record_replaces_the_earlier_one() -> None:
    with RequestIndex() as index:
        assert not index.record("a", Answered(b"1", 0, 10, False))
        assert index.record("a", Answered(b"2", 10, 20, True))

        assert index.find("a") == Answered(b"2", 10, 20, True)
        assert index.find("b") is None


def test_second_claim_names_the_first_position() -> None:
    with RequestIndex() as index:
        assert index.claim("a", 3) is None
        assert index.claim("b", 4) is None
        assert index.claim("a", 9) == 3


def test_record_and_claim_of_a_key_do_not_disturb_each_other() -> None:
    with RequestIndex() as index:
        index.record("a", Answered(b"1", 0, 10, True))
        assert index.claim("a", 0) is None
        assert index.find("a") == Answered(b"1", 0, 10, True)

        index.claim("b", 1)
        assert index.find("b") is None
        assert not index.record("b", Answered(b"1", 10, 10, True))
        assert index.claim("b", 2) == 1


def test_repeats_are_counted() -> None:
    with RequestIndex() as index:
        assert [index.count_repeat(b"x") for _ in range(3)] == [1, 2, 3]
        assert index.count_repeat(b"y") == 1


def test_places_come_in_the_order_of_the_file() -> None:
    with RequestIndex() as index:
        index.record("b", Answered(b"", 50, 5, True))
        index.record("a", Answered(b"", 0, 10, True))
        index.claim("c", 1)

        assert list(index.places()) == [(0, 10), (50, 5)]


def test_hundred_thousand_keys_take_no_memory_of_python() -> None:
    tracemalloc.start()
    try:
        with RequestIndex() as index:
            for number in range(100_000):
                index.claim(f"request-{number}", number)
            _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 1_000_000


def test_temporary_folder_without_space_is_named() -> None:
    program = """
        import resource, signal
        from vllm_operator.client.batch.errors import BatchFileError
        from vllm_operator.client.batch.index import RequestIndex

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        with RequestIndex() as index:
            try:
                for number in range(1_000_000):
                    index.claim(f"request-{number}" * 20, number)
            except BatchFileError as error:
                print(error)
    """

    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True)

    assert re.match(r"the index of the requests needs a temporary file, .*SQLITE_TMPDIR$", done.stdout)
