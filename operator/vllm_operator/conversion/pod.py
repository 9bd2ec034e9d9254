"""Convert a pod that runs vLLM: the container, its resources, variables and probes, and the placement of the pod."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vllm_operator.api.names import CONTAINER
from vllm_operator.conversion.arguments import convert_arguments, describe
from vllm_operator.conversion.command import CommandLine, read_command_line
from vllm_operator.conversion.devices import convert_resources
from vllm_operator.conversion.result import Draft, items, mapping, maps, shown, whole
from vllm_operator.conversion.volumes import Mounted, convert_volumes, model_in_claim, mounted_volumes
from vllm_operator.desired.accelerator import PRODUCT_LABELS
from vllm_operator.desired.rollout import PRE_STOP_SECONDS, STOP_MARGIN_SECONDS
from vllm_operator.vllm.expansion import expand
from vllm_operator.vllm.image_families import image_family

API_KEY_VARIABLES = frozenset({"VLLM_API_KEY"})
TOKEN_VARIABLES = frozenset({"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_TOKEN", "HF_HUB_TOKEN"})
OWN_VARIABLES = frozenset({"HOME", "HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "TRANSFORMERS_CACHE"})
"""Variables of the cache, which the operator sets for its own folder."""

SHORTEST_START_SECONDS, LONGEST_START_SECONDS = 30, 86_400
DEFAULT_GRACE_SECONDS = 30
"""Kubernetes' own `terminationGracePeriodSeconds`."""

SIMPLE_FIELDS = {
    "priorityClassName": "scheduling.priorityClassName",
    "runtimeClassName": "scheduling.runtimeClassName",
    "schedulerName": "scheduling.schedulerName",
    "affinity": "scheduling.affinity",
    "topologySpreadConstraints": "scheduling.topologySpreadConstraints",
}
"""Field of a pod -> field of the spec with the same meaning."""

TEMPLATE_FIELDS = (
    "serviceAccountName",
    "hostNetwork",
    "hostIPC",
    "hostPID",
    "dnsPolicy",
    "dnsConfig",
    "hostAliases",
    "nodeName",
    "initContainers",
    "resourceClaims",
)
"""Fields of a pod that only `podTemplate` has."""

DEFAULTS = {"dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler", "imagePullPolicy": "IfNotPresent"}
"""Field -> the value that the API server writes where none is set: a live object has it, and nobody asked for it."""

READ_FIELDS = frozenset(
    {
        *SIMPLE_FIELDS,
        *TEMPLATE_FIELDS,
        *("containers", "volumes", "nodeSelector", "tolerations", "imagePullSecrets", "securityContext"),
        *("terminationGracePeriodSeconds", "restartPolicy", "enableServiceLinks", "automountServiceAccountToken"),
    }
)
CONTAINER_TEMPLATE_FIELDS = ("envFrom", "workingDir", "volumeDevices", "imagePullPolicy")
READ_CONTAINER_FIELDS = frozenset(
    {
        *CONTAINER_TEMPLATE_FIELDS,
        *("name", "image", "command", "args", "env", "ports", "resources", "volumeMounts", "securityContext"),
        *("startupProbe", "readinessProbe", "livenessProbe", "lifecycle", "terminationMessagePolicy"),
        *("terminationMessagePath", "stdin", "tty"),
    }
)


def convert_pod(pod: Mapping[str, Any], container: Mapping[str, Any], draft: Draft, model: str | None = None) -> None:
    """Add a pod to a draft.

    Args:
        pod: spec of the pod.
        container: the container that runs vLLM.
        draft: receives the fields, and what is lost.
        model: model that the source names outside of the pod.
    """
    pod, container = _without_defaults(pod), _without_defaults(container)
    image = container.get("image")
    draft.set("image", image)
    plain = _convert_env(container, draft)
    line = _command_line(container, plain)
    if line.arguments is None:
        words = [str(word) for word in (*items(container.get("command")), *items(container.get("args")))]
        draft.lose("container", f"it does not start vLLM's API server: {describe(words) or 'it has no command'}")
        return
    _note_command(line, container, draft)
    named = convert_arguments(line.arguments, plain, draft)
    mounted = convert_volumes(mounted_volumes(dict(pod), dict(container)), plain, draft)
    mounted = convert_model(model or named or plain.get("MODEL") or plain.get("MODEL_ID"), mounted, draft)
    convert_resources(mapping(container.get("resources")), draft)
    _convert_probes(container, draft)
    _convert_placement(pod, draft)
    _convert_rights(pod, container, draft)
    _convert_rest(pod, container, mounted, draft)


def _without_defaults(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in DEFAULTS or value != DEFAULTS[name]}


def _command_line(container: Mapping[str, Any], plain: Mapping[str, str]) -> CommandLine:
    family = image_family(str(container.get("image") or ""))
    starts = family is None or family.starts_vllm is not False
    return read_command_line(
        items(container.get("command")), items(container.get("args")), plain, entrypoint_starts_vllm=starts
    )


def _note_command(line: CommandLine, container: Mapping[str, Any], draft: Draft) -> None:
    if line.rest:
        draft.lose("container.command", f"the shell also runs: {shown('; '.join(line.rest))}")
    family = image_family(str(container.get("image") or ""))
    if family is not None and family.starts_vllm:
        return
    if line.command:
        draft.set("engine.command", list(line.command))


def convert_model(named: str | None, mounted: list[Mounted], draft: Draft) -> list[Mounted]:
    """Add the model to a draft; return the volumes that do not hold it."""
    if named is None:
        draft.lose("model", "the source names no model: set spec.model.uri")
        return mounted
    if draft.get("model.servedNames") is None:
        # vLLM's default is the name as given; that of a VLLMServer is its last part.
        draft.set("model.servedNames", [named])
    found = model_in_claim(named, mounted) if named.startswith("/") else None
    if found:
        draft.set("model.uri", found[0])
        return [one for one in mounted if one is not found[1]]
    if named.startswith("/"):
        draft.set("model.uri", f"file://{named}")
        if not mounted or not any(named.startswith(one.path) for one in mounted):
            draft.lose("model", f"{shown(named)} is a folder of the image, as far as the source shows")
    else:
        draft.set("model.uri", named if "://" in named else f"hf://{named}")
    return mounted


def _convert_env(container: Mapping[str, Any], draft: Draft) -> dict[str, str]:
    """Add the variables to a draft; return those with plain values."""
    plain: dict[str, str] = {}
    kept: list[dict[str, Any]] = []
    for item in maps(container.get("env")):
        name, source = str(item.get("name")), mapping(item.get("valueFrom"))
        secret = mapping(source.get("secretKeyRef"))
        if name in API_KEY_VARIABLES | TOKEN_VARIABLES:
            _convert_secret(name, secret, draft)
            continue
        if not source:
            plain[name] = expand(str(item.get("value") or ""), plain)
        if name not in OWN_VARIABLES:
            kept.append({key: value for key, value in item.items() if key in {"name", "value", "valueFrom"}})
    draft.set("engine.env", [_as_text(item) for item in kept])
    return plain


def _as_text(item: dict[str, Any]) -> dict[str, Any]:
    """Return a variable whose value is a text: some sources have numbers there."""
    value = item.get("value")
    if value is None or isinstance(value, str):
        return item
    return {**item, "value": str(value).lower() if isinstance(value, bool) else str(value)}


def _convert_secret(name: str, reference: Mapping[str, Any], draft: Draft) -> None:
    path = "security.apiKeySecretRef" if name in API_KEY_VARIABLES else "model.tokenSecretRef"
    if reference.get("name") and reference.get("key"):
        draft.set(path, {"name": reference["name"], "key": reference["key"]})
    else:
        draft.lose(f"variable {name}", f"its value is no key of a Secret: put it in one, and name it in spec.{path}")


def _convert_probes(container: Mapping[str, Any], draft: Draft) -> None:
    """Add the time for a start; the operator's own probes replace the others."""
    probe = mapping(container.get("startupProbe"))
    if probe:
        period, failures = _number(probe, "periodSeconds", 10), _number(probe, "failureThreshold", 3)
        seconds = _number(probe, "initialDelaySeconds", 0) + period * failures
    else:
        probes = [mapping(container.get(name)) for name in ("livenessProbe", "readinessProbe")]
        seconds = max(_number(one, "initialDelaySeconds", 0) for one in probes)
    if seconds > SHORTEST_START_SECONDS:
        draft.set("health.startupTimeoutSeconds", min(max(seconds, SHORTEST_START_SECONDS), LONGEST_START_SECONDS))
    if mapping(container.get("lifecycle")):
        draft.lose("container.lifecycle", "the operator's own preStop replaces it")


def _number(fields: Mapping[str, Any], name: str, default: int) -> int:
    return whole(fields.get(name), default)


def _convert_placement(pod: Mapping[str, Any], draft: Draft) -> None:
    selector = dict(mapping(pod.get("nodeSelector")))
    label = PRODUCT_LABELS.get(str(draft.get("accelerator.resourceName") or "nvidia.com/gpu"), "")
    if label in selector and draft.get("accelerator.resourceName") != "":
        draft.set("accelerator.product", selector.pop(label))
    draft.set("scheduling.nodeSelector", {key: str(value) for key, value in selector.items()})
    draft.set("scheduling.tolerations", maps(pod.get("tolerations")))
    draft.set("imagePullSecrets", maps(pod.get("imagePullSecrets")))
    for name, path in SIMPLE_FIELDS.items():
        draft.set(path, pod.get(name))
    grace = _number(pod, "terminationGracePeriodSeconds", DEFAULT_GRACE_SECONDS)
    if grace != DEFAULT_GRACE_SECONDS and draft.get("rollout.drainTimeoutSeconds") is None:
        draft.set("rollout.drainTimeoutSeconds", max(0, grace - PRE_STOP_SECONDS - STOP_MARGIN_SECONDS))


def _convert_rights(pod: Mapping[str, Any], container: Mapping[str, Any], draft: Draft) -> None:
    for name, source in (("podSecurityContext", pod), ("containerSecurityContext", container)):
        draft.set(f"security.{name}", mapping(source.get("securityContext")))
    if not draft.get("security") or "runAsUser" not in str(draft.get("security")):
        draft.lose(
            "securityContext", "the pods run as user 1000 without capabilities; before, the image chose the user"
        )


def _convert_rest(pod: Mapping[str, Any], container: Mapping[str, Any], mounted: list[Mounted], draft: Draft) -> None:
    """Add what only `podTemplate` has, and note what has no place at all."""
    template = _template(pod, container, mounted)
    draft.set("podTemplate.spec", template)
    if template:
        names = ", ".join(sorted(template))
        draft.lose("podTemplate", f"{names} stand in spec.podTemplate: a restricted operator may refuse them")
    unread = [f"pod.{name}" for name in sorted(pod.keys() - READ_FIELDS)]
    unread += [f"container.{name}" for name in sorted(container.keys() - READ_CONTAINER_FIELDS)]
    for path in unread:
        draft.lose(path, "it has no field in a VLLMServer: add it to spec.podTemplate if it is needed")


def _template(pod: Mapping[str, Any], container: Mapping[str, Any], mounted: list[Mounted]) -> dict[str, Any]:
    """Return the part of the pod that goes to `podTemplate`."""
    template: dict[str, Any] = {name: pod[name] for name in TEMPLATE_FIELDS if pod.get(name)}
    own: dict[str, Any] = {name: container[name] for name in CONTAINER_TEMPLATE_FIELDS if container.get(name)}
    if mounted:
        own["volumeMounts"] = [one.mount for one in mounted]
    others = [one for one in maps(pod.get("containers")) if one.get("name") != container.get("name")]
    containers = [{"name": CONTAINER, **own}, *others] if own else others
    mounts = [one.mount for one in mounted]
    for other in (*others, *maps(pod.get("initContainers"))):
        mounts += maps(other.get("volumeMounts"))
    return template | _set_only({"containers": containers, "volumes": _used_volumes(pod, mounts)})


def _set_only(parts: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parts.items() if value}


def _used_volumes(pod: Mapping[str, Any], mounts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    used = {str(mount.get("name")) for mount in mounts}
    return [volume for volume in maps(pod.get("volumes")) if str(volume.get("name")) in used]
