"""Judge one manifest as the API server and the operator would, and render its children."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from vllm_operator.api.crd import crd
from vllm_operator.api.names import API_VERSION, KIND
from vllm_operator.api.problem import Problem
from vllm_operator.api.server import parse_server
from vllm_operator.desired.state import DesiredState, desired_state
from vllm_operator.errors import InvalidSpecError
from vllm_operator.kube.kinds import MONITORING_KINDS
from vllm_operator.offline.cel_rules import INSTALL, NoCelLibraryError, has_transition_rules, rule_refusals
from vllm_operator.offline.manifest_file import Document
from vllm_operator.offline.object_meta import metadata_refusals
from vllm_operator.offline.refusal import Refusal
from vllm_operator.offline.structural_schema import schema_refusals, unknown_fields, with_defaults
from vllm_operator.validation.claim_checks import scaling_notes
from vllm_operator.validation.pod_template import FREE, RESTRICTED, restricted_problems
from vllm_operator.validation.secret_references import SECRET_LABEL, SECRET_LABEL_VALUE

PLACEHOLDER_UID = "00000000-0000-0000-0000-000000000000"
"""UID in the owner references of the children: the API server gives the true one when it stores the VLLMServer."""

CEL_MISSING = (
    f"the CEL rules of the CRD were not judged, because no CEL library is installed: run {INSTALL} to judge them too"
)
OTHER_MODE = "to judge for an operator that runs with --pod-template=free, render with --pod-template=free"
"""Added to a refusal of the restricted mode: nobody knows the mode of the cluster offline."""

TRANSITIONS_SKIPPED = "rules about changes to a stored object were not judged: there is no stored object"


@dataclass(frozen=True)
class Judgement:
    """The verdict about one manifest.

    Attributes:
        name: `namespace/name` of the VLLMServer.
        problems: the reasons why it is refused; empty if it is accepted.
        notes: what could not be judged, or must hold in the cluster.
        objects: the children that the operator would create.
    """

    name: str
    problems: tuple[Refusal, ...] = ()
    notes: tuple[str, ...] = ()
    objects: tuple[dict[str, Any], ...] = ()

    @property
    def accepted(self) -> bool:
        """Return whether API server and operator accept the manifest, as far as it was judged."""
        return not self.problems

    def as_json(self) -> dict[str, Any]:
        """Return the verdict as `render -o json` prints it."""
        return {
            "accepted": self.accepted,
            "problems": [vars(problem) for problem in self.problems],
            "notes": list(self.notes),
            "objects": list(self.objects),
        }


def judge(
    document: Document,
    namespace: str = "default",
    kinds: frozenset[str] = MONITORING_KINDS,
    pod_template: str = FREE,
    *,
    drains: bool = True,
    now: datetime | None = None,
) -> Judgement:
    """Return the verdict about one document.

    Args:
        document: a document of a file.
        namespace: namespace of a manifest that names none.
        kinds: optional kinds that the cluster has.
        pod_template: mode of the cluster, `restricted` or `free`. In a restricted one, the ValidatingAdmissionPolicy of
            the install file and the operator refuse what gives further rights.
        drains: the replicas drain by the middleware that the operator mounts.
        now: the time whose bounds of autoscaling.schedule count; None for those outside of all windows.
    """
    body = document.body
    name = document_name(body, namespace)
    if problems := tuple(form_refusals(document)):
        return Judgement(name, problems)
    stored = with_defaults({key: value for key, value in body.items() if key != "status"}, _schema())
    problems, notes = api_server_refusals(body, stored, _schema())
    if problems:
        return Judgement(name, problems, notes)
    identified = with_identity(stored, namespace)
    desired = desired_state(identified, kinds, drains=drains, now=now)
    refused = (*_rights_refused(identified, pod_template), *desired.problems)
    if refused:
        problems = tuple(Refusal(_field_of(problem.message), problem.reason, problem.message) for problem in refused)
        return Judgement(name, problems, notes)
    scaling = scaling_notes(parse_server(identified).spec)
    objects = tuple(manifest.body for manifest in desired.manifests)
    return Judgement(name, (), tuple(dict.fromkeys((*notes, *_notes(desired), *scaling))), objects)


def _rights_refused(body: Mapping[str, Any], pod_template: str) -> Iterator[Problem]:
    """Return what a restricted cluster refuses, also of a spec that the operator refuses for another reason."""
    if pod_template != RESTRICTED:
        return
    try:
        spec = parse_server(body).spec
    except InvalidSpecError:
        return  # it is refused as a whole
    for problem in restricted_problems(spec):
        yield Problem(problem.reason, f"{problem.message}; {OTHER_MODE}")


def stored_server(body: Mapping[str, Any], namespace: str) -> dict[str, Any]:
    """Return an accepted manifest as the API server would store it: with defaults, name and namespace."""
    stored = with_defaults({key: value for key, value in body.items() if key != "status"}, _schema())
    return with_identity(stored, namespace)


def is_foreign(body: Any) -> bool:
    """Return whether a document is an object of another API, which this command does not judge."""
    group = API_VERSION.partition("/")[0]
    if not isinstance(body, Mapping) or not isinstance(body.get("apiVersion"), str) or body.get("kind") == KIND:
        return False
    return body["apiVersion"].partition("/")[0] != group and bool(body.get("kind"))


@functools.cache
def _schema() -> Mapping[str, Any]:
    schema: Mapping[str, Any] = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def form_refusals(document: Document, kind: str = KIND) -> Iterator[Refusal]:
    """Refuse what is no object of a kind at all, and keys that are written twice."""
    body = document.body
    if not isinstance(body, Mapping):
        yield Refusal("", "NoObject", "the document is no object: write apiVersion, kind, metadata and spec")
        return
    for field, wanted in (("apiVersion", API_VERSION), ("kind", kind)):
        if body.get(field) != wanted:
            yield Refusal(field, "UnknownKind", f"{field}: must be {wanted}, and is {str(body.get(field))[:80]}")
    for key in dict.fromkeys(document.repeated):
        yield Refusal(key, "DuplicateField", f"{key[:80]}: a map has this key twice: remove one")


def api_server_refusals(
    body: Mapping[str, Any], stored: Mapping[str, Any], schema: Mapping[str, Any]
) -> tuple[tuple[Refusal, ...], tuple[str, ...]]:
    """Return the refusals of the API server, and what could not be judged; rules count only in a valid object."""
    open_metadata = {**schema, "properties": {**schema["properties"], "metadata": {}}}
    problems = [
        *metadata_refusals(body.get("metadata")),
        *unknown_fields(body, open_metadata),
        *schema_refusals(stored, open_metadata),
    ]
    notes = [TRANSITIONS_SKIPPED] if has_transition_rules(schema) else []
    if not problems:
        try:
            problems.extend(rule_refusals(_named(stored), schema))
        except NoCelLibraryError:
            notes.append(CEL_MISSING)
    return tuple(dict.fromkeys(problems)), tuple(notes)


def _named(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return the object with a name, which the API server makes from `generateName` before it evaluates rules."""
    metadata = stored["metadata"]
    return {**stored, "metadata": {**metadata, "name": metadata.get("name") or f"{metadata['generateName']}xxxxx"}}


def with_identity(stored: Mapping[str, Any], namespace: str) -> dict[str, Any]:
    """Return an object with the identity that the API server gives it."""
    named = _named(stored)
    given = {"namespace": namespace, "uid": PLACEHOLDER_UID, "generation": 1}
    return {**named, "metadata": {**given, **{key: value for key, value in named["metadata"].items() if value}}}


def document_name(body: Any, namespace: str) -> str:
    """Return `namespace/name` of a document, as far as it has them."""
    metadata = body.get("metadata") if isinstance(body, Mapping) else None
    metadata = metadata if isinstance(metadata, Mapping) else {}
    return f"{metadata.get('namespace') or namespace}/{metadata.get('name') or metadata.get('generateName') or '?'}"


def _field_of(message: str) -> str:
    """Return the field with which a message of the operator starts."""
    field, colon, _ = message.partition(": ")
    return field if colon and field.startswith("spec") and " " not in field else "spec"


def _notes(desired: DesiredState) -> Iterable[str]:
    """Return what the spec alone cannot show."""
    yield from desired.warnings
    for problem in desired.rights_claimed.pod_template:
        yield f"an operator that runs with --pod-template=restricted refuses this: {problem.message}"
    for reference in desired.references:
        key = f" with the key {reference.key}" if reference.key else ""
        yield f"{reference.field}: the {reference.kind} {reference.name}{key} must exist in the namespace"
    for name in dict.fromkeys(reference.name for reference in desired.rights_claimed.secrets):
        label = f"{SECRET_LABEL}={SECRET_LABEL_VALUE}"
        yield f"an operator that runs with --secrets=labelled refuses the Secret {name} without the label {label}"
