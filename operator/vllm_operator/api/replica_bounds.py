"""Compute the bounds of the replicas that a schedule puts in force, and their next change. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from vllm_operator.api.autoscaling import Autoscaling
from vllm_operator.api.schedule import ScheduleWindow

RAREST = timedelta(days=8 * 366)
"""Longest time from one start to the next: a 29th of February comes again after eight years, around 2100."""

LARGEST_SHIFT = timedelta(hours=2, minutes=1)
"""More than any zone moves its clocks (Antarctica/Troll: two hours). An hour that comes twice ends within it."""

MOST_STEPS = 8
"""Starts and ends in a row that change nothing, after which the next change is looked for later."""

ENDS_LOOKED_AT = 5
"""Ends of a window of which one must not be a start: hours of the days of a working week."""


class ScheduleError(ValueError):
    """A part of a window that cannot be read.

    Args:
        field: the field of the window.
        message: the cause, and what to do.
    """

    def __init__(self, field_name: str, message: str) -> None:
        super().__init__(message)
        self.field = field_name


@dataclass(frozen=True, slots=True)
class ReplicaBounds:
    """Fewest and most replicas."""

    min_replicas: int
    max_replicas: int

    def __str__(self) -> str:
        return f"{self.min_replicas} to {self.max_replicas} replicas"


@dataclass(frozen=True, slots=True)
class RaisedFloor:
    """The fewest replicas of an autoscaler, raised by `fastPath`.

    Attributes:
        replicas: the raised number.
        since: when it was raised.
        cause: the load that needed it; empty when it was raised before the operator started.
    """

    replicas: int
    since: datetime
    cause: str = ""


@dataclass(frozen=True, slots=True)
class BoundsInForce:
    """The bounds at one moment.

    Attributes:
        bounds: the bounds.
        since: the moment for which they were computed.
        until: when they must be computed again; None where no schedule changes them.
        following: the bounds from `until` on; None when they are not known to change then.
    """

    bounds: ReplicaBounds
    since: datetime
    until: datetime | None = None
    following: ReplicaBounds | None = None

    def holds_at(self, moment: datetime) -> bool:
        """Return whether the bounds need not be computed again; a clock that was set back needs it."""
        return self.until is None or self.since <= moment < self.until


def plain_bounds(scaling: Autoscaling) -> ReplicaBounds:
    """Return the bounds outside of all windows."""
    return ReplicaBounds(scaling.min_replicas, scaling.max_replicas)


def window_bounds(scaling: Autoscaling, window: ScheduleWindow) -> ReplicaBounds:
    """Return the bounds of an open window, completed by those outside of all windows."""
    plain = plain_bounds(scaling)
    return ReplicaBounds(
        plain.min_replicas if window.min_replicas is None else window.min_replicas,
        plain.max_replicas if window.max_replicas is None else window.max_replicas,
    )


def all_bounds(scaling: Autoscaling) -> Iterator[ReplicaBounds]:
    """Yield the bounds that can be in force at any time."""
    yield plain_bounds(scaling)
    yield from (window_bounds(scaling, window) for window in scaling.schedule)


def may_sleep(scaling: Autoscaling) -> bool:
    """Return whether a server may have no replica at some time."""
    return any(bounds.min_replicas == 0 for bounds in all_bounds(scaling))


def bounds_in_force(scaling: Autoscaling, now: datetime) -> BoundsInForce:
    """Return the bounds at a moment, and their next change.

    Of several open windows, the one with the largest minReplicas counts as a whole; among equal ones that with the
    largest maxReplicas.

    Raises:
        ScheduleError: a window cannot be read.
    """
    windows = [_Window.at(window, window_bounds(scaling, window), now) for window in scaling.schedule]
    bounds = _chosen(windows, scaling, now)
    moment = now
    for _ in range(MOST_STEPS):
        times = [time for window in windows for time in window.boundaries(moment)]
        if not times:
            return BoundsInForce(bounds, now)
        moment = min(times)
        for window in windows:
            window.move_to(moment)
        if (following := _chosen(windows, scaling, moment)) != bounds:
            return BoundsInForce(bounds, now, moment, following)
    return BoundsInForce(bounds, now, moment)


def check_window(window: ScheduleWindow, now: datetime) -> None:
    """Check that a window can be read, and opens and closes at all.

    Raises:
        ScheduleError: names the field, the cause and what to do.
    """
    zone = _zone(window)
    for name, expression in (("start", window.start), ("end", window.end)):
        if expression is not None:
            _check_occurs(name, expression, _next(name, expression, zone, now), now)
    if window.end is not None and _never_closes(window.start, window.end, zone, now):
        raise ScheduleError(
            "end", f'"{window.end}" comes only when the window opens again, which so never closes: choose another time'
        )


def _never_closes(start: str, end: str, zone: ZoneInfo, now: datetime) -> bool:
    """Return whether each of the next ends is also a start, which opens the window again."""
    ends = islice((moment for moment in _moments("end", end, now.astimezone(zone)) if moment > now), ENDS_LOOKED_AT)
    return all(_last("start", start, zone, moment) == moment for moment in ends)


def _check_occurs(name: str, expression: str, following: datetime | None, now: datetime) -> None:
    if following is None or following - now > RAREST:
        raise ScheduleError(name, f'"{expression}" never comes, or once in more than eight years: choose another day')


@dataclass
class _Window:
    """A window whose starts and ends are followed in time."""

    window: ScheduleWindow
    bounds: ReplicaBounds
    zone: ZoneInfo
    opened: datetime | None
    closed: datetime | None = None
    next_start: datetime | None = field(default=None)
    next_end: datetime | None = field(default=None)

    @classmethod
    def at(cls, window: ScheduleWindow, bounds: ReplicaBounds, now: datetime) -> _Window:
        zone, end = _zone(window), window.end
        return cls(
            window,
            bounds,
            zone,
            opened=_last("start", window.start, zone, now),
            closed=_last("end", end, zone, now) if end else None,
            next_start=_next("start", window.start, zone, now),
            next_end=_next("end", end, zone, now) if end else None,
        )

    def is_open(self, moment: datetime) -> bool:
        if self.opened is None:
            return False
        if self.window.duration_seconds is not None:
            return moment < self.opened + timedelta(seconds=self.window.duration_seconds)
        # A start at the moment of an end opens the window again.
        return self.closed is None or self.opened >= self.closed

    def boundaries(self, moment: datetime) -> Iterator[datetime]:
        """Yield the next moments at which it may open or close."""
        yield from (time for time in (self.next_start, self.next_end) if time is not None)
        if self.opened is not None and self.window.duration_seconds is not None and self.is_open(moment):
            yield self.opened + timedelta(seconds=self.window.duration_seconds)

    def move_to(self, moment: datetime) -> None:
        if self.next_start is not None and self.next_start <= moment:
            self.opened, self.next_start = self.next_start, _next("start", self.window.start, self.zone, moment)
        if self.next_end is not None and self.next_end <= moment and self.window.end:
            self.closed, self.next_end = self.next_end, _next("end", self.window.end, self.zone, moment)


def _chosen(windows: list[_Window], scaling: Autoscaling, moment: datetime) -> ReplicaBounds:
    candidates = [window.bounds for window in windows if window.is_open(moment)]
    return max(candidates, key=lambda one: (one.min_replicas, one.max_replicas), default=plain_bounds(scaling))


def _zone(window: ScheduleWindow) -> ZoneInfo:
    try:
        return ZoneInfo(window.time_zone)
    # A folder of the database, such as Europe, is an OSError; an unknown name is a KeyError.
    except (OSError, ValueError, KeyError):
        raise ScheduleError(
            "timeZone",
            f'"{window.time_zone}" is no time zone: use a name of the IANA database, such as Europe/Berlin or Etc/UTC',
        ) from None


def _next(name: str, expression: str, zone: ZoneInfo, now: datetime) -> datetime | None:
    """Return the first moment after `now`; None when there is none. In an hour that comes twice, only the first."""
    return next((moment for moment in _moments(name, expression, now.astimezone(zone)) if moment > now), None)


def _last(name: str, expression: str, zone: ZoneInfo, now: datetime) -> datetime | None:
    """Return the last moment up to `now`; None when there is none."""
    late = (now + LARGEST_SHIFT).astimezone(zone)
    return next((moment for moment in _moments(name, expression, late, reverse=True) if moment <= now), None)


def _moments(name: str, expression: str, begin: datetime, *, reverse: bool = False) -> Iterator[datetime]:
    """Yield the moments of a cron expression in UTC, by the rules of Debian's cron when clocks are set.

    Raises:
        ScheduleError: it is no cron expression.
    """
    try:
        yield from (moment.astimezone(UTC) for moment in CronSim(expression, begin, reverse))
    except (CronSimError, ArithmeticError, ValueError, AssertionError, TypeError) as error:
        raise ScheduleError(
            name,
            f'"{expression}" is no cron expression ({error}): use five fields, minute, hour, day of the month, month '
            "and day of the week, such as 0 8 * * 1-5",
        ) from None
