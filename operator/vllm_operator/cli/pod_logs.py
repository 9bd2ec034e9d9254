"""Choose the pod and the container whose log explains most, and read it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vllm_operator.api.names import CONTAINER
from vllm_operator.cli.api_failures import CallError
from vllm_operator.cli.exits import NOT_FOUND, CliError
from vllm_operator.cli.gathered import is_ready
from vllm_operator.cli.group import nearest
from vllm_operator.cli.sanitize import clean, clean_lines
from vllm_operator.cli.servers import field, items, name_of, namespace_of
from vllm_operator.diagnosis.secrets import mask_secrets
from vllm_operator.kube.kinds import POD
from vllm_operator.status.replicas.pod import read_pod
from vllm_operator.status.replicas.pod_states import crashed_container

if TYPE_CHECKING:
    from vllm_operator.cli.cluster import Cluster

LARGEST_LOG = 16 * 1024 * 1024
"""Bytes of one log that are read; the newest ones."""

LONGEST_LINE = 64 * 1024
"""Characters of a line that are printed: the kubelet splits longer ones (16 KiB) itself."""


@dataclass(frozen=True)
class LogChoice:
    """The log to read.

    Attributes:
        pod: the pod.
        container: name of the container.
        previous: read the log of the former run, because the container ended and starts again.
        current: read the log of the present run.
        ended: how the former run ended, in words; empty if it did not.
    """

    pod: Mapping[str, Any]
    container: str
    previous: bool
    current: bool
    ended: str = ""


def choose_pod(
    pods: Sequence[Mapping[str, Any]], statuses: Mapping[str, Mapping[str, Any]], wanted: str | None
) -> Mapping[str, Any]:
    """Return the pod of this name; without one, the worst replica, as the status sorts them.

    Raises:
        CliError: there is no pod of this name, or none at all.
    """
    known = {name_of(pod): pod for pod in pods}
    if wanted is not None:
        return _named_pod(known, wanted)
    worst = (known[name] for name, entry in statuses.items() if name in known and entry.get("phase") != "Serving")
    failing = (pod for pod in pods if not is_ready(pod))
    newest = sorted(pods, key=lambda pod: str(field(pod, "metadata", "creationTimestamp")), reverse=True)
    chosen = next((pod for source in (worst, failing, newest) for pod in source), None)
    if chosen is None:
        raise CliError("the server has no pods yet, so there is no log")
    return chosen


def _named_pod(known: Mapping[str, Mapping[str, Any]], wanted: str) -> Mapping[str, Any]:
    plain = wanted.removeprefix("pod/").removeprefix("pods/")
    if plain not in known:
        listed = nearest(plain, list(known)) or f": its pods are {', '.join(known) or 'none'}"
        raise CliError(f"the server has no pod {clean(plain, 253)!r}{listed}", NOT_FOUND)
    return known[plain]


def choose_container(pod: Mapping[str, Any], wanted: str | None, *, previous: bool) -> LogChoice:
    """Return the container that crashed, else the init container that still runs, else the one that runs vLLM.

    Args:
        pod: the pod.
        wanted: the container to use instead.
        previous: read only the log of the former run.

    Raises:
        CliError: the pod has no container of this name.
    """
    crash = crashed_container(read_pod(dict(pod)))
    name = wanted or (crash[0].name if crash else "") or _running_init(pod) or _main(pod)
    _check_container(pod, name)
    status = next((entry for entry in _statuses(pod) if entry.get("name") == name), {})
    before = field(status, "lastState", "terminated")
    restarted = isinstance(before, Mapping)
    now_ended = field(status, "state", "terminated")
    ended = end_text(before if restarted else now_ended)
    waits = field(status, "state", "waiting") is not None
    return LogChoice(
        pod,
        name,
        previous=restarted and (previous or not status.get("ready")),
        current=not previous and not (waits and restarted),
        ended=ended,
    )


def _check_container(pod: Mapping[str, Any], name: str) -> None:
    known = [str(entry.get("name")) for part in ("initContainers", "containers") for entry in items(pod, "spec", part)]
    if name not in known:
        hint = nearest(name, known) or f": it has {', '.join(map(clean, known))}"
        raise CliError(f"pod {name_of(pod)} has no container {clean(name, 253)!r}{hint}", NOT_FOUND)


def _running_init(pod: Mapping[str, Any]) -> str:
    found = (
        str(entry.get("name"))
        for entry in items(pod, "status", "initContainerStatuses")
        if field(entry, "state", "running") is not None and not entry.get("started")
    )
    return next(found, "")


def _main(pod: Mapping[str, Any]) -> str:
    names = [str(entry.get("name")) for entry in items(pod, "spec", "containers")]
    return CONTAINER if CONTAINER in names or not names else names[0]


def _statuses(pod: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [*items(pod, "status", "initContainerStatuses"), *items(pod, "status", "containerStatuses")]


def end_text(end: Any) -> str:
    """Return how a container ended: `exit code 1 (Error)`; empty if it did not."""
    if not isinstance(end, Mapping):
        return ""
    reason = clean(end.get("reason"), 128)
    return f"exit code {clean(end.get('exitCode'), 16)}{f' ({reason})' if reason else ''}"


GONE = "unable to retrieve container logs for "
"""The kubelet's answer, with status 200, for a container that the node has removed (pkg/kubelet/kubelet_pods.go)."""


def log_query(container: str, *, previous: bool = False, tail: int | None = None, since: float = 0) -> dict[str, str]:
    """Return the query of a log request."""
    query = {"container": container, "limitBytes": str(LARGEST_LOG)}
    if previous:
        query["previous"] = "true"
    if tail is not None:
        query["tailLines"] = str(tail)
    if since:
        query["sinceSeconds"] = str(max(1, int(since)))
    return query


def read_log(cluster: Cluster, pod: Mapping[str, Any], query: Mapping[str, str]) -> str:
    """Return a log without control characters and secrets; the text of the error if the API server has none."""
    try:
        body = cluster.read(POD.path(namespace_of(pod), name_of(pod), "log"), query, LARGEST_LOG)
    except CallError as error:
        if error.status == 400:
            # A container that has not started has no log: "container ... is waiting to start: PodInitializing".
            return f"[no log: {error.detail}]\n"
        raise
    text = body.decode("utf-8", "replace")
    if text.startswith(GONE) and "\n" not in text:
        return "[no log: the node has removed that of this run]\n"
    return safe_log(text if text.endswith("\n") or not text else f"{text}\n")


def safe_log(text: str) -> str:
    """Return the text of a log without control characters and secrets."""
    return mask_secrets(clean_lines(text))


def follow_log(cluster: Cluster, pod: Mapping[str, Any], query: Mapping[str, str]) -> Iterator[str]:
    """Yield the lines of a log as they are written, until the container ends."""
    path = POD.path(namespace_of(pod), name_of(pod), "log")
    rest = b""
    with cluster.stream(path, {**query, "follow": "true"}) as chunks:
        for chunk in chunks:
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                yield safe_log(line[:LONGEST_LINE].decode("utf-8", "replace"))
            rest = rest[:LONGEST_LINE]
    if rest:
        yield safe_log(rest.decode("utf-8", "replace"))
