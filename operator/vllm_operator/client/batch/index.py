"""An index of the requests of a batch: on disk beyond a few MiB, so that a million requests need no memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from vllm_operator.client.batch.errors import BatchFileError

CACHE_KIB = 8192
"""Pages of the index in memory. SQLite keeps the rest in a temporary file without a name."""


@dataclass(frozen=True, slots=True)
class Answered:
    """The place of a record in the results file."""

    fingerprint: bytes
    offset: int
    """Bytes from the start of the file."""
    length: int
    """Bytes of the line, with its newline."""
    is_final: bool
    """A retry gives the same: an answer, or an error that lies in the request."""


class RequestIndex:
    """Keys of requests, with the record that answers each and whether this run has met the key.

    It is not safe under threads: the callers hold a lock.
    """

    def __init__(self) -> None:
        """Create an empty index in a private temporary database."""
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        for statement in (
            "PRAGMA journal_mode = OFF",
            "PRAGMA synchronous = OFF",
            f"PRAGMA cache_size = -{CACHE_KIB}",
            "CREATE TABLE records (key TEXT PRIMARY KEY, fingerprint BLOB, offset INT, length INT, final INT,"
            " position INT) WITHOUT ROWID",
            "CREATE TABLE repeats (fingerprint BLOB PRIMARY KEY, count INT) WITHOUT ROWID",
            "BEGIN",
        ):
            self._execute(statement)

    def __enter__(self) -> Self:
        """Return the index."""
        return self

    def __exit__(self, *_: object) -> None:
        """Delete the index."""
        self.close()

    def close(self) -> None:
        """Delete the index and its temporary file."""
        self._db.close()

    def _execute(self, statement: str, values: tuple[object, ...] = ()) -> sqlite3.Cursor:
        """Run a statement.

        Raises:
            BatchFileError: the temporary file cannot be written.
        """
        try:
            return self._db.execute(statement, values)
        except sqlite3.Error as error:
            raise BatchFileError(
                f"the index of the requests needs a temporary file, which cannot be written: {error}: name a folder "
                "with some space in the variable SQLITE_TMPDIR"
            ) from error

    def record(self, key: str, answered: Answered) -> bool:
        """Store the record of a key. Return whether it replaces an older record in the file."""
        row = self._execute("SELECT offset FROM records WHERE key = ?", (key,)).fetchone()
        self._execute(
            "INSERT INTO records VALUES (?1, ?2, ?3, ?4, ?5, NULL) ON CONFLICT (key) DO UPDATE SET"
            " fingerprint = ?2, offset = ?3, length = ?4, final = ?5",
            (key, answered.fingerprint, answered.offset, answered.length, answered.is_final),
        )
        return row is not None and row[0] is not None

    def find(self, key: str) -> Answered | None:
        """Return the record of a key, or None."""
        row = self._execute(
            "SELECT fingerprint, offset, length, final FROM records WHERE key = ? AND offset IS NOT NULL", (key,)
        ).fetchone()
        return Answered(row[0], row[1], row[2], bool(row[3])) if row else None

    def claim(self, key: str, position: int) -> int | None:
        """Note that a key belongs to the request at a position. Return the position that already has it, or None."""
        row = self._execute("SELECT position FROM records WHERE key = ?", (key,)).fetchone()
        if row is not None and row[0] is not None:
            return int(row[0])
        self._execute(
            "INSERT INTO records VALUES (?1, NULL, NULL, NULL, NULL, ?2) ON CONFLICT (key) DO UPDATE SET position = ?2",
            (key, position),
        )
        return None

    def count_repeat(self, fingerprint: bytes) -> int:
        """Return how often this run has met a fingerprint, this time included."""
        self._execute(
            "INSERT INTO repeats VALUES (?, 1) ON CONFLICT (fingerprint) DO UPDATE SET count = count + 1",
            (fingerprint,),
        )
        return int(self._execute("SELECT count FROM repeats WHERE fingerprint = ?", (fingerprint,)).fetchone()[0])

    def places(self) -> Iterator[tuple[int, int]]:
        """Yield offset and length of each record that counts, in the order of the file."""
        yield from self._execute("SELECT offset, length FROM records WHERE offset IS NOT NULL ORDER BY offset")
