"""What the page looks like; what it does is in ``session``. Names in quotation marks are those of the page's state."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from trame.ui.vuetify3 import VAppLayout
from trame.widgets import client, html
from trame.widgets import vuetify3 as v3
from trame_slicer.app.ui import create_vertical_slice_view_gutter_ui, create_vertical_view_gutter_ui

from ..command.report import DISCLAIMER
from .page_state import OPACITY, THRESHOLD
from .views import LAYOUTS, WINDOWS_HU

SCRIPTS = {"serve": {"__auview": str(Path(__file__).parent / "static")}, "scripts": ["__auview/page.js"]}
DRAWER_PX = 360
OVERLAY = "position:absolute;color:#fff;text-shadow:0 0 3px #000,0 0 3px #000;font-size:14px;pointer-events:none;"
EDGES = {
    "left": "left:56px;top:50%;",
    "right": "right:10px;top:50%;",
    "top": "left:50%;top:6px;",
    "bottom": "left:50%;bottom:44px;",
}
DOWNLOADS = {
    "all.zip": "Everything (.zip)",
    "segmentation.seg.nrrd": "Segmentation for 3D Slicer (.seg.nrrd)",
    "labels.nii.gz": "Label map (.nii.gz)",
    "attention.zip": "Attention maps (.zip)",
    "report.json": "Report with all measurements (.json)",
    "scene.mrb": "Scene for 3D Slicer (.mrb)",
    "dicom.zip": "DICOM SEG and SR (.zip)",
}


class Actions(Protocol):
    """What the page's controls call."""

    def choose(self, name: str) -> None:
        """Open a CT of the served folder."""

    def segment(self) -> None:
        """Run the network."""

    def cancel(self) -> None:
        """Stop the run."""

    def jump(self, segment_id: str) -> None:
        """Go to an organ."""

    def show_organ(self, segment_id: str, shown: bool) -> None:
        """Show or hide an organ."""


def build(server: Any, actions: Actions, fill_views: Callable[[Any], None]) -> VAppLayout:
    """The page.

    Args:
        server: Trame's.
        actions: What the controls do.
        fill_views: Puts the grid of views into the layout.
    """
    with VAppLayout(server) as layout:
        layout.root.theme = ("colours", "dark")
        client.ClientTriggers(mounted="utils.auview.start()")
        html.Input(
            type="file",
            id="upload",
            style="display:none",
            change="utils.auview.upload($event.target.files)",
            accept=".nii,.gz,.nrrd,.mha,.zip",
        )
        with v3.VAppBar(density="compact", flat=True, border="b"):
            v3.VAppBarNavIcon(click="drawer = !drawer", raw_attrs=['aria-label="Show or hide the controls"'])
            v3.VAppBarTitle("Attention U-Net", classes="d-none d-sm-flex")
            html.Span(
                "{{ cursor }}",
                id="cursor",
                classes="text-body-2 mr-4 d-none d-sm-inline text-no-wrap",
                style="font-variant-numeric:tabular-nums",
            )
            _choice("layout", list(LAYOUTS), "View", 150)
            _choice("window", list(WINDOWS_HU), "Window", 150)
            v3.VBtn(
                icon=("colours === 'dark' ? 'mdi-weather-sunny' : 'mdi-weather-night'",),
                click="colours = colours === 'dark' ? 'light' : 'dark'",
                raw_attrs=['aria-label="Change between dark and light"'],
            )
        drawer = v3.VNavigationDrawer(v_model=("drawer", True), width=DRAWER_PX, mobile_breakpoint=700)
        with drawer, html.Div(classes="pa-3"):
            _add_ct(actions)
            _add_run(actions)
            _add_organs(actions)
            _add_attention()
            _add_downloads()
            html.Div(DISCLAIMER, id="disclaimer", classes="text-caption mt-4")
        with v3.VMain(style="height:100vh"), html.Div(id="views", style="height:100%;display:flex"):
            fill_views(layout)
        with v3.VSnackbar(
            v_model=("has_error", False), timeout=-1, color="error", multi_line=True, location="top", id="error"
        ):
            html.Span("{{ error }}", id="error-text")
            with v3.Template(v_slot_actions=True):
                v3.VBtn("Close", click="error = ''", variant="text")
    return layout


def slice_overlay(letters: Callable[[Any], dict[str, str]]) -> Callable[[Any, str, Any], None]:
    """What lies over a slice view: orientation letters, a slider, a button that fits the CT into the view."""

    def add(server: Any, view_id: str, view: Any) -> None:
        create_vertical_slice_view_gutter_ui(server, view_id, view)
        name = f"letters_{view_id.lower()}"
        server.state[name] = letters(view)
        view.modified.connect(lambda changed: server.state.update({name: letters(changed)}))
        for edge, place in EDGES.items():
            html.Div(f"{{{{ {name}.{edge} }}}}", style=OVERLAY + place, classes=f"letter-{edge}")

    return add


three_d_overlay = create_vertical_view_gutter_ui


def _choice(name: str, items: list[str], label: str, width_px: int) -> None:
    v3.VSelect(
        v_model=(name, items[0]),
        items=(f"{name}s", items),
        density="compact",
        hide_details=True,
        variant="solo-filled",
        flat=True,
        classes="mr-2",
        style=f"max-width:{width_px}px;min-width:112px",
        id=name,
        raw_attrs=[f'aria-label="{label}"'],
    )


def _add_ct(actions: Actions) -> None:
    html.Div("{{ ct_name }}", id="ct-name", classes="text-subtitle-1 mb-2", style="overflow-wrap:anywhere")
    v3.VAutocomplete(
        v_if=("served.length",),
        v_model=("chosen", None),
        items=("served", []),
        label="CTs in the folder",
        density="compact",
        variant="outlined",
        hide_details=True,
        classes="mb-2",
        disabled=("busy",),
        update_modelValue=(actions.choose, "[$event]"),
        id="served",
    )
    html.Div("{{ served_note }}", v_if=("served_note",), classes="text-caption mb-2", id="served-note")
    v3.VBtn(
        "Open a CT ...",
        v_if=("can_upload",),
        click="utils.auview.pick()",
        variant="tonal",
        block=True,
        disabled=("busy || upload_percent >= 0",),
        prepend_icon="mdi-folder-open",
        id="open",
    )
    html.Div("NIfTI, NRRD, MetaImage, or a zip of DICOM files", v_if=("can_upload",), classes="text-caption mb-2")
    v3.VProgressLinear(
        v_if=("upload_percent >= 0",), model_value=("upload_percent", -1), height=6, id="upload-progress"
    )
    html.Div("{{ loading }}", v_if=("loading",), classes="text-body-2", id="loading")


def _add_run(actions: Actions) -> None:
    v3.VDivider(classes="my-3")
    v3.VSelect(
        v_if=("models.length > 1",),
        v_model=("model", ""),
        items=("models", []),
        label="Model",
        density="compact",
        variant="outlined",
        hide_details=True,
        id="model",
        disabled=("running",),
    )
    html.Div("{{ model_text }}", classes="text-caption my-1", id="model-text")
    with html.Div(classes="d-flex", style="gap:8px"):
        v3.VBtn(
            "Segment",
            click=actions.segment,
            color="primary",
            classes="flex-grow-1",
            id="segment",
            disabled=("busy || !ct_name",),
        )
        v3.VBtn("Cancel", click=actions.cancel, variant="tonal", disabled=("!running",), id="cancel")
    v3.VProgressLinear(v_if=("running",), model_value=("percent", 0), height=6, classes="mt-2", id="progress")
    html.Div("{{ status }}", id="status", classes="text-body-2 mt-1", raw_attrs=['aria-live="polite"'])
    with html.Ul(v_if=("notes.length",), classes="text-caption pl-4 mt-1", id="notes"):
        html.Li("{{ note }}", v_for="note in notes", key="note")


def _add_organs(actions: Actions) -> None:
    with html.Div(v_if=("organs.length",)):
        v3.VDivider(classes="my-3")
        with v3.VTable(density="compact", id="organs"):
            with html.Thead(), html.Tr():
                for header in ("", "Organ", "ml", "HU"):
                    html.Th(header)
            with html.Tbody(), html.Tr(v_for="organ in organs", key="organ.id"):
                with html.Td(style="padding:0"):
                    v3.VCheckboxBtn(
                        model_value=("organ.visible",),
                        color=("organ.color",),
                        base_color=("organ.color",),
                        update_modelValue=(actions.show_organ, "[organ.id, $event]"),
                        raw_attrs=[':aria-label="`Show ${organ.name}`"'],
                        density="compact",
                    )
                with html.Td():
                    v3.VBtn(
                        "{{ organ.name }}",
                        variant="text",
                        density="compact",
                        click=(actions.jump, "[organ.id]"),
                        classes="text-none px-1",
                        disabled=("!organ.volume",),
                    )
                html.Td("{{ organ.volume }}", classes="text-right")
                html.Td("{{ organ.hu }}", classes="text-right")


def _add_attention() -> None:
    with html.Div(v_if=("gates.length > 1",), id="attention"):
        v3.VDivider(classes="my-3")
        v3.VSelect(
            v_model=("gate", "none"),
            items=("gates", []),
            label="Attention of gate",
            density="compact",
            variant="outlined",
            hide_details=True,
            id="gate",
        )
        html.Div("{{ gate_text }}", classes="text-caption my-1", id="gate-text")
        with html.Div(v_if=("gate !== 'none'",)):
            v3.VSlider(
                v_model=("opacity", OPACITY),
                min=0,
                max=1,
                step=0.05,
                label="Opacity",
                name="Opacity",
                hide_details=True,
                density="compact",
                id="opacity",
            )
            v3.VRangeSlider(
                v_model=("threshold", THRESHOLD),
                min=0,
                max=1,
                step=0.01,
                label="Threshold",
                name="Threshold",
                hide_details=True,
                density="compact",
                id="threshold",
                strict=True,
            )
            v3.VSelect(
                v_model=("color", ""),
                items=("colors", []),
                label="Colours",
                density="compact",
                variant="outlined",
                hide_details=True,
                classes="mt-1",
                id="color",
            )
            with v3.VTable(density="compact", v_if=("shares.length",), id="shares"):
                with html.Thead(), html.Tr():
                    for header in ("", "attention", "volume"):
                        html.Th(header)
                with html.Tbody(), html.Tr(v_for="share in shares", key="share.organ"):
                    html.Td("{{ share.organ }}")
                    html.Td("{{ share.attention }} %", classes="text-right")
                    html.Td("{{ share.volume }} %", classes="text-right")


def _add_downloads() -> None:
    with html.Div(v_if=("organs.length",)):
        v3.VDivider(classes="my-3")
        with v3.VMenu():
            with v3.Template(v_slot_activator="{ props }"):
                v3.VBtn(
                    "Download", v_bind="props", variant="tonal", block=True, prepend_icon="mdi-download", id="download"
                )
            with v3.VList(density="compact"):
                for name, title in DOWNLOADS.items():
                    shown = {"v_if": ("is_dicom",)} if name == "dicom.zip" else {}
                    v3.VListItem(title=title, href=f"download/{name}", raw_attrs=["download"], **shown)
