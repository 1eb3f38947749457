"""The page in a browser: what a visitor sees and does."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import time
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import nibabel
import numpy as np
import pytest

from AttentionUNetSegmentationLib.command.cli import main
from AttentionUNetSegmentationLib.formats.files import read_volume, write_volume
from AttentionUNetSegmentationLib.volume import Volume
from support.phantom_files import scan, write_slices

SAMPLE = Path(__file__).parents[2] / "AttentionUNetSegmentation/Resources/SampleData/SyntheticAbdomenCT.nrrd"
FRAMES_PER_SECOND = 10
FIRST_SLICE_SECONDS = 10


@pytest.fixture(scope="module")
def ct(tmp_path_factory):
    """A small part of the sample CT, with some of every organ."""
    volume = read_volume(SAMPLE)
    k, j, i = volume.voxels.shape
    box = (slice(k // 4, 3 * k // 4), slice(j // 6, 5 * j // 6), slice(i // 8, 7 * i // 8))
    path = tmp_path_factory.mktemp("ct") / "part of a CT.nii.gz"
    write_volume(Volume(volume.voxels[box], volume.grid.crop_to(box).ijk_to_ras), path)
    return path


def changed(before: np.ndarray, after: np.ndarray) -> float:
    """Share of the pixels that look different."""
    return float((np.abs(before - after).max(axis=2) > 24).mean())


def colored(picture: np.ndarray) -> float:
    """Share of the pixels that are not grey."""
    return float((np.ptp(picture, axis=2) > 30).mean())


def test_a_visitor_segments_looks_at_attention_and_downloads_what_the_command_line_makes(ct, serve, visit, tmp_path):
    began = time.monotonic()
    server = serve(ct)
    page = visit(server.address)
    page.wait_for_ct()
    assert page.frames[0] - began < FIRST_SLICE_SECONDS
    assert page.text("#ct-name") == "part of a CT"
    assert "not for diagnosis" in page.text("#disclaimer")
    plain = {view: page.picture(view) for view in ("axial", "coronal", "sagittal", "3D")}
    assert all(plain[view].std() > 20 for view in ("axial", "coronal", "sagittal"))

    page.segment()
    names = page.page.locator("#organs tbody tr td:nth-child(2)").all_inner_texts()
    assert [name.strip().lower() for name in names] == ["pancreas", "spleen", "right kidney", "left kidney"]
    organs = {view: page.picture(view) for view in plain}
    assert colored(organs["3D"]) > colored(plain["3D"]) + 0.02
    assert sum(changed(plain[view], organs[view]) > 0.002 for view in ("axial", "coronal", "sagittal")) >= 2

    page.page.locator("#organs tbody tr", has_text="right kidney").get_by_role("button").click()
    page.settle()
    at_kidney = page.picture("axial")
    assert changed(organs["axial"], at_kidney) > 0.05
    page.page.locator("#organs tbody tr", has_text="right kidney").get_by_role("checkbox").click()
    page.settle()
    assert changed(at_kidney, page.picture("axial")) > 0.002

    before = page.picture("axial")
    page.choose("#gate", "s2-1")
    assert colored(page.picture("axial")) > colored(before) + 0.002
    assert page.page.locator("#shares tbody tr").count() == 4
    half = page.picture("axial")
    page.choose("#color", "Ocean")
    assert changed(half, page.picture("axial")) > 0.002
    page.choose("#color", "Attention")
    slider = page.page.get_by_role("slider", name="Opacity")
    slider.focus()
    for _ in range(10):
        page.page.keyboard.press("ArrowRight")
    page.settle()
    assert colored(page.picture("axial")) > colored(half)

    assert main(["segment", str(ct), "--output-dir", str(tmp_path / "out"), "--quiet"]) == 0
    with zipfile.ZipFile(io.BytesIO(page.save("all.zip"))) as archive:
        files = {name.rsplit("/")[-1]: archive.read(name) for name in archive.namelist()}
    assert set(files) == {path.name for path in (tmp_path / "out").iterdir()}
    ours = nibabel.Nifti1Image.from_bytes(gzip.decompress(files["labels.nii.gz"]))
    theirs = nibabel.load(tmp_path / "out" / "labels.nii.gz")
    assert np.array_equal(np.asarray(ours.dataobj), np.asarray(theirs.dataobj))
    assert np.array_equal(ours.affine, theirs.affine)
    with zipfile.ZipFile(io.BytesIO(page.save("scene.mrb"))) as scene:
        assert any(name.endswith(".mrml") for name in scene.namelist())
        assert any(name.endswith(".seg.nrrd") for name in scene.namelist())
    with zipfile.ZipFile(io.BytesIO(page.save("attention.zip"))) as archive:
        assert sorted(name.rsplit("/")[-1] for name in archive.namelist()) == sorted(
            name for name in files if name.startswith("attention_")
        )
    assert json.loads(page.save("report.json"))["disclaimer"]
    assert page.save("segmentation.seg.nrrd").startswith(b"NRRD")
    assert not page.errors

    page.page.set_input_files("#upload", ct)
    page.wait_for(lambda: page.text("#ct-name") == "part_of_a_CT" and page.page.locator("#loading").count() == 0)
    assert not list(server.folders()[0].glob("download/*"))


def test_a_link_cannot_make_the_page_show_what_another_server_sends(serve, visit):
    page = visit(serve().address + "?sessionURL=ws://127.0.0.1:9/ws")
    page.wait_for_ct()
    elsewhere = """() => new Promise((resolve) => {
        document.addEventListener("securitypolicyviolation", (event) => resolve(event.effectiveDirective));
        setTimeout(() => resolve("nothing was refused"), 3000);
        new WebSocket("ws://127.0.0.1:9/ws");
    })"""
    assert page.page.evaluate(elsewhere) == "connect-src"


def test_scrolling_is_fluent_also_during_a_run_which_can_be_cancelled(serve, visit):
    page = visit(serve().address)
    page.wait_for_ct()
    page.page.mouse.move(*page.point("axial"))
    page.wait_for(lambda: "HU" in page.text("#cursor"))
    assert _frames_per_second(page, 3) > FRAMES_PER_SECOND
    page.page.click("#segment")
    page.wait_for(lambda: "network" in page.text("#status"))
    page.page.mouse.move(*page.point("axial"))
    during = _frames_per_second(page, 3)
    assert "network" in page.text("#status")
    assert during > FRAMES_PER_SECOND
    page.page.evaluate("() => window.trame.state.set('error', 'something else')")
    page.wait_for(lambda: page.page.evaluate("() => window.trame.state.get('has_error')"))
    page.page.keyboard.press("Escape")  # closes the message only
    page.wait_for(lambda: not page.page.evaluate("() => window.trame.state.get('has_error')"))
    assert "network" in page.text("#status")
    page.page.click("#cancel")
    assert page.wait_for(lambda: page.text("#status") == "Cancelled.") < 3
    assert page.page.locator("#organs").count() == 0


def test_the_page_works_by_keyboard_in_both_colours_and_asks_nobody_else(ct, serve, visit):
    server = serve(ct)
    page = visit(server.address, color_scheme="light", viewport={"width": 800, "height": 1100}, has_touch=True)
    page.wait_for_ct()
    assert "v-theme--light" in page.page.locator(".v-application").get_attribute("class")
    page.page.get_by_label("Change between dark and light").click()
    page.wait_for(lambda: "v-theme--dark" in page.page.locator(".v-application").get_attribute("class"))
    before = page.picture("axial")
    page.page.locator("#views").click(position={"x": 5, "y": 5})
    page.page.keyboard.press("PageUp")
    page.settle()
    assert changed(before, page.picture("axial")) > 0.02
    page.page.keyboard.press("s")
    page.wait_for(lambda: page.text("#status") != "")
    page.page.keyboard.press("Escape")
    page.wait_for(lambda: page.text("#status") == "Cancelled.")
    page.choose("#window", "Lung")
    assert {urlsplit(url).netloc for url in page.requests if url.startswith("http")} == {
        urlsplit(server.address).netloc
    }


def test_a_reload_keeps_the_result_and_another_visitor_sees_nothing_of_it(ct, serve, visit):
    server = serve(ct)
    page = visit(server.address)
    page.wait_for_ct()
    page.segment()
    page.page.reload()
    page.wait_for_ct()
    assert page.page.locator("#organs tbody tr").count() == 4
    other = visit(server.address)
    other.wait_for_ct()
    assert other.page.locator("#organs").count() == 0
    assert len(server.children()) == 2
    notes = page.page.evaluate("() => window.trame.state.get('notes')")
    assert any("often wrong" in note for note in notes)
    page.page.click("#segment")
    page.wait_for(lambda: "network" in page.text("#status"))
    assert page.page.evaluate("() => fetch('download/scene.mrb').then((answer) => answer.status)") == 409
    told = "() => window.trame.state.get('error')"
    page.wait_for(lambda: page.page.evaluate(told) == "a run is going on; download the scene when it has ended")
    page.page.click("#cancel")
    page.wait_for(lambda: page.text("#status") == "Cancelled.")
    assert page.page.evaluate("() => window.trame.state.get('notes')") == notes  # of the result that is still shown


def test_runs_of_two_visitors_take_turns(ct, serve, visit):
    server = serve(ct)
    first, second = visit(server.address), visit(server.address)
    for page in (first, second):
        page.wait_for_ct()
    first.page.click("#segment")
    second.page.click("#segment")
    second.wait_for(lambda: "Waiting: 1 run" in second.text("#status"))
    for page in (first, second):
        page.wait_for(lambda page=page: "model abdomen-ct" in page.text("#status"), 150)
        assert page.page.locator("#organs tbody tr").count() == 4


def test_what_the_console_puts_into_the_state_is_put_right_in_a_sentence(ct, serve, visit):
    server = serve(ct)
    page = visit(server.address)
    page.wait_for_ct()
    names = ("window", "layout", "model", "gate", "color", "opacity", "threshold")
    state = "(name) => window.trame.state.get(name)"
    before = {name: page.page.evaluate(state, name) for name in names}
    for name, forged in zip(names, ("/etc/passwd", {"a": 1}, [2, 1], None, 7, "/etc/passwd", [2, 1]), strict=True):
        page.page.evaluate("([name, value]) => { window.trame.state.set(name, value); }", [name, forged])
        page.wait_for(lambda name=name: page.page.evaluate(state, "error") == f"That {name} does not exist.")
        assert page.page.evaluate(state, name) == before[name]
        page.page.evaluate("() => { window.trame.state.set('error', ''); }")
        page.wait_for(lambda: not page.page.evaluate(state, "has_error"))
    page.page.evaluate("() => { window.trame.state.set('upload_percent', 40); }")
    page.page.reload()
    page.wait_for_ct()
    assert page.page.locator("#open").is_enabled()


def test_when_an_upload_has_ended_another_tab_can_upload(serve, visit):
    server = serve()
    page = visit(server.address)
    page.wait_for_ct()
    uploading = page.page.context.new_page()
    uploading.goto(server.address)
    uploading.wait_for_selector("#open")
    page.wait_for(lambda: page.page.locator("#open").is_enabled())
    uploading.evaluate("() => { window.trame.state.set('upload_percent', 40); }")
    page.wait_for(lambda: page.page.locator("#open").is_disabled())
    # as a tab does that is closed before it hears the answer
    uploading.evaluate("() => { fetch('upload?name=ct.nii', {method: 'POST', body: 'no CT'}); }")
    page.wait_for(lambda: page.page.locator("#open").is_enabled(), 10)


def wait_until_open(page, name: str) -> None:
    """A CT is shown before the files of the one before are gone, and nothing else is begun until then."""
    busy = "() => window.trame.state.get('busy')"
    page.wait_for(lambda: page.text("#ct-name") == name and not page.page.evaluate(busy))


def test_cts_are_chosen_from_the_folder_or_uploaded(ct, serve, visit, tmp_path):
    folder = tmp_path / "cts"
    write_slices(folder / "a series", scan())
    write_volume(scan(), folder / "ball.nrrd")
    folder.joinpath(*["deep"] * 9).mkdir(parents=True)
    page = visit(serve("--folder", folder).address)
    page.wait_for_ct()
    page.page.locator("#served").click(force=True)
    page.page.locator(".v-overlay .v-list-item", has_text="ball").click()
    wait_until_open(page, "ball")
    page.page.set_input_files("#upload", {"name": "no.nii", "mimeType": "x/y", "buffer": b"no CT"})
    page.wait_for(lambda: page.page.locator("#error-text").count() == 1 and page.text("#error-text") != "")
    page.page.get_by_role("button", name="Close").click()
    wait_until_open(page, "ball")
    chosen = "() => window.trame.state.get('chosen')"
    assert page.page.evaluate(chosen) == "ball.nrrd"
    archive = shutil.make_archive(str(tmp_path / "series"), "zip", folder / "a series")
    is_dicom = "() => window.trame.state.get('is_dicom')"
    for file, name, dicom in ((archive, "series", True), (ct, "part_of_a_CT", False)):
        page.page.set_input_files("#upload", file)
        wait_until_open(page, name)
        assert page.page.evaluate(is_dicom) is dicom
        assert page.page.evaluate(chosen) is None  # or the folder's CT could not be chosen again
    page.page.locator("#served").click(force=True)
    page.page.locator(".v-overlay .v-list-item", has_text="ball").click()
    wait_until_open(page, "ball")
    page.settle()
    shutil.rmtree(folder / "a series")
    page.page.locator("#served").click(force=True)
    page.page.locator(".v-overlay .v-list-item", has_text="a series").click()
    page.wait_for(lambda: "a series" in page.page.evaluate("() => window.trame.state.get('error')"))
    page.wait_for(lambda: page.page.evaluate(chosen) == "ball.nrrd")
    assert "folders deep" in page.text("#served-note")
    assert page.picture("axial").std() > 20


def test_uploads_that_cannot_be_used_are_refused_in_a_sentence(serve, visit):
    server = serve("--max-upload-mb", 1)
    page = visit(server.address)
    page.wait_for_ct()
    refused = {
        "notes.nii.gz": "is not a readable NIfTI file",
        "detached.nhdr": "convert them to a single file",
        "ct.exe": "cannot be uploaded",
        "bomb.zip": "would lie outside of it",
        "big.nrrd": "1 M",  # the limit
    }
    for name, said in refused.items():
        page.page.set_input_files("#upload", {"name": name, "mimeType": "x/y", "buffer": _hostile(name)})
        page.wait_for(lambda: page.page.locator("#error-text").count() == 1 and page.text("#error-text") != "")
        assert said in page.text("#error-text")
        assert str(server.temporary) not in page.text("#error-text")
        page.page.get_by_role("button", name="Close").click()
        page.wait_for(lambda: page.page.locator("#error-text").count() == 0 or page.text("#error-text") == "")
    page.page.evaluate("() => window.trame.utils.auview.upload([new File(['a'], 'a.nii'), new File(['b'], 'b.nii')])")
    page.wait_for(lambda: page.page.locator("#error-text").count() == 1 and page.text("#error-text") != "")
    assert "zip the files" in page.text("#error-text")
    page.page.evaluate("""() => {
        const folder = { webkitGetAsEntry: () => ({ isDirectory: true }) };
        const dataTransfer = { items: [folder], files: [new File([], "a series")] };
        window.dispatchEvent(Object.assign(new Event("drop", { cancelable: true }), { dataTransfer }));
    }""")
    page.wait_for(lambda: page.text("#error-text") == "Zip the folder's DICOM files, and upload the archive.")
    page.page.evaluate("() => { fetch('download/segmentation.seg.nrrd'); }")
    page.wait_for(lambda: "there is no result yet" in page.text("#error-text"))
    assert page.text("#ct-name") == "SyntheticAbdomenCT"
    assert not [path for path in server.temporary.rglob("*") if path.is_file() and path.name != "server.log"]


def _hostile(name: str) -> bytes:
    if name == "big.nrrd":
        return bytes(3_000_000)
    if name != "bomb.zip":
        return b"no CT at all" * 10
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../etc/ct.dcm", bytes(100_000_000))
    return stream.getvalue()


def _frames_per_second(page, seconds: float) -> float:
    page.frames.clear()
    began, n = time.monotonic(), 0
    while time.monotonic() - began < seconds:
        page.page.mouse.wheel(0, 100 if n % 20 < 10 else -100)
        page.page.wait_for_timeout(30)
        n += 1
    return len(page.frames) / (time.monotonic() - began)
