"""A probed replica, divided into parts with one writer each.

| Part | Holds | Written by |
|---|---|---|
| `target` | address and expected answer | `manager` |
| `slot` | the task of its probe and the queue that it runs in | `scheduler` |
| `result` | the last accepted probe result, and the state that judges the next one | `results` |
| `stall` | samples of the engine counters, and the stall that they show | `stall_detector` |
| `service` | the last sample of its requests | `service_quality` |

All other modules of this package read these parts and never write to them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from vllm_operator.probing.results import ProbeResult
from vllm_operator.probing.scheduler import ScheduleSlot
from vllm_operator.probing.service_quality import ServiceRecord
from vllm_operator.probing.stall_detector import StallRecord
from vllm_operator.probing.targets import ProbeTarget


@dataclass(eq=False, slots=True)
class ProbedReplica:
    """A replica that is probed at its interval; see the module for its parts and their writers."""

    target: ProbeTarget
    slot: ScheduleSlot = field(default_factory=ScheduleSlot)
    result: ProbeResult = field(default_factory=ProbeResult)
    stall: StallRecord = field(default_factory=StallRecord)
    service: ServiceRecord = field(default_factory=ServiceRecord)
