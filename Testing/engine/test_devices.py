import pytest
import torch

from AttentionUNetSegmentationLib.devices import backend_name, device_name
from AttentionUNetSegmentationLib.inference import devices


@pytest.mark.parametrize(
    ("device", "shown"),
    [
        ("cpu", "CPU"),
        ("cuda", "CUDA GPU"),
        ("cuda:1", "CUDA GPU 1"),
        ("mps", "Apple GPU"),
        ("xpu:0", "xpu:0"),
        ("", ""),
    ],
)
def test_a_device_is_called_what_people_call_it(device, shown):
    assert device_name(device) == shown


@pytest.mark.parametrize(("backend", "shown"), [("torch", "PyTorch"), ("openvino", "OpenVINO"), ("x", "x"), ("", "")])
def test_a_backend_is_called_what_people_call_it(backend, shown):
    assert backend_name(backend) == shown


@pytest.mark.parametrize("wanted", ["gpu", "", "CPU", "cpu0", "cpu:3", "auto:1", "cuda:", "cuda:x", "cuda:-1"])
def test_an_unknown_device_is_refused(wanted):
    for asked in (devices.kind_of, devices.choose_device, devices.needs_torch):
        with pytest.raises(ValueError, match="device must be one of auto, cpu, cuda, mps or cuda:NUMBER, got"):
            asked(wanted)


@pytest.mark.parametrize(
    ("capability", "built_for", "usable"),
    [
        ((8, 6), ["sm_80", "sm_90"], True),
        ((8, 9), ["sm_75", "sm_86"], True),
        ((12, 0), ["sm_80", "sm_90"], False),
        ((12, 0), ["sm_80", "sm_90", "compute_90"], True),
        ((12, 0), ["sm_90a", "sm_120"], True),
        ((6, 1), ["sm_75", "compute_75"], False),
        ((7, 0), [], True),
    ],
)
def test_a_gpu_that_torch_was_not_built_for_is_not_used(monkeypatch, capability, built_for, usable):
    monkeypatch.setattr(devices, "find_gpu", lambda: "cuda")
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "New GPU")
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: built_for)
    assert devices.choose_device("auto") == ("cuda" if usable else "cpu")
    note = devices.unused_gpu("cpu")
    assert (note == "") is usable
    if not usable:
        named = f"was not built for the GPU New GPU (sm_{capability[0]}{capability[1]})"
        assert named in note
        with pytest.raises(ValueError, match="the device 'cuda' is not available: PyTorch .* was not built for"):
            devices.choose_device("cuda")


def test_a_gpu_that_is_not_there_is_refused_by_its_number(monkeypatch):
    monkeypatch.setattr(devices, "_why_unavailable", lambda device: "")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert devices.choose_device("cuda:1") == "cuda:1"
    with pytest.raises(ValueError, match="'cuda:2' is not available: the GPUs are numbered 0 to 1"):
        devices.choose_device("cuda:2")


def test_a_gpu_of_amd_is_used(monkeypatch):
    monkeypatch.setattr(devices, "find_gpu", lambda: "cuda")
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.version, "hip", "6.4")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["gfx90a"])
    assert devices.choose_device("auto") == "cuda" and devices.unused_gpu("cpu") == ""


def test_a_cpu_build_beside_a_gpu_is_explained(monkeypatch):
    monkeypatch.setattr(devices, "find_gpu", lambda: "cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.version, "hip", None)
    assert devices.choose_device("auto") == "cpu"
    assert devices.unused_gpu("cpu").startswith("this computer's GPU is not used: PyTorch")
    assert devices.unused_gpu("cpu").endswith("is a CPU build")
    assert devices.unused_gpu("cuda") == ""
