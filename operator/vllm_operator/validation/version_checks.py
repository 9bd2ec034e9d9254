"""Notes on an image: what could not be checked without its version of vLLM, and whether it starts vLLM at all."""

from __future__ import annotations

from vllm_operator.api.names import CONTAINER
from vllm_operator.api.spec import UNKNOWN_VERSION, Spec
from vllm_operator.validation.flag_checks import unknown_flags_of_newer
from vllm_operator.vllm.image_families import VLLM_SERVE, image_family
from vllm_operator.vllm.known_release import known_release
from vllm_operator.vllm.releases import load_release, release_numbers
from vllm_operator.vllm.version import shown_version


def version_warnings(spec: Spec, reported: str = "") -> tuple[str, ...]:
    """Return what could not be checked because the version of vLLM is unknown or newer than all measured ones.

    Args:
        spec: the spec.
        reported: version that the replicas report, where it is the only source; empty while none does.
    """
    release = known_release(spec)
    if release is None:
        return (
            f"{_why_unknown(spec)}: flags could not be checked, and --shutdown-timeout was left out, so that running "
            f"requests are cut when a replica stops; {_remedy(reported)}",
        )
    if unknown := unknown_flags_of_newer(spec):
        return (
            f"{', '.join(dict.fromkeys(unknown))} could not be checked: {release.name} is newer than {release.newest}, "
            "the newest release whose flags were measured",
        )
    return ()


def _remedy(reported: str) -> str:
    if reported:
        return f"its replicas report vLLM {reported}: set spec.version: {reported}"
    return "set spec.version to the version of vLLM in the image"


def entrypoint_warnings(spec: Spec) -> tuple[str, ...]:
    """Return a note for an image that is known to start a shell, when neither engine.command nor podTemplate helps."""
    family = image_family(spec.image)
    if family is None or family.starts_vllm is not False or spec.engine.command or _template_sets_command(spec):
        return ()
    command = ", ".join(VLLM_SERVE)
    return (f"images of {family.name} start a shell, not vLLM: set engine.command, such as [{command}]",)


def _template_sets_command(spec: Spec) -> bool:
    pod = (spec.pod_template or {}).get("spec")
    containers = pod.get("containers") if isinstance(pod, dict) else None
    entries = [entry for entry in containers if isinstance(entry, dict)] if isinstance(containers, list) else []
    return any(entry.get("name") == CONTAINER and entry.get("command") for entry in entries)


def _why_unknown(spec: Spec) -> str:
    if spec.version == UNKNOWN_VERSION:
        return f"spec.version is {UNKNOWN_VERSION}"
    if shown := shown_version(spec):
        oldest, newest = (load_release(number) for number in (release_numbers()[0], release_numbers()[-1]))
        side = (
            f"newer than {newest}, the newest" if shown.number > newest.number else f"older than {oldest}, the oldest"
        )
        return f"the tag of the image names vLLM {shown}, which is {side} release whose flags were measured"
    family = image_family(spec.image)
    if family is not None and family.version == "none":
        return f"the tag of the image shows the version of {family.name}, not that of vLLM"
    return "the tag of the image does not show vLLM's version"
