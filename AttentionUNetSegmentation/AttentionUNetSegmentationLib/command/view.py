"""``attention-unet view``: the views in a browser."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import threading
import webbrowser
from importlib.util import find_spec
from pathlib import Path

from .run_options import whole_number

NEEDED = ("aiohttp", "slicer", "trame", "trame_slicer")
INSTALL = "attention-unet view needs more packages: pip install 'slicer-attention-unet[view]'"
SYSTEMS = {"Linux": ("x86_64",), "Darwin": ("arm64",)}  # where slicer-core 5.11.0.6 and the front run
PYTHONS = ((3, 11), (3, 13))  # which it is built for


def add_view(commands: argparse._SubParsersAction) -> None:
    """Enter the subcommand."""
    parser = commands.add_parser(
        "view",
        help="see organs and attention in a browser",
        description="Open a page with the CT, its organs and attention maps. Ctrl-C stops it and deletes what it made.",
    )
    parser.add_argument("ct", nargs="?", type=Path, metavar="CT", help="file or DICOM folder (default: a sample)")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="let visitors choose among the CTs of this folder")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; unless loopback, visitors need the token that is printed (default: %(default)s)",
    )
    parser.add_argument("--port", type=whole_number(0, 65535), default=0, metavar="N", help="default: a free one")
    parser.add_argument("--no-open", action="store_true", help="do not open a browser")
    parser.add_argument(
        "--max-sessions",
        type=whole_number(1, 1000),
        default=4,
        metavar="N",
        help="visitors at a time (default: %(default)s)",
    )
    parser.add_argument(
        "--max-upload-mb",
        type=whole_number(0, 1_000_000),
        default=2048,
        metavar="N",
        help="0 for no uploads (default: %(default)s)",
    )
    parser.add_argument(
        "--keep-seconds",
        type=whole_number(0, 1_000_000),
        default=60,
        metavar="N",
        help="how long a visitor's scene is kept after the page was closed (default: %(default)s)",
    )
    parser.set_defaults(run=_view, cancelled="stopped; what the sessions made is deleted")


def _view(parsed: argparse.Namespace) -> int:
    check_system(platform.system(), platform.machine(), sys.version_info[:2])
    if any(find_spec(name) is None for name in NEEDED):
        raise RuntimeError(INSTALL)
    from ..browser.front import listen, serve
    from ..browser.processes import Settings

    settings = Settings(
        ct=_ct(parsed.ct),
        serve=_folder(parsed.folder),
        upload_mb=parsed.max_upload_mb,
        max_sessions=parsed.max_sessions,
        grace_seconds=parsed.keep_seconds,
    )

    def announce(address: str, has_token: bool) -> None:
        print(f"Open {address} (Ctrl-C stops)", flush=True)
        # Other users of the computer see the arguments of a browser that is started with the token.
        if not (parsed.no_open or has_token) and _has_display():
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()

    raise KeyboardInterrupt(serve(settings, listen(parsed.host, parsed.port), parsed.host, announce))


def check_system(system: str, machine: str, python: tuple[int, ...]) -> None:
    """Refuse a system that the browser's views do not run on."""
    first, last = PYTHONS
    if machine not in SYSTEMS.get(system, ()) or not first <= python <= last:
        raise RuntimeError(
            "attention-unet view runs on Linux (x86_64) and macOS (arm64) with Python 3.11 to 3.13, like slicer-core; "
            f"this is {system} ({machine}) with Python {'.'.join(map(str, python))}, where attention-unet segment runs"
        )


def _ct(path: Path | None) -> Path | None:
    if path is not None and not path.exists():
        raise ValueError(f"{path}: no such file or folder")
    return path and path.absolute()


def _folder(path: Path | None) -> Path | None:
    if path is not None and not path.is_dir():
        raise ValueError(f"{path}: --folder must be a folder")
    return path and path.absolute()


def _has_display() -> bool:
    """Whether a browser would open a window, rather than take over the terminal of a remote computer."""
    names = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    return platform.system() != "Linux" or any(os.environ.get(name) for name in names)
