"""Hours with other bounds of the replicas: `spec.autoscaling.schedule`."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from vllm_operator.api.fields import CelRule, Model

Cron = Annotated[str, Field(max_length=128)]
"""Five fields: minute, hour, day of the month, month, day of the week."""

_FIVE_FIELDS = "matches('^[0-9A-Za-z*/,#-]+( [0-9A-Za-z*/,#-]+){4}$')"
_CRON_WANTED = (
    "must be a cron expression of five fields: minute, hour, day of the month, month and day of the week, such as "
    "0 8 * * 1-5"
)

MAX_WINDOWS = 16
"""Most windows of a server: each costs time whenever the bounds are computed."""


class ScheduleWindow(Model):
    """A window of time with other bounds. It opens at each `start`."""

    time_zone: Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$")] = Field(
        default="Etc/UTC", description="Time zone of start and end, by its name in the IANA database: Europe/Berlin."
    )
    start: Cron = Field(
        description="When the window opens, as a cron expression: minute, hour, day of the month, month, day of the "
        "week. 0 8 * * 1-5 is 08:00 from Monday to Friday."
    )
    end: Cron | None = Field(default=None, description="When the window closes, as a cron expression.")
    duration_seconds: Annotated[int, Field(ge=60, le=2_678_400)] | None = Field(
        default=None, description="Seconds from start until the window closes, in place of end; at most 31 days."
    )
    min_replicas: Annotated[int, Field(ge=0, le=10_000)] | None = Field(
        default=None, description="Fewest replicas while the window is open. Unset: autoscaling.minReplicas."
    )
    max_replicas: Annotated[int, Field(ge=1, le=10_000)] | None = Field(
        default=None, description="Most replicas while the window is open. Unset: autoscaling.maxReplicas."
    )

    cel_rules: ClassVar[tuple[CelRule, ...]] = (
        CelRule(f"self.start.{_FIVE_FIELDS}", f"start {_CRON_WANTED}", field_path=".start"),
        CelRule(f"!has(self.end) || self.end.{_FIVE_FIELDS}", f"end {_CRON_WANTED}", field_path=".end"),
        CelRule(
            "has(self.end) != has(self.durationSeconds)",
            "a window needs either end or durationSeconds: set one of the two",
        ),
        CelRule(
            "has(self.minReplicas) || has(self.maxReplicas)",
            "a window without minReplicas and maxReplicas changes nothing: set one of them",
        ),
        CelRule(
            "!has(self.end) || self.start != self.end",
            "start and end must not be the same: the window would never close",
            field_path=".end",
        ),
    )
