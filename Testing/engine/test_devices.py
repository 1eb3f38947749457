import pytest

from AttentionUNetSegmentationLib.devices import device_name


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
