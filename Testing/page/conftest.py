"""A server of the page and a real browser: Chromium without a window, driven by Playwright."""

from __future__ import annotations

import io
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
STREAM = b"trame.rca.topic.stream"  # marks the messages that carry a picture of a view
VIEWS = {"axial": (0.25, 0.25), "coronal": (0.75, 0.25), "3D": (0.25, 0.75), "sagittal": (0.75, 0.75)}


@dataclass
class Server:
    """A running ``attention-unet view``."""

    process: subprocess.Popen
    address: str
    temporary: Path
    log: Path

    def children(self) -> list[int]:
        """The session processes."""
        found = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True, check=False)
        return [int(pid) for pid in found.stdout.split()]

    def folders(self) -> list[Path]:
        """The sessions' folders."""
        return sorted(self.temporary.glob("attention-unet-view-*"))

    def memory_mb(self) -> float:
        """Of the server and its sessions: what is not shared with others, in MB."""
        return sum(_private_mb(pid) for pid in [self.process.pid, *self.children()])


@dataclass
class Page:
    """A page in the browser, with what it has received and complained about."""

    page: object
    frames: list[float] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def text(self, selector: str) -> str:
        return self.page.inner_text(selector)

    def wait_for(self, condition: Callable[[], bool], seconds: float = 60.0) -> float:
        """Seconds until something holds."""
        began = time.monotonic()
        while not condition():
            assert time.monotonic() - began < seconds, f"still waiting; the page says: {self.page.inner_text('body')}"
            self.page.wait_for_timeout(50)
        return time.monotonic() - began

    def wait_for_ct(self) -> None:
        self.wait_for(lambda: self.page.locator("#ct-name").count() == 1 and self.text("#ct-name") != "")
        self.settle()

    def segment(self, seconds: float = 150.0) -> None:
        self.page.click("#segment")
        self.wait_for(lambda: "model abdomen-ct" in self.text("#status"), seconds)
        self.settle()

    def settle(self, quiet_seconds: float = 0.5) -> None:
        """Wait until no picture has come for a while; what was asked for before has come by then."""
        self.page.wait_for_timeout(300)
        self.wait_for(lambda: bool(self.frames) and time.monotonic() - self.frames[-1] > quiet_seconds, 30)

    def point(self, view: str) -> tuple[float, float]:
        """Middle of a view on the page."""
        box = self.page.locator("#views").bounding_box()
        across, down = VIEWS[view]
        return box["x"] + box["width"] * across, box["y"] + box["height"] * down

    def picture(self, view: str) -> np.ndarray:
        """What a view shows, (height, width, 3)."""
        box = self.page.locator("#views").bounding_box()
        across, down = VIEWS[view]
        size = {"width": box["width"] / 2, "height": box["height"] / 2}
        clip = {"x": box["x"] + (across > 0.5) * size["width"], "y": box["y"] + (down > 0.5) * size["height"]} | size
        return np.asarray(Image.open(io.BytesIO(self.page.screenshot(clip=clip))).convert("RGB")).astype(int)

    def choose(self, selector: str, item: str) -> None:
        """Choose an entry of a list."""
        self.page.locator(selector).click(force=True)
        self.page.locator(".v-overlay .v-list-item").filter(has_text=re.compile(rf"^\s*{re.escape(item)}\s*$")).click()
        self.settle()

    def save(self, name: str) -> bytes:
        """Download a file by its entry in the menu."""
        self.page.click("#download")
        with self.page.expect_download() as download:
            self.page.locator(f'a[href="download/{name}"]').click()
        self.page.keyboard.press("Escape")
        return Path(download.value.path()).read_bytes()


@pytest.fixture(scope="session")
def chromium() -> Iterator[object]:
    """The browser."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    with playwright.sync_playwright() as driver:
        # in a container Chromium has no sandbox of its own
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def serve(tmp_path) -> Iterator[Callable[..., Server]]:
    """Starts servers, whose sessions write below a folder of the test's own; all are stopped after the test."""
    servers = []

    def start(*arguments: object, **environment: str) -> Server:
        temporary = Path(tempfile.mkdtemp(dir=tmp_path))
        log = temporary / "server.log"
        command = [sys.executable, "-m", "AttentionUNetSegmentationLib.command.cli", "view", "--no-open"]
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [*command, *map(str, arguments)],
                stdout=stream,
                stderr=subprocess.STDOUT,
                env=os.environ | {"TMPDIR": str(temporary), "PYTHONUNBUFFERED": "1"} | environment,
            )
        deadline = time.monotonic() + 30
        while not (found := re.search(r"http://\S+", log.read_text())):
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        servers.append(Server(process, found.group().rstrip("."), temporary, log))
        return servers[-1]

    yield start
    for server in servers:
        if server.process.poll() is None:
            server.process.send_signal(signal.SIGTERM)
        server.process.wait(20)


@pytest.fixture
def visit(chromium) -> Iterator[Callable[..., Page]]:
    """Opens pages, each for a visitor of its own unless a context is given."""
    contexts = []

    def open_page(address: str, **options: object) -> Page:
        context = chromium.new_context(**({"viewport": {"width": 1200, "height": 760}} | options))
        contexts.append(context)
        seen = Page(context.new_page())

        def received(message: object) -> None:
            if isinstance(message, bytes) and STREAM in message:
                seen.frames.append(time.monotonic())

        seen.page.on("websocket", lambda socket: socket.on("framereceived", received))
        seen.page.on("request", lambda request: seen.requests.append(request.url))
        seen.page.on("pageerror", lambda error: seen.errors.append(str(error)))
        seen.page.goto(address)
        return seen

    yield open_page
    for context in contexts:
        context.close()


def _private_mb(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024
