"""What was measured: for each alert the seconds from its cause to firing, and from the cure to resolving."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass
class Measured:
    """One alert, in seconds after its cause or its cure; None where it did not happen in time.

    Attributes:
        cause: what was done.
        fired_after: until Prometheus showed it as firing.
        resolved_after: until Prometheus did not show it any more.
        notified_after: until Alertmanager's notice reached the receiver.
        end_notified_after: until the notice of its end did.
    """

    cause: str
    fired_after: float | None = None
    resolved_after: float | None = None
    notified_after: float | None = None
    end_notified_after: float | None = None


@dataclass
class Recorder:
    """All alerts that were caused, and the alerts that nothing had caused."""

    alerts: dict[str, Measured] = field(default_factory=dict)
    false_alarms: list[str] = field(default_factory=list)
    healthy_seconds: float = 0.0

    def table(self) -> str:
        """Return the measurements in Markdown."""
        lines = [
            "| Alert | Cause | Fires after | Notice after | Resolves after | Notice after |",
            "|---|---|---|---|---|---|",
        ]
        for name, one in sorted(self.alerts.items()):
            times = (one.fired_after, one.notified_after, one.resolved_after, one.end_notified_after)
            lines.append(f"| {name} | {one.cause} | {' | '.join(map(_seconds, times))} |")
        lines.append(f"\nFalse alarms: {len(self.false_alarms)} {self.false_alarms or ''} in the whole run, of which ")
        return "\n".join(lines) + f"{self.healthy_seconds:.0f} s were healthy waves only."

    def write(self, path: Path) -> None:
        """Write the measurements as JSON."""
        alerts = {
            name: {key: round(value, 1) if isinstance(value, float) else value for key, value in asdict(one).items()}
            for name, one in sorted(self.alerts.items())
        }
        document = {
            "alerts": alerts, "false_alarms": len(self.false_alarms), "healthy_seconds": round(self.healthy_seconds)
        }  # fmt: skip
        path.write_text(json.dumps(document, indent=1) + "\n")


def _seconds(value: float | None) -> str:
    return "not seen" if value is None else f"{value:.0f} s"
