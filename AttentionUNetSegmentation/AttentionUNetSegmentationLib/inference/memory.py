"""How much memory a forward pass needs, and how much there is."""

from __future__ import annotations

import ctypes
import math
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath

from .backends import HALO, SLAB_SLICES

CGROUPS, OWN_CGROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
ASSUMED_FREE_BYTES = 4 << 30  # where the system does not tell
SCORES_BYTES = 17.5  # per voxel and class: as blended from tiles, a copy, sides and all of them stacked
BYTES_AT_START = 300 << 20  # libraries' work space, whatever the size of the volume


def forward_bytes(widths: Sequence[int], shape: Sequence[int], in_slabs: bool = False) -> int:
    """Estimated peak memory of one float32 forward pass without gradients.

    In one go the peak lies at the full-resolution decoder block: the skip connection, the upsampled features, their
    concatenation and the block's output are alive together, beside what coarser scales keep (about an eighth each).
    For the paper's widths that is 704 bytes per voxel, and 550 to 630 were measured. In slabs (``slabs.py``) the image,
    the skip connections and the features between the scales are kept, beside twice that sum for one slab of full
    resolution, as coarser scales keep memory of their own.

    Args:
        widths: Channels per scale.
        shape: (D, H, W) of the input.
        in_slabs: Whether the finest scales are computed in slabs.
    """
    voxels = math.prod(int(size) for size in shape)
    if not in_slabs:
        return int(BYTES_AT_START + 4 * _floats_per_voxel(widths) * voxels)
    kept = 1 + sum(2 * width / 8**scale for scale, width in enumerate(widths)) - widths[0]
    slab_voxels = voxels * min(1.0, (SLAB_SLICES + 2 * HALO) / shape[0])
    return int(BYTES_AT_START + 4 * (kept * voxels + 2 * _floats_per_voxel(widths) * slab_voxels))


def scores_bytes(shape: Sequence[int], num_classes: int) -> int:
    """Estimated memory that the scores of a whole volume take while organs are cleaned up, whatever the tiles.

    Args:
        shape: (D, H, W) of the volume.
        num_classes: The network's classes, background included.
    """
    return round(SCORES_BYTES * num_classes) * math.prod(int(size) for size in shape)


def _floats_per_voxel(widths: Sequence[int]) -> int:
    first, second = widths[0], widths[1]
    return 2 * (first + second) + 2 * first + first + second


def free_bytes(device: str) -> int:
    """Free memory of a device in bytes; an assumption where the system does not tell."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.mem_get_info(torch.device(device))[0])
    free = _free_system_bytes()
    return min(free, _free_container_bytes(free))


def return_freed_memory() -> None:
    """Give what was freed back to the system; glibc keeps hundreds of MB of it otherwise."""
    with suppress(OSError, AttributeError):  # no glibc
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def _free_system_bytes() -> int:
    if sys.platform == "win32":
        return _free_windows_bytes()
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass  # not Linux
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (ValueError, OSError, AttributeError):
        return ASSUMED_FREE_BYTES


def _free_container_bytes(otherwise: int) -> int:
    """Room left under the tightest memory limit (cgroup v2) of a Linux container or a job of a cluster."""
    groups = [CGROUPS]
    with suppress(OSError):
        for line in OWN_CGROUP.read_text().splitlines():
            own = PurePosixPath(line.removeprefix("0::/"))
            groups += [CGROUPS / place for place in (own, *own.parents) if line.startswith("0::/")]
    return min(_free_under_limit(group, otherwise) for group in groups)


def _free_under_limit(group: Path, otherwise: int) -> int:
    try:
        limit = (group / "memory.max").read_text().strip()
        used = int((group / "memory.current").read_text())
        statistics = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        used -= int(statistics.get("inactive_file", 0))  # files kept in memory, given back on demand
        return max(0, int(limit) - used) if limit != "max" else otherwise
    except (OSError, ValueError):
        return otherwise


def _free_windows_bytes() -> int:
    if sys.platform != "win32":  # type checkers then know that the rest is for Windows
        return ASSUMED_FREE_BYTES

    class MemoryStatus(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ulong), ("load", ctypes.c_ulong)] + [
            (name, ctypes.c_ulonglong)
            for name in (
                "total",
                "available",
                "total_page",
                "available_page",
                "total_virtual",
                "available_virtual",
                "x",
            )
        ]

    status = MemoryStatus(length=ctypes.sizeof(MemoryStatus))
    if not ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
        return ASSUMED_FREE_BYTES
    return int(status.available)
