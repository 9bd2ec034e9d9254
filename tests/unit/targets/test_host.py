from __future__ import annotations

import pytest

from tests.helpers.specs import body, server
from tests.helpers.target_files import order_of
from vllm_operator.targets.host import cache_source, check_replicas, device_files, health_command, published
from vllm_operator.targets.replica import read_replica
from vllm_operator.targets.target import TargetError


@pytest.mark.parametrize(
    ("service", "address", "port"),
    [
        ({}, "127.0.0.1", 8000),
        ({"port": 9000}, "127.0.0.1", 9000),
        ({"type": "LoadBalancer"}, "0.0.0.0", 80),
        ({"type": "NodePort", "nodePort": 30001}, "0.0.0.0", 30001),
    ],
)
def test_a_cluster_ip_is_published_on_the_loopback_only(service: dict, address: str, port: int) -> None:
    place = published(server(service=service))
    assert (place.address, place.port) == (address, port)


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        ("nvidia.com/gpu", ()),
        ("amd.com/gpu", ("/dev/kfd", "/dev/dri/renderD130", "/dev/dri/renderD131")),
        ("gpu.intel.com/xe", ("/dev/dri/renderD130", "/dev/dri/renderD131")),
        ("aws.amazon.com/neuron", ("/dev/neuron2", "/dev/neuron3")),
    ],
)
def test_each_vendor_has_its_device_files(resource: str, expected: tuple[str, ...]) -> None:
    replica = read_replica(order_of(body(accelerator={"resourceName": resource, "count": 2})))
    assert device_files(replica, 2) == expected


def test_a_device_without_files_is_refused_with_a_way_out() -> None:
    replica = read_replica(order_of(body(accelerator={"resourceName": "google.com/tpu"})))
    with pytest.raises(
        TargetError, match=r"spec.accelerator.resourceName: google.com/tpu .* use the target kubernetes"
    ):
        device_files(replica, 0)


def test_cache_volumes() -> None:
    assert cache_source({"hostPath": {"path": "/m"}})[0].directory == "/m"
    source, lost = cache_source({"nfs": {"server": "n", "path": "/p", "readOnly": True}})
    assert source.options == {"type": "nfs", "o": "addr=n,ro", "device": ":/p"}
    assert lost == ()
    _, lost = cache_source({"name": "model-cache", "csi": {"driver": "x"}})
    assert str(lost[0]) == "spec.cache.volume: csi is a volume of Kubernetes; the cache is a new volume of the machine"


def test_replicas_of_one_machine_are_bounded() -> None:
    assert check_replicas(256) == 256
    with pytest.raises(TargetError, match="257 replicas: one machine runs 1 to 256"):
        check_replicas(257)


def test_health_command_runs_in_python() -> None:
    compile(health_command(8000)[2], "health", "exec")
