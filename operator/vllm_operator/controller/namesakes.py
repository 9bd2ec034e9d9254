"""Refuse a server whose children would have the names of another server's.

The children of a server with more than 63 characters have a shortened name with a hash. Another server of the namespace
may have that very name, and two long names may have the same hash.
"""

from __future__ import annotations

from datetime import datetime

from vllm_operator.api.problem import Problem
from vllm_operator.informers.snapshot import Snapshot
from vllm_operator.kube.fields import get_int, get_map
from vllm_operator.kube.key import Key
from vllm_operator.kube.types import Object
from vllm_operator.status.inputs import StatusInputs


def namesake_inputs(server: Object, key: Key, owner: str, now: datetime) -> StatusInputs:
    """Return the status inputs of a server that gets no children.

    Args:
        server: the VLLMServer.
        key: the key that it shares with another one.
        owner: name of the server that has the children.
        now: the present time in UTC.
    """
    problem = Problem(
        "NameTaken",
        f"metadata.name: the children of this server would be named {key.instance}, as those of VLLMServer {owner}: "
        "delete this server, and create it under another name",
    )
    return StatusInputs(
        generation=get_int(server, "metadata", "generation"),
        previous=get_map(server, "status"),
        problems=(problem,),
        notes=(),
        selector="",
        endpoint="",
        paused=False,
        autoscaling=False,
        cache_claim=None,
        downloads=False,
        missing_crds=(),
        monitoring=False,
        snapshot=Snapshot(server=server),
        now=now,
    )
