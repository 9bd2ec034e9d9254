"""What only events tell: why a volume is not mounted, a sandbox not made, a claim not bound, a container killed."""

from __future__ import annotations

import re
from collections.abc import Iterable

from vllm_operator.diagnosis.diagnosis import Diagnosis
from vllm_operator.diagnosis.log_text import one_line
from vllm_operator.kube.fields import get, get_str
from vllm_operator.kube.types import Object

NO_DIAGNOSIS = Diagnosis("", "")

PULL_SECRET = "FailedToRetrieveImagePullSecret"
_NO_SECRETS = "Unable to retrieve some image pull secrets"
_PODS: tuple[tuple[str, str], ...] = (
    # Of two that tell the same, the one that names the cause stands first.
    ("FailedMount", r"MountVolume|MapVolume|references non-existent|not found"),
    ("FailedAttachVolume", ""),
    ("FailedMapVolume", ""),
    ("FailedCreatePodSandBox", ""),
    ("NetworkNotReady", ""),
    ("FailedMount", ""),
    (PULL_SECRET, ""),
    ("Killing", r"failed \w+ probe"),
    ("ExceededGracePeriod", ""),
)
_CLAIMS: tuple[tuple[str, str], ...] = (
    ("ProvisioningFailed", ""),
    ("FailedBinding", ""),
    ("VolumeMismatch", ""),
    ("ExternalProvisioning", ""),
    ("WaitForFirstConsumer", ""),
    ("WaitForPodScheduled", ""),
)
_TABLES = {"Pod": _PODS, "PersistentVolumeClaim": _CLAIMS}
REASONS = frozenset(why for table in _TABLES.values() for why, _ in table)
# "MountVolume.SetUp failed for volume "x" : " stays; an identifier that changes with every try does not.
_CHANGING = re.compile(r'(?:sandbox "[0-9a-f]{16,}"|[0-9a-f]{32,})')
_MESSAGE_LENGTH = 600


def explain(kind: str, events: Iterable[Object]) -> Diagnosis:
    """What the events of a pod or a claim explain, in their own words; NOTHING when they explain nothing.

    The first row of the table that an event fits decides, and of its events the newest.
    """
    newest = sorted(events, key=_moment, reverse=True)
    for why, pattern in _TABLES[kind]:
        for event in newest:
            words = get_str(event, "message")
            if get_str(event, "reason") == why and re.search(pattern, words):
                return Diagnosis(why, one_line(_CHANGING.sub("…", words), _MESSAGE_LENGTH))
    return NO_DIAGNOSIS


def _moment(event: Object) -> str:
    times = (get(event, "series", "lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    return next((moment for moment in times if isinstance(moment, str) and moment), "")


def explanation_from_status(entry: Object | None) -> Diagnosis | None:
    """What an entry of `replicaStatuses`, or a condition, tells of events; None where it tells nothing."""
    why, words = get_str(entry, "reason"), get_str(entry, "message")
    if _NO_SECRETS in words:
        return Diagnosis(PULL_SECRET, words[words.index(_NO_SECRETS) :])
    if why not in REASONS:
        return None
    return Diagnosis(why, words.partition(": ")[2] if why == "Killing" else words)
