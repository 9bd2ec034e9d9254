"""The progress bar of a batch, by rich."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

from vllm_operator.client.batch.results import BatchResult

if TYPE_CHECKING:
    from rich.progress import Progress


class HasLoad(Protocol):
    """Has the number of requests in flight."""

    in_flight: int


class NoProgress:
    """Shows nothing."""

    def update(self, result: BatchResult, flow: HasLoad) -> None:
        """Do nothing."""


class BatchProgress:
    """Shows done and failed requests, requests in flight, speed and remaining time, on standard error."""

    def __init__(self, total: int | None, bar: Progress | None = None) -> None:
        """Prepare a bar, or a task in the caller's.

        Raises:
            ImportError: rich is not installed.
        """
        self._owned = bar is None
        self._bar = _new_bar() if bar is None else bar
        self._task = self._bar.add_task("batch", total=total, failed=0, resumed=0, in_flight=0)
        self._failed = self._resumed = 0

    def __enter__(self) -> Self:
        """Show the bar."""
        if self._owned:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the bar as it is."""
        if self._owned:
            self._bar.stop()

    def update(self, result: BatchResult, flow: HasLoad) -> None:
        """Count a result."""
        self._failed += not result.ok
        self._resumed += result.resumed
        self._bar.update(self._task, advance=1, failed=self._failed, resumed=self._resumed, in_flight=flow.in_flight)


def _new_bar() -> Progress:
    """Return a bar of rich on standard error: standard output is for results."""
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    except ImportError as error:
        raise ImportError("progress needs rich: pip install 'vllm-operator[progress]'") from error
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]} failed, {task.fields[resumed]} resumed, {task.fields[in_flight]} in flight"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
