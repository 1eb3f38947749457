"""Draws docs/browser.png: the page of ``attention-unet view`` with a CT, its organs and a gate's attention.

python scripts/browser_picture.py CT [--organ pancreas] [--gate s2-2]; needs Chromium and Playwright (make setup).
"""

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

PICTURE = Path(__file__).parents[1] / "docs" / "browser.png"
SIZE = {"width": 1280, "height": 800}
MINUTES = 5


def main() -> None:
    """Start the server and a browser, click as a visitor does, and take the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ct", type=Path)
    parser.add_argument("--organ", default="pancreas", help="where the slices go")
    parser.add_argument("--gate", default="s2-2", help="whose attention lies over the CT")
    parsed = parser.parse_args()
    command = [sys.executable, "-m", "AttentionUNetSegmentationLib.command.cli", "view", str(parsed.ct), "--no-open"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        address = re.search(r"http://\S+", server.stdout.readline()).group()
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            page = browser.new_page(viewport=SIZE, color_scheme="dark")
            page.goto(address)
            _click_through(page, parsed.organ, parsed.gate)
            page.screenshot(path=PICTURE)
            browser.close()
    finally:
        server.terminate()
        server.wait()
    print(f"wrote {PICTURE}")


def _click_through(page: Page, organ: str, gate: str) -> None:
    page.set_default_timeout(MINUTES * 60_000)
    page.locator("#ct-name:not(:empty)").wait_for()
    page.wait_for_timeout(2000)
    page.click("#segment")
    page.locator("#organs").wait_for()
    page.locator("#organs tbody tr", has_text=organ).get_by_role("button").click()
    page.locator("#gate").click(force=True)
    page.locator(".v-overlay .v-list-item", has_text=gate).first.click()
    page.wait_for_timeout(4000)


if __name__ == "__main__":
    main()
