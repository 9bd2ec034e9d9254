"""Causes that only Events show: a volume is not mounted, a sandbox not made, a claim not bound, a container killed."""

from __future__ import annotations

import re
from collections.abc import Iterable

from vllm_operator.diagnosis.diagnosis import NO_DIAGNOSIS, Diagnosis
from vllm_operator.diagnosis.log_text import one_line
from vllm_operator.kube.fields import get, get_str
from vllm_operator.kube.types import Object

PULL_SECRET = "FailedToRetrieveImagePullSecret"
_NO_SECRETS = "Unable to retrieve some image pull secrets"
_POD_EVENTS: tuple[tuple[str, str], ...] = (
    # Of two rows for the same failure, the one that names the cause comes first.
    ("FailedMount", r"MountVolume|MapVolume|references non-existent|not found"),
    ("FailedAttachVolume", ""),
    ("FailedMapVolume", ""),
    ("FailedCreatePodSandBox", ""),
    ("NetworkNotReady", ""),
    ("FailedMount", ""),
    (PULL_SECRET, ""),
    ("Killing", r"failed \w{1,32} probe"),
    ("ExceededGracePeriod", ""),
)
_CLAIM_EVENTS: tuple[tuple[str, str], ...] = (
    ("ProvisioningFailed", ""),
    ("FailedBinding", ""),
    ("VolumeMismatch", ""),
    ("ExternalProvisioning", ""),
    ("WaitForFirstConsumer", ""),
    ("WaitForPodScheduled", ""),
)
_SCALER_EVENTS: tuple[tuple[str, str], ...] = (
    ("KEDAScalerFailed", ""),
    ("KEDAMetricSourceFailed", ""),
    ("ScaledObjectCheckFailed", ""),
    ("KEDAScaleTargetActivationFailed", ""),
)
_EVENTS_BY_KIND = {"Pod": _POD_EVENTS, "PersistentVolumeClaim": _CLAIM_EVENTS, "ScaledObject": _SCALER_EVENTS}
"""Kind -> reason of an Event and a pattern of its message."""

EVENT_REASONS = frozenset(reason for rows in _EVENTS_BY_KIND.values() for reason, _ in rows)
# "MountVolume.SetUp failed for volume "x" : " stays; an identifier that changes with every try does not.
_CHANGING = re.compile(r'(?:sandbox "[0-9a-f]{16,}"|[0-9a-f]{32,})')
_MESSAGE_LENGTH = 600
_READ_LENGTH = 4096
"""Characters that are read of the message of an Event; Kubernetes' components write 1,024 at most."""


def diagnose_events(kind: str, events: Iterable[Object]) -> Diagnosis:
    """Return the cause that the Events of an object show, in their own words; else `NO_DIAGNOSIS`.

    The first row of the table that an Event fits decides, and of its Events the newest.
    """
    newest_first = sorted(events, key=_moment, reverse=True)
    for reason, pattern in _EVENTS_BY_KIND[kind]:
        for event in newest_first:
            message = get_str(event, "message")[:_READ_LENGTH]
            if get_str(event, "reason") == reason and re.search(pattern, message):
                return Diagnosis(reason, one_line(_CHANGING.sub("…", message), _MESSAGE_LENGTH))
    return NO_DIAGNOSIS


def _moment(event: Object) -> str:
    times = (get(event, "series", "lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    return next((moment for moment in times if isinstance(moment, str) and moment), "")


def events_diagnosis_from_status(entry: Object | None) -> Diagnosis | None:
    """Return the cause from Events that an entry of `replicaStatuses`, or a condition, holds; None without one."""
    reason, message = get_str(entry, "reason"), get_str(entry, "message")
    if _NO_SECRETS in message:
        return Diagnosis(PULL_SECRET, message[message.index(_NO_SECRETS) :])
    if reason not in EVENT_REASONS:
        return None
    return Diagnosis(reason, message.partition(": ")[2] if reason == "Killing" else message)
