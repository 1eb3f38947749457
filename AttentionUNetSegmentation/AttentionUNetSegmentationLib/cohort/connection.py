"""Ray: a cluster that runs, or this computer alone."""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray

from .plan import Node

OBJECT_STORE_BYTES = 100 << 20  # little passes through it; Ray's default is a third of the memory
CONNECT_SECONDS = 10.0


@contextmanager
def connected(address: str, cpus: int) -> Iterator[list[Node]]:
    """Connect to Ray; yields the computers.

    Args:
        address: Of a cluster (host:port), "auto" for the one that this computer belongs to; empty for this computer.
        cpus: Cores that workers on this computer may take.

    Raises:
        ConnectionError: If there is no cluster at the address, or Ray cannot start here.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray reports to its makers unless told otherwise
    here: dict[str, Any] = {"num_cpus": cpus, "include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
    terminating = signal.getsignal(signal.SIGTERM)
    try:
        _check_reachable(address)
        ray.init(address or "local", log_to_driver=False, logging_level=logging.ERROR, **({} if address else here))
    except OSError as error:
        hint = "; a cluster with a token needs RAY_AUTH_MODE=token" if address else ""
        what = f"no Ray cluster answers at {address}" if address else "Ray cannot start here"
        raise ConnectionError(f"{what}: {error}{hint}") from error
    signal.signal(signal.SIGTERM, terminating)  # Ray puts its own in place
    try:
        alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        yield [Node(int(resources.get("CPU", 0)), int(resources.get("GPU", 0))) for resources in alive]
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Raise OSError where nothing answers: Ray would try for minutes, and then end the process."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
