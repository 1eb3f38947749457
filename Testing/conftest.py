"""Fixtures for all tests: the headless Slicer host's ``slicer``, ``qt`` and ``slicer_session``."""

pytest_plugins = ["slicer_host.pytest_plugin"]
