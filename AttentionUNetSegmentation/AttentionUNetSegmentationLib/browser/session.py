"""One visitor's page: its scene, its CT, its runs. A process of its own, which only the front talks to.

python -m AttentionUNetSegmentationLib.browser.session, with the settings on standard input (``control``).
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trame.app import get_server
from trame_slicer import module as trame_slicer_module
from trame_slicer.core import LayoutManager
from trame_slicer.rca_view import register_rca_factories

from ..atomic import move_into_place, scratch_folder
from ..command.cases import case_name
from ..errors import one_sentence
from ..formats.files import read_volume
from ..models.store import list_models
from . import host, page
from .control import Control, Settings
from .ct import LoadedCT, put_into_scene
from .downloads import write_download
from .names import safe_stem
from .page_state import put_right, start_values
from .routes import add_routes, told
from .run import Result, Runner
from .served import list_entries, resolve
from .shown_result import ShownResult
from .uploads import UPLOAD, receive
from .views import LAYOUTS, QUAD, WINDOWS_HU, Views

SAMPLE = Path(__file__).parents[2] / "Resources" / "SampleData" / "SyntheticAbdomenCT.nrrd"
logger = logging.getLogger(__name__)
MAX_MESSAGE_BYTES = 1 << 20  # of the page: state changes and mouse events
MAX_VIEW_PIXELS = 8_000_000  # whatever size a page says it has; one view that fills a screen of 3840 x 2160 has as many


class Session:
    """Connects the page's state with the scene.

    Args:
        settings: What the front said.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.server = get_server("session", client_type="vue3")
        self._state = self.server.state
        self._control = Control(self._on_position, lambda: self._runner.begin(), self._on_stop)
        self._runner = Runner(self._control, self._on_progress, self._on_result, self._on_run_end)
        self._app = host.start(settings.folder)
        self._views = Views(self._app, self._on_cursor)
        self._ct: LoadedCT | None = None
        self._entry: str | None = None  # of the served folder, if the CT is from there
        self._is_reading = False
        self._one_download = asyncio.Lock()
        self._downloads = settings.folder / "download"
        self._shown = ShownResult(self._state, self._views)
        self._specs = {entry.name: entry.spec for entry in list_models() if entry.spec is not None}
        self._state.update(start_values(self._specs, settings.upload_mb > 0))
        self.server.enable_module(trame_slicer_module)
        self.server.enable_module(page.SCRIPTS)
        register_rca_factories(
            self._app.view_manager, self.server, page.slice_overlay(self._views.letters), page.three_d_overlay, "jpeg"
        )
        self._layouts = LayoutManager(self._app.scene, self._app.view_manager, self.server)
        self._layouts.register_layout_dict(LAYOUTS)
        self._layouts.set_layout(QUAD)
        self._limit_views()
        self._page = page.build(self.server, self, self._layouts.initialize_layout_grid)
        for view in self._app.view_manager.get_slice_views():
            self._views.watch(view)
        self._bind()

    def run(self) -> None:
        """Serve the page until the front stops the session."""
        self.server.start(
            port=self._settings.port, host="127.0.0.1", open_browser=False, show_connection_info=False, timeout=0
        )

    def choose(self, name: str) -> None:
        """Open a CT of the served folder."""
        root = self._settings.serve
        if name and root is not None and not self._is_busy:
            self._guarded(lambda: self._open_later(resolve(root, name), name))
            if not self._is_reading:  # it was refused
                self._state.chosen = self._entry  # or the page would not send the same choice again

    def segment(self) -> None:
        """Segment the CT."""
        ct = self._ct
        if ct is None or self._is_busy:
            return
        if self._state.model not in list(self._specs):  # no path of the server's
            self._state.error = "choose a model"
            return
        node = self._shown.result.node if self._shown.result is not None else None
        self._state.update({"status": "", "percent": 0, "error": ""})
        self._guarded(lambda: self._runner.start(ct, self._state.model, node))
        self._state.running = self._state.busy = self._runner.is_busy

    def cancel(self) -> None:
        """Stop the run."""
        if self._runner.is_busy:
            self._state.status = "Cancelling ..."
            self._runner.cancel()

    def jump(self, segment_id: str) -> None:
        """Go to an organ's centre."""
        self._guarded(lambda: self._shown.jump(segment_id))

    def show_organ(self, segment_id: str, shown: bool) -> None:
        """Show or hide an organ in all views."""
        self._guarded(lambda: self._shown.show_organ(segment_id, shown))

    def _limit_views(self) -> None:
        manager = self._app.view_manager
        for factory in manager._factories:  # which nothing public leads to
            for view in factory.get_views():
                adapter = factory.get_factory_view(view.get_singleton_tag()).view_adapter
                adapter.max_pixel_count = MAX_VIEW_PIXELS

    def _bind(self) -> None:
        change = self._state.change
        change("window", "layout", "model", "gate", "opacity", "threshold", "color")(
            lambda **_: put_right(self._state, self._specs, self._shown.gates())
        )
        change("window")(lambda **_: self._guarded(lambda: self._views.set_window(self._state.window)))
        change("layout")(lambda **_: self._guarded(lambda: self._layouts.set_layout(self._state.layout)))
        change("gate", "opacity", "threshold", "color")(lambda **_: self._guarded(self._shown.show_attention))
        change("error")(lambda error, **_: self._state.update({"has_error": bool(error)}))
        change("has_error")(lambda has_error, **_: None if has_error else self._state.update({"error": ""}))
        change("model")(lambda **_: self._state.update({"model_text": self._model_text(self._state.model)}))
        self.server.controller.trigger("segment")(self.segment)
        self.server.controller.trigger("cancel")(self.cancel)
        self.server.controller.trigger("scroll")(self._views.scroll)
        self.server.controller.on_server_bind.add(self._on_bind)
        self.server.controller.on_server_ready.add(self._on_ready)

    @property
    def _is_busy(self) -> bool:
        return self._is_reading or self._runner.is_busy

    def _on_bind(self, web_server: Any) -> None:
        add_routes(web_server.app, self._settings.secret, self._upload, self._download)

    def _on_ready(self, **_: Any) -> None:
        loop = asyncio.get_running_loop()
        self._listening = loop.create_task(self._control.listen())
        self._control.ready(self.server.port)
        if self._settings.ct is not None or SAMPLE.is_file():
            self._open_later(self._settings.ct or SAMPLE)
        if self._settings.serve is not None:
            self._listing = loop.create_task(self._list_served(self._settings.serve))

    async def _list_served(self, root: Path) -> None:
        try:
            entries = await asyncio.to_thread(list_entries, root)  # minutes, if a slow disk holds many files
        except OSError as error:
            logger.error("the served folder could not be listed", exc_info=error)
            with self._state:
                self._state.error = f"the served folder cannot be listed: {error.strerror or type(error).__name__}"
            return
        with self._state:
            self._state.served_note = entries.note if entries else "the folder holds no CT that can be opened"
            self._state.served = [
                {"title": f"{entry.name} ({entry.size_mb:.0f} MB)", "value": entry.name} for entry in entries
            ]

    def _open_later(self, path: Path, entry: str | None = None) -> None:
        """Read a CT beside the event loop, then show it."""
        self._is_reading = True
        self._opening = asyncio.get_running_loop().create_task(self._open_alone(path, entry))

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Nothing else is begun meanwhile; then the page takes uploads again, also if the uploading tab is gone."""
        self._is_reading = True
        try:
            yield
        finally:
            self._is_reading = False
            with self._state:
                self._state.update({"busy": self._runner.is_busy, "loading": "", "upload_percent": -1})

    async def _open_alone(self, path: Path, entry: str | None) -> None:
        with self._reading():
            await self._open(path, entry)

    async def _open(self, path: Path, entry: str | None = None) -> None:
        """Show a CT, which is an entry of the served folder or none, and forget files of what is no longer shown."""
        name = case_name(path)
        with self._state:
            self._state.update({"busy": True, "loading": f"Reading {name} ...", "error": ""})
        await asyncio.sleep(0.01)  # the page says so first
        try:
            volume = await asyncio.to_thread(read_volume, path)
            with self._state:
                self._shown.forget()
                self._ct = put_into_scene(volume, name, path if path.is_dir() else None)
                self._entry = entry
                self._views.show(self._ct.node, self._state.window or next(iter(WINDOWS_HU)))
                self._state.update(
                    {"ct_name": name, "notes": list(volume.notes), "status": "", "is_dicom": path.is_dir()}
                )
        except Exception as error:  # a boundary: the page shows it
            logger.debug("the CT could not be opened", exc_info=error)
            with self._state:
                self._state.error = one_sentence(error).replace(f"{path}{os.sep}", "").replace(str(path), name)
        finally:
            with self._state:
                self._state.chosen = self._entry
        kept = self._ct.dicom if self._ct is not None else None  # DICOM files to download refer to its images
        async with self._one_download:  # which may read what is no longer shown
            await asyncio.to_thread(self._forget_files, kept)

    async def _upload(self, name: str, chunks: AsyncIterator[bytes]) -> None:
        if self._is_busy:
            raise ValueError("wait until the run has ended or the CT is open")
        if not self._settings.upload_mb:
            raise ValueError("this page takes no uploads")
        with self._reading():
            with self._state:
                self._state.busy = True
            path = await receive(name, chunks, self._settings.folder, self._settings.upload_mb << 20)
            await self._open(path)

    def _forget_files(self, kept: Path | None) -> None:
        if self._shown.result is None:
            shutil.rmtree(self._downloads, ignore_errors=True)
        for place in self._settings.folder.glob(f"{UPLOAD}*"):
            if kept is None or place != kept.parent:
                shutil.rmtree(place, ignore_errors=True)  # the voxels are in memory

    async def _download(self, name: str) -> Path:
        try:
            async with self._one_download:  # they share files
                return await self._file_of(name)
        except (ValueError, OSError, RuntimeError) as error:
            with self._state:
                self._state.error = told(error)  # of a failed download a browser says nothing
            raise

    async def _file_of(self, name: str) -> Path:
        result = self._shown.result
        if name not in page.DOWNLOADS:
            raise KeyError(name)
        if result is None:
            raise ValueError("there is no result yet")
        folder = self._downloads
        if name == "scene.mrb":
            if self._runner.is_busy:  # writing takes seconds, in which nothing else is heard, not even Cancel
                raise ValueError("a run is going on; download the scene when it has ended")
            path = folder / f"{safe_stem(result.ct.name)}.mrb"
            with scratch_folder(folder) as scratch:  # an earlier one may still be on its way to the page
                if not self._app.scene.WriteToMRB(str(scratch / path.name), None, None):
                    raise RuntimeError("the scene could not be written")
                move_into_place(scratch, folder)
            return path
        spec = self._specs[result.model]
        return await asyncio.to_thread(
            write_download,
            name,
            result.ct.volume,
            result.segmentation,
            spec,
            folder,
            result.ct.name,
            result.ct.dicom,
        )

    def _on_cursor(self, text: str) -> None:
        self._state.cursor = text

    def _on_position(self, ahead: int) -> None:
        with self._state:
            if ahead:
                runs = "1 run of another visitor comes" if ahead == 1 else f"{ahead} runs of other visitors come"
                self._state.status = f"Waiting: {runs} first."

    def _on_progress(self, fraction: float, step: str) -> None:
        with self._state:
            self._state.update({"percent": round(100 * fraction), "status": step})

    def _on_result(self, result: Result) -> None:
        with self._state:
            self._shown.show(result)

    def _on_run_end(self, error: Exception | None) -> None:
        with self._state:
            self._state.running = self._state.busy = False
            if error is not None:
                self._state.update({"error": one_sentence(error), "status": ""})
            elif str(self._state.status).startswith(("Cancelling", "Waiting")):
                self._state.status = "Cancelled."

    def _on_stop(self) -> None:
        self._runner.stop()
        shutil.rmtree(self._settings.folder, ignore_errors=True)  # the front may be gone
        os._exit(0)  # without taking VTK's windows down one by one

    def _model_text(self, name: str) -> str:
        spec = self._specs.get(name)
        return f"Measured: {spec.quality()}." if spec is not None else "There is no model that can be used."

    def _guarded(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:  # a boundary: the page shows it
            logger.error("an action of the page failed", exc_info=error)
            self._state.error = one_sentence(error)


def main() -> None:
    """Serve one session."""
    os.environ["WSLINK_READY_MSG"] = ""
    os.environ["WSLINK_MAX_MSG_SIZE"] = str(MAX_MESSAGE_BYTES)
    Session(Settings.read()).run()


if __name__ == "__main__":
    main()
