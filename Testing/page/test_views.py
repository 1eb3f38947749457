"""The views in a browser: what lies under the cursor, keys, and sizes."""

from __future__ import annotations

from AttentionUNetSegmentationLib.formats.files import write_volume
from support.phantom_files import scan

SIZES = "() => [...document.querySelectorAll('#views img')].map((image) => [image.naturalWidth, image.naturalHeight])"
FITS = """() => [...document.querySelectorAll('#views img')].every((image) =>
    Math.abs(image.naturalWidth - image.closest('.remote-controlled-area').clientWidth) <= 1)"""


def test_what_lies_under_a_still_cursor_is_told_anew_when_the_slice_moves(serve, visit, tmp_path):
    page = visit(serve().address)
    page.wait_for_ct()
    page.page.mouse.move(*page.point("axial"))
    page.wait_for(lambda: "HU" in page.text("#cursor"))
    for move in (lambda: page.page.mouse.wheel(0, 100), lambda: page.page.keyboard.press("PageUp")):
        before = page.text("#cursor")
        move()
        page.wait_for(lambda before=before: page.text("#cursor").split(",")[2] != before.split(",")[2], 10)
        assert page.text("#cursor").split(",")[:2] == before.split(",")[:2]
    write_volume(scan(), tmp_path / "ball.nrrd")
    page.page.set_input_files("#upload", tmp_path / "ball.nrrd")
    page.wait_for(lambda: page.text("#ct-name") == "ball")
    page.settle()
    assert page.text("#cursor") == ""


def test_keys_move_the_view_that_is_on_the_page(serve, visit):
    page = visit(serve().address)
    page.wait_for_ct()
    page.page.mouse.move(*page.point("axial"))
    page.wait_for(lambda: "HU" in page.text("#cursor"))
    page.page.mouse.move(100, 400)  # the controls
    page.page.evaluate("() => { window.trame.state.set('layout', 'Sagittal'); }")
    page.settle()
    before = page.picture("axial")
    page.page.keyboard.press("PageUp")
    page.settle()
    assert (abs(before - page.picture("axial")).max(axis=2) > 24).mean() > 0.02
    page.page.evaluate("() => { window.trame.state.set('layout', '3D'); }")
    page.settle()
    page.page.keyboard.press("PageUp")
    page.page.evaluate("() => { window.trame.state.set('layout', 'Axial'); }")
    page.settle()
    assert page.picture("axial").std() > 20


def test_a_page_cannot_ask_for_pictures_of_any_size(serve, visit):
    page = visit(serve().address)
    page.wait_for_ct()
    size = "['Red', 'test', {w: 4000, h: 4000, p: 1}]"
    page.page.evaluate(f"() => {{ window.trame.client.getConnection().getSession().call('trame.rca.size', {size}); }}")
    page.wait_for(lambda: page.page.evaluate(SIZES)[0][0] > 2000)
    assert page.page.evaluate(SIZES)[0] == [2828, 2828]  # 8 million


def test_the_views_have_the_size_of_the_tab_that_is_used(serve, visit):
    server = serve()
    page = visit(server.address)
    page.wait_for_ct()
    other = page.page.context.new_page()
    other.set_viewport_size({"width": 900, "height": 500})
    other.goto(server.address)
    page.wait_for(lambda: other.locator("#views img").count() == 4 and other.evaluate(FITS))
    page.wait_for(lambda: not page.page.evaluate(FITS))
    page.page.mouse.move(*page.point("axial"))
    page.wait_for(lambda: page.page.evaluate(FITS), 10)
    other.mouse.move(600, 300)
    page.wait_for(lambda: other.evaluate(FITS), 10)
