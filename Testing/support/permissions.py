"""A mark for tests of files and folders that must not be read or written."""

import os

import pytest

needs_permissions = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read and write everywhere, Windows asks otherwise"
)
