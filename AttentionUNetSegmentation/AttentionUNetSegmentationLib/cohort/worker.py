"""What runs in each of Ray's worker processes: the model, and one case at a time.

A case that ends the process, as a faulty file can in a decoder, so costs no other. Reading, the network and writing
overlap as several workers run; several share a GPU.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass, replace
from typing import Any

import SimpleITK as sitk

from .. import __version__
from ..command.batch import CaseResult, remove_abandoned, result_of
from ..command.cases import Case
from ..formats.dicom.series import list_series
from ..inference.devices import choose_backend, choose_device
from ..models.loading import Model, load_model
from ..models.store import find_model
from ..pipeline import Options


@dataclass(frozen=True)
class Settings:
    """What is the same for all cases.

    Attributes:
        model: Name, or path on every computer of the cluster.
        model_sha256: Of its weights, which are to be the same everywhere.
        options: What to do.
        overwrite: Whether to segment again what is done already.
        threads: CPU cores for each worker.
        engine_version: Which is to be the same everywhere.
    """

    model: str
    model_sha256: str
    options: Options
    overwrite: bool
    threads: int
    engine_version: str = __version__


@dataclass(frozen=True)
class Outcome:
    """How a case ended, for the ledger and the tables; its report is on disk.

    Attributes:
        result: Of the case, without the report.
        seconds: That it took without reading and writing, 0 if it was done already.
        series: Of a DICOM folder whose case failed: its series.
    """

    result: CaseResult
    seconds: float = 0.0
    series: tuple[dict[str, Any], ...] = ()


class Worker:
    """Runs cases one after the other.

    Args:
        settings: What is the same for all.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._model: Model

    def start(self) -> None:
        """Load the model.

        Raises:
            ValueError, RuntimeError, OSError: If the model, or the engine, is not there, or another.
        """
        settings = self._settings
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(settings.threads)
        if __version__ != settings.engine_version:
            raise RuntimeError(
                f"{platform.node()} has version {__version__} of slicer-attention-unet, not {settings.engine_version}"
            )
        device, backend = settings.options.device, settings.options.backend
        if choose_backend(backend, choose_device(device, backend)) == "torch":
            from ..inference.torch_backend import take_large_pages

            take_large_pages()
        model = load_model(find_model(settings.model))
        if model.spec.weights.sha256 != settings.model_sha256:
            raise RuntimeError(f"{platform.node()} has other weights of model {settings.model}")
        self._model = model

    def run(self, case: Case) -> Outcome:
        """Segment a case unless it is done; what is wrong with it is in the outcome."""
        result = result_of(case, self._model, self._settings.options, self._settings.overwrite)
        if result.error:
            return Outcome(result, series=_series_of(case))
        remove_abandoned(case.folder, older_than_seconds=0)  # the driver sees to it that nobody else writes there
        seconds = result.report["provenance"]["seconds"]["total"] if result.report else 0.0
        return Outcome(replace(result, report=None), seconds)


def _series_of(case: Case) -> tuple[dict[str, Any], ...]:
    try:
        return tuple(list_series(case.source)) if case.source.is_dir() else ()
    except (ValueError, OSError):
        return ()  # the error of the case says that nothing can be read
