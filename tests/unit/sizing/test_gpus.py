from __future__ import annotations

import pytest

from vllm_operator.sizing.gpus import UnknownDeviceError, cpu_device, custom_device, find_device, list_devices
from vllm_operator.sizing.units import GIB, MIB


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("H100-80GB", "H100-80GB"),
        ("h100", "H100-80GB"),
        ("NVIDIA-H100-80GB-HBM3", "H100-80GB"),
        ("NVIDIA H100 PCIe", "H100-PCIE-80GB"),
        ("NVIDIA-A100-SXM4-80GB", "A100-80GB"),
        ("NVIDIA-A100-SXM4-40GB", "A100-40GB"),
        ("NVIDIA-L40S", "L40S-48GB"),
        ("Tesla-T4", "T4-16GB"),
        ("NVIDIA GeForce RTX 4090", "RTX-4090-24GB"),
        ("NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition", "RTX-PRO-6000-96GB"),
        ("AMD_Instinct_MI300X_OAM", "MI300X-192GB"),
        ("tpu-v6e-slice", "TPU-V6E"),
    ],
)
def test_names_and_labels(name: str, found: str) -> None:
    assert find_device(name).name == found


def test_memory_as_nvidia_smi_and_as_vllm_count_it() -> None:
    device = find_device("H100-80GB")
    assert device.smi_bytes == 81559 * MIB
    assert device.memory_bytes / GIB == pytest.approx(79.19)


@pytest.mark.parametrize(
    ("name", "gib"),
    [("NVIDIA-A100-SXM4-80GB-MIG-3g.40gb", 39.25), ("A100-40GB-MIG-1g.5gb", 4.75), ("H100-80GB-MIG-1g.10gb", 9.62)],
)
def test_slices_of_mig(name: str, gib: float) -> None:
    device = find_device(name)
    assert device.is_slice
    assert device.memory_bytes == int(gib * GIB)
    assert not device.nvlink


def test_slice_that_the_card_does_not_have_is_refused() -> None:
    with pytest.raises(UnknownDeviceError, match=r"no MIG profile 3g\.20gb"):
        find_device("A100-80GB-MIG-3g.20gb")


@pytest.mark.parametrize("name", ["H1000", "A100-60GB", "", "x" * 500])
def test_unknown_name_shows_the_nearest(name: str) -> None:
    with pytest.raises(UnknownDeviceError, match="in no table of devices"):
        find_device(name)


def test_each_device_is_plausible() -> None:
    for device in list_devices().values():
        assert 0.95 < device.memory_bytes / device.smi_bytes <= 1
        assert device.bandwidth > 0


def test_other_cards_leave_memory_to_the_driver() -> None:
    assert custom_device(24).memory_bytes == int(24 * GIB * 0.985)


def test_cpu_keeps_the_memory_of_the_option() -> None:
    assert cpu_device(4).memory_bytes == 4 * GIB


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("H100-SXM5", "H100-80GB"),
        ("H100-80G", "H100-80GB"),
        ("RTX4090", "RTX-4090-24GB"),
        ("NVIDIA-A100-SXM4-80GB-SHARED", "A100-80GB"),
        ("NVIDIA-L4-SHARED", "L4-24GB"),
    ],
)
def test_names_as_people_and_time_slicing_write_them(written: str, name: str) -> None:
    assert find_device(written).name == name
