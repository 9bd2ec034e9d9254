"""Reading a pod of which any field may be missing."""

from __future__ import annotations

from tests.helpers.pods import container, pod, with_container
from vllm_operator.status.replicas.pod import read_pod


def test_empty_pod_can_be_read() -> None:
    read = read_pod({})

    assert (read.name, read.node, read.image, read.main, read.ready) == ("", "", "", None, False)


def test_main_container_is_the_one_that_runs_vllm() -> None:
    body = with_container(pod(), container({"running": {}}))
    sidecar = {**container({"waiting": {"reason": "ContainerCreating"}}), "name": "sidecar"}
    body["status"]["containerStatuses"].insert(0, sidecar)
    body["spec"]["containers"] = [{"name": "sidecar", "image": "proxy:1"}, {"name": "vllm", "image": "vllm:1"}]
    read = read_pod(body)

    assert read.main
    assert (read.main.name, read.image) == ("vllm", "vllm:1")


def test_first_container_stands_in_for_a_renamed_one() -> None:
    body = pod()
    body["status"]["containerStatuses"] = [{**container({"waiting": {"reason": "Creating"}}), "name": "engine"}]
    body["spec"]["containers"] = [{"name": "engine", "image": "vllm:2"}]
    read = read_pod(body)

    assert read.main
    assert (read.main.name, read.main.waiting, read.image) == ("engine", "Creating", "vllm:2")
