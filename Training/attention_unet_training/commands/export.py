"""A checkpoint -> the model folder that 3D Slicer and ``attention-unet`` load, an ONNX file, a MONAI bundle.

The description (labels, training data, licence, intended use) is a JSON file of the user's; what the checkpoint knows
(architecture, spacing, intensity rule, provenance) is taken from it, and measured metrics come from ``evaluate``'s
file. A model folder can be given in the checkpoint's place. All outputs carry the same weights, rounded to half
precision. What the description says of another model, and is not true of these weights, is refused.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

from AttentionUNetSegmentationLib.models.description import SPEC_FILE, WEIGHTS_FILE, ModelSpec
from AttentionUNetSegmentationLib.models.loading import save_model

from ..export.claims import check_claims
from ..export.description import FIELDS_HELP, describe, is_checked
from ..export.half_precision import half_rounded
from ..refusals import told_in_one_line
from ..staging import Output, staged
from ..task.checkpoints import LoadedNetwork, load_network

BUNDLE_FILES = ("configs/*.json", "models/model.pt", "models/model.ts", "docs/README.md", "LICENSE")


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        spec: The model's description.
        onnx_difference: Largest difference between ONNX Runtime and PyTorch, relative to a channel's largest value;
            None if no ONNX file was asked for.
    """

    spec: ModelSpec
    onnx_difference: float | None = None


@told_in_one_line
def main(arguments: list[str]) -> int:
    """Run ``attention-unet-train export``; returns the exit status."""
    parsed = _parser().parse_args(arguments)
    done = export(
        parsed.source,
        parsed.output,
        parsed.description,
        parsed.measured,
        parsed.onnx,
        parsed.bundle,
        parsed.overwrite,
    )
    if parsed.output:
        print(f"wrote the model {done.spec.name} {done.spec.version} to {parsed.output}")
    if parsed.onnx:
        print(f"wrote {parsed.onnx}: it and PyTorch differ by at most {done.onnx_difference:.1e} of the largest value")
    if parsed.bundle:
        print(f"wrote the MONAI bundle {parsed.bundle}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="attention-unet-train export",
        description=__doc__,
        epilog=FIELDS_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", help="checkpoint of attention-unet-train fit, or name, folder or zip of a model")
    parser.add_argument("output", type=Path, nargs="?", help="model folder to write")
    parser.add_argument("--description", type=Path, help="JSON, see below; needed for a checkpoint")
    parser.add_argument("--measured", type=Path, help="JSON, see below; needed for a checkpoint")
    parser.add_argument("--onnx", type=Path, metavar="FILE", help="write ONNX: logits and every attention map")
    parser.add_argument("--bundle", type=Path, metavar="DIR", help="write a MONAI bundle")
    parser.add_argument("--overwrite", action="store_true", help="replace outputs that exist")
    return parser


def export(
    source: Path | str,
    output: Path | None = None,
    description: Path | None = None,
    measured: Path | None = None,
    onnx: Path | None = None,
    bundle: Path | None = None,
    overwrite: bool = False,
) -> Exported:
    """Write what is asked for: all of it, or nothing.

    Args:
        source: Checkpoint, or name, folder or zip of a model.
        output: Model folder.
        description: JSON, see ``export_description``.
        measured: JSON list of measured metrics.
        onnx: ONNX file.
        bundle: Folder of a MONAI bundle.
        overwrite: Replace outputs that exist.

    Raises:
        ValueError: If the description is incomplete, does not fit what was trained or is another model's, the measured
            metrics are of other weights, or an output exists.
        RuntimeError: If what was written does not give the network's results.
    """
    targets = {"model": (output, (SPEC_FILE, WEIGHTS_FILE)), "onnx": (onnx, ()), "bundle": (bundle, BUNDLE_FILES)}
    wanted = {kind: Output(path, files) for kind, (path, files) in targets.items() if path is not None}
    if not wanted:
        raise ValueError("nothing to write: give a model folder, --onnx FILE or --bundle DIR")
    with staged(list(wanted.values()), overwrite) as drafts:
        places = dict(zip(wanted, drafts, strict=True))
        trained = load_network(source)
        _check_all_organs(source, trained)
        spec = describe(trained.known, trained.organs, description, measured, trained.sha256)
        network = trained.network
        network.load_state_dict(half_rounded(network.state_dict()))
        if description is not None:
            check_claims(spec, network, str(description), is_checked(description))
        difference = None
        with tempfile.TemporaryDirectory() as unwanted:  # the ONNX file holds the hash that a model folder would have
            spec = save_model(places.get("model", unwanted), network, spec)
        if "onnx" in places:
            from ..export.onnx import write_onnx

            difference = write_onnx(network, spec, places["onnx"])
        if "bundle" in places:
            from ..export.bundle import write_bundle

            write_bundle(network, spec, places["bundle"])
    return Exported(spec, difference)


def _check_all_organs(source: Path | str, trained: LoadedNetwork) -> None:
    """Refuse a network that never finds some of its organs: its model would claim them."""
    if lost := [organ for organ in trained.organs if organ not in trained.found]:
        raise ValueError(
            f"{source} never finds {', '.join(lost)}, which active_organs left out: train one of "
            f"{', '.join(trained.found)} alone for export (model.organs, or finetune --organs)"
        )
