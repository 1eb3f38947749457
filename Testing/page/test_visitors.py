"""Many visitors: nothing is left behind, and strangers are kept out."""

from __future__ import annotations

import os
import signal
import time

import pytest


def wait_until(condition, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "still waiting"
        time.sleep(0.1)


def use(visit, address: str) -> object:
    page = visit(address)
    page.wait_for(lambda: bool(page.frames))
    return page


def test_visitors_in_a_row_and_at_once_leave_nothing_behind(serve, visit):
    server = serve("--keep-seconds", 1)
    use(visit, server.address).page.context.close()
    wait_until(lambda: not server.children() and not server.folders())
    first_mb = server.memory_mb()
    for _ in range(3):
        use(visit, server.address).page.context.close()
        wait_until(lambda: not server.children() and not server.folders())
    assert server.memory_mb() < 1.2 * first_mb
    pages = [visit(server.address) for _ in range(2)]
    for page in pages:
        page.wait_for_ct()
    assert len(server.children()) == len(server.folders()) == 2
    for page in pages:
        page.page.context.close()
    wait_until(lambda: not server.children() and not server.folders())
    assert server.memory_mb() < 1.2 * first_mb
    assert "SyntheticAbdomenCT" not in server.log.read_text()


def test_other_addresses_need_the_token(serve, visit):
    server = serve("--host", "0.0.0.0")
    assert "token=" in server.address
    plain = server.address.split("?")[0].replace("0.0.0.0", "127.0.0.1")
    for address in (plain, plain + "?token=wrong"):
        page = visit(address)
        assert page.page.locator("#segment").count() == 0
        assert "token" in page.text("body")
    assert not server.children()
    page = visit(server.address.replace("0.0.0.0", "127.0.0.1"))
    page.wait_for_ct()
    assert "token" not in page.page.url


@pytest.mark.parametrize("signal_name", ["SIGTERM", "SIGKILL"])
def test_when_the_server_ends_so_do_its_sessions(signal_name, serve, visit):
    server = serve()
    page = visit(server.address)
    page.wait_for_ct()  # pictures may come before the page is built, which says that the connection was lost
    (child,) = server.children()
    server.process.send_signal(getattr(signal, signal_name))
    server.process.wait(15)

    def is_gone() -> bool:
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return True
        return False

    wait_until(is_gone)
    wait_until(lambda: not server.folders())
    page.wait_for(lambda: "The connection was lost." in page.text("body"))
