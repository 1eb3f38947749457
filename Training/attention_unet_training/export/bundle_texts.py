"""``docs/README.md`` and ``LICENSE`` of a MONAI bundle."""

from __future__ import annotations

from AttentionUNetSegmentationLib.models.description import ModelSpec

README = """\
# {title}

{type}, version {version}, of SlicerAttentionUNet. {intended_use}

- Trained on: {training_data}
- Licence: {licence}
- Cite: {citation}

## Measured

{measured}

## Run

Needs MONAI and nibabel. CTs lie in `images/` as NIfTI files, in HU; label maps appear in `eval/`:

    python -m monai.bundle run --config_file configs/inference.json --meta_file configs/metadata.json --bundle_root .

`--dataset_dir DIR` and `--output_dir DIR` choose other folders. Values in the label maps: {values}.

- `models/model.ts` (TorchScript) is what runs: scaled CT in, logits out, without this project's code.
- `models/model.pt` is the state dict. With this project installed, `network_with_attention` in `configs/inference.json`
  is the network that it fits, whose second output is the attention maps.

## Preprocessing

Array axes run upwards, to the patient's front and to the right (`SAR`; the patient-aligned axes of the engine, slice
first); voxels of {spacing} mm; HU clipped to {clip_hu}, then (HU {minus_mean_hu:+g}) / {std_hu:g}; edge values
repeated up to multiples of the network's divisor.

Where it differs from the engine of SlicerAttentionUNet (the command `attention-unet`, the module in 3D Slicer):

- On a grid that has the network's spacing and axes already, the network sees the same voxels, but for the engine's crop
  to the body. Elsewhere the engine averages over the target's spacing when it makes voxels larger, MONAI's `Spacing`
  interpolates without; the engine centres the new grid on the old one, `Spacing` begins at the first voxel's centre.
- Oblique scans keep their oblique axes here; the engine brings them to the patient's.
- The whole field goes through the network in one pass, without a crop to the body and without the engine's measures
  against running out of memory. `inferer` may be replaced by a sliding window.
- Labels are the class of the highest logit, interpolated to the CT's grid. The engine also keeps only the largest parts
  of each organ and tells right from left.
"""

LICENCE = """\
{title}, version {version}

Licence of this model, as its makers state it:

    {licence}

Trained on:

    {training_data}

The network's definition and this bundle's configuration come from SlicerAttentionUNet, Apache License 2.0
(https://www.apache.org/licenses/LICENSE-2.0). There is no warranty of any kind.
"""


def readme(spec: ModelSpec) -> str:
    """What the bundle is, how it runs, and how it differs from the engine; Markdown."""
    rows = [f"| {m.data} | {m.organ} | {m.metric} | {m.value:.3g} | {m.cases} |" for m in spec.measured]
    table = ["| data | organ | metric | value | cases |", "|---|---|---|---|---|", *rows]
    return README.format(
        title=spec.title,
        type=spec.architecture.type,
        version=spec.version,
        intended_use=spec.intended_use,
        training_data=spec.origin(),
        licence=spec.licence,
        citation=spec.citation or "nothing stated",
        measured="\n".join(table),
        values=", ".join(["0 background", *(f"{label.value} {label.name}" for label in spec.labels)]),
        spacing=" x ".join(f"{length:g}" for length in spec.spacing_mm),
        clip_hu=" to ".join(f"{bound:g}" for bound in spec.intensity.clip_hu),
        minus_mean_hu=-spec.intensity.mean_hu,
        std_hu=spec.intensity.std_hu,
    )


def licence(spec: ModelSpec) -> str:
    """The licence statements of the model's description; plain text."""
    return LICENCE.format(title=spec.title, version=spec.version, licence=spec.licence, training_data=spec.origin())
