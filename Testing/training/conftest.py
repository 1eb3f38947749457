"""Fixtures of the training tests."""

import pytest
import torch

from support.box_anatomy import box_anatomy


@pytest.fixture(scope="module")
def anatomy():
    """A label map made of a few boxes, prepared for the generator."""
    return box_anatomy()


@pytest.fixture
def one_thread():
    """PyTorch on one thread: quicker for tiny arrays, and the sums' order is fixed."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
