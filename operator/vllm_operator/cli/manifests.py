"""VLLMServers in files, as the commands use them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from vllm_operator.api.names import KIND
from vllm_operator.api.server import parse_server
from vllm_operator.cli.checks.item import CheckSubject
from vllm_operator.cli.exits import CliError
from vllm_operator.cli.servers import field
from vllm_operator.kube.kinds import SERVER
from vllm_operator.offline.judgement import PLACEHOLDER_UID, judge, stored_server
from vllm_operator.offline.manifest_file import Document, UnreadableFileError
from vllm_operator.offline.report import server_documents

if TYPE_CHECKING:
    from vllm_operator.cli.cluster import Cluster

NAMESPACE = "default"


def subjects_of_file(text: str, namespace: str | None) -> Iterator[tuple[str, CheckSubject]]:
    """Yield name and checklist subject of each VLLMServer of a file.

    Raises:
        CliError: the file cannot be read, has no VLLMServer, or holds one that is refused.
    """
    for document in documents_of(text):
        judgement = judge(document, namespace or NAMESPACE)
        if not judgement.accepted:
            causes = "\n".join(f"  {problem.message}" for problem in judgement.problems)
            raise CliError(f"{judgement.name} is refused, so there is nothing to check:\n{causes}")
        spec = parse_server(stored_server(document.body, namespace or NAMESPACE)).spec
        yield judgement.name, CheckSubject(spec, {body["kind"]: body for body in judgement.objects})


def documents_of(text: str) -> list[Document]:
    """Return the documents of a file, without objects of other kinds next to a VLLMServer.

    Raises:
        CliError: the file cannot be read, or is empty.
    """
    try:
        return server_documents(text)
    except UnreadableFileError as error:
        raise CliError(str(error)) from error


def with_uids(cluster: Cluster, text: str) -> list[Document]:
    """Return the documents of a file; a VLLMServer that the cluster has gets its UID, for the owner references.

    Raises:
        CliError: the file cannot be read, or the cluster, or it has no CRD: nothing of a VLLMServer would run there.
    """
    from vllm_operator.cli.api_failures import CallError

    documents = documents_of(text)
    for document in documents:
        metadata = field(document.body, "metadata")
        name = field(metadata, "name")
        if field(document.body, "kind") == KIND and isinstance(metadata, dict) and isinstance(name, str) and name:
            namespace = field(metadata, "namespace")
            live = None
            try:
                live = cluster.get(SERVER, name, namespace if isinstance(namespace, str) else None)
            except CallError as error:
                if not error.is_missing_object:
                    raise
            metadata["uid"] = field(live, "metadata", "uid") or PLACEHOLDER_UID
    return documents
