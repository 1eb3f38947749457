import os
import subprocess
import sys

import pytest

from AttentionUNetSegmentationLib.inference import torch_backend

COUNT_FAULTS = """
import mmap, resource, torch
from AttentionUNetSegmentationLib.inference.torch_backend import take_large_pages

def faults(action):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    action()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def touch():
    pages.madvise(mmap.MADV_HUGEPAGE)
    pages[:: 4096] = bytes(len(pages) // 4096)

pages = mmap.mmap(-1, 128 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
take_large_pages()
print(faults(touch), faults(lambda: torch.ones(128 << 18)))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("setting", "are_large"), [(None, True), ("0", False)])
def test_large_tensors_take_large_pages_unless_the_user_decided_otherwise(setting, are_large):
    if sys.platform != "linux":
        pytest.skip("PyTorch takes large pages on Linux only")
    environment = {name: value for name, value in os.environ.items() if name != torch_backend.LARGE_PAGES}
    environment |= {torch_backend.LARGE_PAGES: setting} if setting else {}
    command = [sys.executable, "-c", COUNT_FAULTS]
    output = subprocess.run(command, capture_output=True, check=True, env=environment).stdout
    possible, faults = map(int, output.split())
    half = (128 << 20) / 4096 / 2
    if possible > half:
        pytest.skip("this system gives no large pages, or has none left")
    assert (faults < half) == are_large


def test_taking_large_pages_leaves_the_environment_as_it_was(monkeypatch):
    monkeypatch.delenv(torch_backend.LARGE_PAGES, raising=False)
    torch_backend.take_large_pages()
    assert torch_backend.LARGE_PAGES not in os.environ
    monkeypatch.setenv(torch_backend.LARGE_PAGES, "0")
    torch_backend.take_large_pages()
    assert os.environ[torch_backend.LARGE_PAGES] == "0"
