"""The results file of a batch: each outcome is one line, written before it is handed on.

A run that was killed continues from it. The file survives the death of the process at any byte: a line that was cut
off is removed, and its request is sent again.
"""

from __future__ import annotations

import fcntl
import logging
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Self

from vllm_operator.client.batch.errors import BatchFileError
from vllm_operator.client.batch.index import Answered, RequestIndex
from vllm_operator.client.batch.records import START, Record, as_line, parse_line

MAX_LINE_BYTES = 256 * 1024 * 1024
"""Bytes of a line that is read: four times what the client accepts in one answer by default."""

log = logging.getLogger(__name__)


class ResultsFile:
    """An open results file. It is safe under threads, and no second run can open it."""

    def __init__(self, path: Path | str) -> None:
        """Open a results file, or create it, and read what it holds.

        Raises:
            BatchFileError: it cannot be opened, another run uses it, or it holds something else.
        """
        self.path = Path(os.path.realpath(path))
        self.unreadable = 0
        """Lines that hold no record, such as after a power failure. Their requests are sent again."""
        self.superseded = 0
        """Lines whose request has a later line."""
        self._mutex = threading.Lock()
        self._file = self._open()
        self._index = RequestIndex()
        try:
            self._end = self._read()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        """Return the file."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close()

    def claim(self, key: str, position: int) -> int | None:
        """Note the request of a key. Return the position of an earlier request with the key, or None."""
        with self._mutex:
            return self._index.claim(key, position)

    def count_repeat(self, fingerprint: bytes) -> int:
        """Return how often this run has met a fingerprint, this time included."""
        with self._mutex:
            return self._index.count_repeat(fingerprint)

    def find(self, key: str, fingerprint: bytes) -> Record | None:
        """Return the final outcome of a request. None: there is none, or the request has changed since."""
        with self._mutex:
            answered = self._index.find(key)
            if answered is None or not answered.is_final or answered.fingerprint not in (b"", fingerprint):
                return None
            record = parse_line(os.pread(self._file.fileno(), answered.length, answered.offset))
        if record is None or record.custom_id != key:
            raise BatchFileError(f"{self.path}: another program changed it during the run: start the run again")
        return record

    def append(self, record: Record) -> None:
        """Write the outcome of a request.

        Raises:
            BatchFileError: it could not be written, such as on a full disk. The file is as it was before.
        """
        line = as_line(record)
        with self._mutex:
            if self._file.closed:
                raise BatchFileError(f"{self.path}: it is closed")
            self._write(line)
            place = Answered(record.fingerprint, self._end, len(line), record.is_final)
            self.superseded += self._index.record(record.custom_id, place)
            self._end += len(line)

    def finish(self) -> None:
        """Write the file to the disk. If it has lines that do not count, replace it by one without them."""
        with self._mutex:
            try:
                os.fsync(self._file.fileno())
                if self.superseded or self.unreadable:
                    self._rewrite()
            except OSError as error:
                # The lines that do not count do no harm: the last one of each request counts.
                log.warning("%s: not all was written to the disk or tidied up: %s", self.path, error.strerror)

    def close(self) -> None:
        """Close the file, and let other runs open it."""
        with self._mutex:
            self._index.close()
            self._file.close()

    def _open(self) -> IO[bytes]:
        """Open and lock the file."""
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_NONBLOCK", 0), 0o666)
        except OSError as error:
            raise BatchFileError(f"{self.path}: it cannot be opened for writing: {error.strerror}") from error
        file = os.fdopen(descriptor, "rb+", buffering=0)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise BatchFileError(f"{self.path}: it is no regular file, so a run cannot continue from it")
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise BatchFileError(f"{self.path}: another run uses it: wait for its end, or name another file") from None
        except BaseException:
            file.close()
            raise
        return file

    def _read(self) -> int:
        """Put the records of the file into the index, remove a line that was cut off, and return the new end."""
        end = records = 0
        torn = b""
        with open(self._file.fileno(), "rb", closefd=False) as lines:
            for line, size in bounded_lines(lines):
                record = parse_line(line)
                if not line.endswith(b"\n"):
                    torn = line
                    break
                if record is None:
                    self.unreadable += 1
                else:
                    records += 1
                    place = Answered(record.fingerprint, end, size, record.is_final)
                    self._index_record(record, place)
                end += size
        self._refuse_other_files(records, torn)
        if torn:
            end = self._mend(end, torn)
        return end

    def _index_record(self, record: Record, place: Answered) -> None:
        """Put a record into the index, unless an earlier line is worth more."""
        earlier = self._index.find(record.custom_id)
        if earlier is not None and earlier.is_final and not place.is_final:
            # An answer is kept, whatever a later line says.
            self.superseded += 1
        else:
            self.superseded += self._index.record(record.custom_id, place)

    def _refuse_other_files(self, records: int, torn: bytes) -> None:
        """Raise a BatchFileError for a file that holds something else, before a byte of it is changed."""
        is_cut_record = not torn or torn.startswith(START) or START.startswith(torn) or not torn.strip(b"\0")
        if records == 0 and (self.unreadable or not is_cut_record):
            raise BatchFileError(
                f"{self.path}: it is no results file of a batch, since no line has custom_id and response: "
                "name another file, or an empty one"
            )

    def _mend(self, end: int, torn: bytes) -> int:
        """Complete or remove the last line, which has no newline. Return the new end of the file."""
        record = parse_line(torn)
        try:
            if record is None:
                os.ftruncate(self._file.fileno(), end)
                return end
            self._end = end + len(torn)
            self._write(b"\n")
        except OSError as error:
            raise BatchFileError(f"{self.path}: its last line cannot be mended: {error.strerror}") from error
        self._index_record(record, Answered(record.fingerprint, end, len(torn) + 1, record.is_final))
        return end + len(torn) + 1

    def _write(self, line: bytes) -> None:
        """Append bytes at `_end`, all of them or none."""
        rest = memoryview(line)
        try:
            while rest:
                rest = rest[os.write(self._file.fileno(), rest) :]
        except OSError as error:
            try:
                os.ftruncate(self._file.fileno(), self._end)
            except OSError:
                pass  # The next run removes the line, since it was cut off.
            raise BatchFileError(
                f"{self.path}: it cannot be written: {error.strerror}. What it holds is safe: free some space, and "
                "start the run again with the same file; only requests without an answer are sent"
            ) from error

    def _rewrite(self) -> None:
        """Replace the file by one with only the lines that count."""
        temporary = self.path.with_name(f".{self.path.name}.new")
        descriptor = self._file.fileno()
        try:
            with open(temporary, "wb") as new:
                os.fchmod(new.fileno(), stat.S_IMODE(os.fstat(descriptor).st_mode))
                for offset, length in self._index.places():
                    new.write(os.pread(descriptor, length, offset))
                new.flush()
                os.fsync(new.fileno())
            os.replace(temporary, self.path)
        finally:
            temporary.unlink(missing_ok=True)


def bounded_lines(file: IO[bytes]) -> Iterator[tuple[bytes, int]]:
    """Yield each line of a file with its size in bytes. A line above `MAX_LINE_BYTES` is yielded as a newline."""
    while line := file.readline(MAX_LINE_BYTES):
        size = len(line)
        if size < MAX_LINE_BYTES or line.endswith(b"\n"):
            yield line, size
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(MAX_LINE_BYTES)
            size += len(line)
        yield b"\n", size
