"""A checkpoint -> one whose organs have the right volume on synthetic CTs of a label map that it was not trained on.

An organ that a network is unsure of comes out too large: Dice forgives too many voxels more readily than too few. Here
a constant is added to each organ's score, so that over all patches as many voxels are called the organ as belong to it.
The patches must not be those that chose the checkpoint, and all are of one or a few anatomies: what the constants do to
other people's CTs has to be measured there.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from AttentionUNetSegmentationLib.models.description import IntensitySpec

from ..data.synthetic_data import SyntheticPatches
from ..evaluation.calibration import Calibration, Scored, calibrations, offsets_for_volumes
from ..refusals import told_in_one_line
from ..staging import Output, staged
from ..synthetic_ct.atlas import load_atlas
from ..synthetic_ct.config import SyntheticCTConfig
from ..synthetic_ct.structures import check_target_organs
from ..task.checkpoints import LoadedNetwork, TrainingOptions, load_network, read_training_options, write_weights
from ..task.networks import pad_as_engine
from ..task.provenance import learnt_from, recorded
from ..task.starting_weights import CHECKPOINT_ENDING

FIRST_SEED = 1 << 42  # far from every seed of training and validation


@told_in_one_line
def main(arguments: list[str]) -> int:
    """Run ``attention-unet-train calibrate``; returns the exit status."""
    parsed = _parser().parse_args(arguments)
    done = calibrate(
        parsed.checkpoint,
        parsed.output,
        parsed.atlas,
        parsed.subject,
        organs=parsed.organ,
        patches=parsed.patches,
        shape_kji=tuple(parsed.shape),
        first_seed=parsed.first_seed,
        cache=parsed.cache,
        overwrite=parsed.overwrite,
    )
    print("| organ | offset | Dice before | after | volume ratio before | after |\n|---|---|---|---|---|---|")
    for row in done:
        print(
            f"| {row.organ} | {row.offset:+.2f} | {row.dice_before:.3f} | {row.dice_after:.3f} "
            f"| {row.volume_before:.2f} | {row.volume_after:.2f} |"
        )
    print(f"\nwrote {parsed.output}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="attention-unet-train calibrate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("checkpoint", type=Path, help="of attention-unet-train fit or average")
    parser.add_argument("--atlas", type=Path, required=True, help="folder of label maps")
    parser.add_argument("--subject", nargs="+", required=True, help="label maps that were held out of training")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="checkpoint to write, ending .ckpt")
    parser.add_argument("--organ", nargs="+", metavar="NAME", help="organs to calibrate (default: all that it finds)")
    parser.add_argument("--patches", type=int, default=16, help="synthetic patches (default: 16)")
    parser.add_argument("--shape", type=int, nargs=3, default=(96, 160, 160), metavar="N", help="of a patch, D H W")
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED, help="seed of the first patch")
    parser.add_argument("--cache", type=Path, default=Path("runs/atlas_cache"), help="folder for prepared maps")
    parser.add_argument("--overwrite", action="store_true", help="replace an output that exists")
    return parser


def calibrate(
    checkpoint: Path,
    output: Path,
    atlas: Path,
    subjects: Sequence[str],
    organs: Sequence[str] | None = None,
    patches: int = 16,
    shape_kji: tuple[int, int, int] = (96, 160, 160),
    first_seed: int = FIRST_SEED,
    cache: Path = Path("runs/atlas_cache"),
    overwrite: bool = False,
) -> list[Calibration]:
    """Write a checkpoint whose organs have the right total volume on synthetic patches.

    Only the bias of the last convolution changes, so attention maps stay as they are.

    Args:
        checkpoint: Of ``fit`` or ``average``.
        output: Checkpoint to write.
        atlas: Folder of label maps.
        subjects: Label maps that were held out of training.
        organs: Which organs to calibrate; None for all that the network was trained to find.
        patches: Number of synthetic patches.
        shape_kji: Their shape; multiples of 16.
        first_seed: Seed of the first patch.
        cache: Folder for prepared maps.
        overwrite: Whether the output may exist.

    Returns:
        A row for every organ of the network; the offset of those that were not asked for is 0.

    Raises:
        ValueError: If a file name, an organ, the shape or the number of patches does not fit, the network's organs are
            not the generator's, a subject was trained
            on as far as the checkpoint tells, an organ is in no patch, or the output exists.
    """
    for path in (checkpoint, output):
        if Path(path).suffix != CHECKPOINT_ENDING:
            raise ValueError(f"checkpoints must end in {CHECKPOINT_ENDING}, got {path}")
    if patches < 1:
        raise ValueError(f"patches must be at least 1, got {patches}")
    with staged([Output(output)], overwrite) as (draft,):
        loaded = load_network(checkpoint)
        organs = loaded.found if organs is None else organs
        if strangers := set(organs) - set(loaded.found):
            raise ValueError(f"organs must be some of {', '.join(loaded.found)}, got {', '.join(sorted(strangers))}")
        check_target_organs(loaded.organs)
        options = read_training_options(checkpoint)
        _check_held_out(checkpoint, options, subjects)
        replicate_edges = options.data.get("patches", {}).get("replicate_edges", True)  # what it learnt to expect
        scored = _score(loaded, atlas, subjects, patches, shape_kji, first_seed, cache, replicate_edges)
        chosen = [n for n, organ in enumerate(loaded.organs, start=1) if organ in organs]
        for channel in chosen:
            if not any((patch.target == channel).any() for patch in scored):
                raise ValueError(f"no patch shows the {loaded.organs[channel - 1]}: take more patches")
        offsets = offsets_for_volumes(scored, chosen)
        network = loaded.network
        with torch.no_grad():
            bias = network.get_parameter("mix.bias")
            bias.add_(torch.from_numpy(offsets).to(bias))
        calibrated = ", ".join(loaded.organs[channel - 1] for channel in chosen)
        change = f"volumes of {calibrated} corrected on synthetic CT of {', '.join(subjects)}"
        write_weights(draft, checkpoint, network.state_dict(), change)
    return calibrations(loaded.organs, scored, offsets)


def _check_held_out(checkpoint: Path, options: TrainingOptions, subjects: Sequence[str]) -> None:
    """Refuse label maps of training: on them an organ's volume is better than on any other."""
    made = recorded(options.model, options.data, options.step)
    if trained_on := sorted(learnt_from(made) & set(subjects)):
        raise ValueError(f"{checkpoint}, or what it started from, was trained on {', '.join(trained_on)}")
    if "anatomies" not in options.data:
        return  # it was trained on real CTs
    held_out = options.data["anatomies"]["held_out"]
    trained_on = sorted(set(subjects) - set(held_out))
    if trained_on:
        kept = ", ".join(held_out) or "none"
        raise ValueError(f"{checkpoint} was trained on {', '.join(trained_on)}; held out of its training: {kept}")


def _score(
    loaded: LoadedNetwork,
    atlas: Path,
    subjects: Sequence[str],
    patches: int,
    shape_kji: tuple[int, int, int],
    first_seed: int,
    cache: Path,
    replicate_edges: bool,
) -> list[Scored]:
    """Run the network on synthetic patches of the held-out label maps; padding is taken away again."""
    if any(size < 1 or size % loaded.network.size_divisor for size in shape_kji):
        raise ValueError(f"a patch's sizes must be multiples of {loaded.network.size_divisor}, got {shape_kji}")
    known = loaded.known
    rule = known["intensity"]
    intensity = IntensitySpec(tuple(rule["clip_hu"]), rule["mean_hu"], rule["std_hu"])
    anatomies = load_atlas(atlas, cache, include=subjects)
    made = SyntheticPatches(
        anatomies,
        SyntheticCTConfig(),
        intensity,
        shape_kji,
        known["spacing_mm"][0],
        first_seed,
        patches,
        replicate_edges,
    )
    scored = []
    for image, target in (made[n] for n in range(patches)):
        with torch.inference_mode():
            logits, _ = loaded.network(pad_as_engine(image[None], loaded.network))
        scored.append(Scored(logits[0, :, : target.shape[1]].numpy(), target[0].numpy()))
    return scored
