"""Judge a file, and print the verdicts as YAML, JSON or lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

import orjson
import yaml

from vllm_operator.offline.gateway_judgement import GatewayRenderer, is_gateway, judge_gateway
from vllm_operator.offline.judgement import Judgement, document_name, is_foreign, judge
from vllm_operator.offline.manifest_file import Document, UnreadableFileError, read_documents
from vllm_operator.offline.refusal import Refusal

EMPTY_FILE = "the file is empty: it must hold a VLLMServer or a VLLMGateway"


def server_documents(text: str) -> list[Document]:
    """Return the documents of a file without the objects of other kinds; all of them if there is nothing else.

    Raises:
        UnreadableFileError: the file is unreadable or empty.
    """
    documents = list(_flattened(read_documents(text)))
    if not documents:
        raise UnreadableFileError(EMPTY_FILE)
    return [document for document in documents if not is_foreign(document.body)] or documents


def judge_file(
    text: str,
    namespace: str,
    kinds: frozenset[str],
    pod_template: str,
    render_gateway: GatewayRenderer | None = None,
) -> list[Judgement]:
    """Return a verdict for each VLLMServer and VLLMGateway of a file; objects of other kinds are left out.

    Args:
        text: the content of the file.
        namespace: namespace of a manifest that names none.
        kinds: optional kinds that the cluster has.
        pod_template: mode of the cluster, `restricted` or `free`.
        render_gateway: renders the children of gateways; without it, a gateway is refused as an unknown kind.
    """
    try:
        documents = server_documents(text)
    except UnreadableFileError as error:
        reason = "EmptyFile" if str(error) == EMPTY_FILE else "UnreadableFile"
        return [Judgement("the file", (Refusal("", reason, str(error)),))]
    return judge_documents(documents, namespace, kinds, pod_template, render_gateway=render_gateway)


def judge_documents(
    documents: Iterable[Document],
    namespace: str,
    kinds: frozenset[str],
    pod_template: str,
    *,
    drains: bool = True,
    now: datetime | None = None,
    render_gateway: GatewayRenderer | None = None,
) -> list[Judgement]:
    """Return a verdict for each of the documents of a file, as `judge_file` does; `drains` and `now` as for `judge`."""
    found = []
    documents = list(documents)
    names = [document_name(document.body, namespace) for document in documents if not is_gateway(document.body)]
    for document in documents:
        if render_gateway and is_gateway(document.body):
            place = document_name(document.body, namespace).partition("/")[0]
            servers = [name.partition("/")[2] for name in names if name.startswith(f"{place}/")]
            found.append(judge_gateway(document, namespace, pod_template, servers, render_gateway))
        else:
            found.append(judge(document, namespace, kinds, pod_template, drains=drains, now=now))
    return found


def _flattened(documents: Iterable[Document]) -> Iterator[Document]:
    """Return the documents with the items of each `kind: List`."""
    for document in documents:
        body = document.body
        if isinstance(body, dict) and body.get("kind") == "List" and isinstance(body.get("items"), list):
            for item in body["items"]:
                yield Document(item, document.repeated)
        else:
            yield document


def as_json(judgements: Sequence[Judgement]) -> str:
    """Return one result for one VLLMServer, and a list of results for several."""
    results: list[Any] = [judgement.as_json() for judgement in judgements]
    shown = results[0] if len(results) == 1 else results
    return orjson.dumps(shown, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()


def as_yaml(judgements: Sequence[Judgement]) -> str:
    """Return the objects of the accepted VLLMServers, as documents of one file."""
    objects = [body for judgement in judgements for body in judgement.objects]
    return yaml.dump_all(objects, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120) if objects else ""


class _Dumper(yaml.SafeDumper):
    """A dumper without anchors: equal parts are written out."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def explanations(judgements: Sequence[Judgement]) -> Iterator[str]:
    """Return the lines for people: refusals with their cause, and notes."""
    for judgement in judgements:
        for problem in judgement.problems:
            yield f"{judgement.name}: refused: {problem.message}"
        for note in judgement.notes:
            yield f"{judgement.name}: note: {note}"
