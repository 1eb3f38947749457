"""``attention-unet-train finetune``: from a model to one that knows your own cases, in one command.

Cases may label some of the model's organs only: where an organ is not labelled, calling something that organ instead of
background is neither right nor wrong.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import lightning.pytorch as pl
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger

from AttentionUNetSegmentationLib.errors import one_sentence
from AttentionUNetSegmentationLib.models.description import ModelSpec
from AttentionUNetSegmentationLib.models.store import find_model, read_spec, unpacked_model

from ..callbacks import AttentionFigures, CheckpointBeforeValidation, LearningCurve
from ..data.augmentation import Augmentation
from ..data.cases_data import CasesData
from ..preparation.prepared import PreparedDataset
from ..refusals import told_in_one_line
from ..task.freezing import PARTS
from ..task.options import BatchNormOptions, FreezingOptions, NetworkOptions, OptimisationOptions
from ..task.precision import CHOICES, choose_precision
from ..task.segmentation_task import SegmentationTask
from ..task.starting_weights import check_no_run_in, check_resumable
from ..trainer_messages import silence_advertisements

AUGMENTATION = Augmentation(rotation_deg=(10.0, 5.0, 5.0), scale=(0.85, 1.15), flip_axes=(), intensity_probability=0.15)


@told_in_one_line
def main(arguments: list[str]) -> int:
    """Run the command; returns the exit status."""
    options = make_parser().parse_args(arguments)
    try:
        best = finetune(options)
    except MisconfigurationException as error:
        raise RuntimeError(one_sentence(error)) from error
    print(f"wrote {best}\nexport it: attention-unet-train export {best} FOLDER --description JSON --measured JSON")
    return 0


def make_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(prog="attention-unet-train finetune", description=__doc__.splitlines()[0])
    parser.add_argument("model", help="model to start from: name, folder or zip")
    parser.add_argument("dataset", type=Path, help="folder that attention-unet-train prepare wrote")
    parser.add_argument("--output", type=Path, required=True, help="folder for checkpoints and logs")
    parser.add_argument("--frozen", choices=PARTS, default="none", help="part that stays as it is (default: none)")
    parser.add_argument("--organs", nargs="+", metavar="ORGAN", help="organs of the new model (default: the model's)")
    parser.add_argument("--split", help="train on the training part of this split (default: on all cases)")
    parser.add_argument("--fold", type=int, default=0, help="fold of the split")
    parser.add_argument("--validation-cases", type=int, default=2, help="cases kept out of training (default: 2)")
    parser.add_argument("--epochs", type=int, default=50, help="maximum number (default: 50)")
    parser.add_argument("--samples-per-epoch", type=int, help="patches per epoch (default: 4 per case)")
    parser.add_argument("--learning-rate", type=float, default=3e-4, help="peak learning rate (default: 3e-4)")
    parser.add_argument("--batch-size", type=int, default=1, help="patches per step (default: 1)")
    parser.add_argument("--patch", type=int, nargs=3, default=(96, 160, 160), metavar=("D", "H", "W"), help="voxels")
    parser.add_argument("--batch-norm", choices=("train", "frozen"), default="frozen", help="(default: frozen)")
    parser.add_argument("--validate-every", type=int, default=1, metavar="N", help="epochs (default: 1)")
    parser.add_argument("--device", choices=("auto", "cpu", "gpu", "mps"), default="auto", help="(default: auto)")
    parser.add_argument("--devices", type=int, default=1, help="how many GPUs or CPU processes (default: 1)")
    parser.add_argument("--precision", choices=CHOICES, help="(default: by what the processor can do)")
    parser.add_argument("--workers", type=int, default=1, help="background processes (default: 1)")
    parser.add_argument("--seed", type=int, default=0, help="(default: 0)")
    parser.add_argument("--resume", type=Path, metavar="CHECKPOINT", help="go on from last.ckpt of an earlier run")
    parser.add_argument("--quiet", action="store_true", help="no progress bar and no line for each epoch")
    return parser


def finetune(options: argparse.Namespace) -> Path:
    """Fine-tune; returns the best checkpoint.

    Raises:
        ValueError: If the dataset was not prepared as the model needs it, no run can be resumed from the checkpoint, or
            options do not fit.
        RuntimeError: If training fails.
    """
    if options.resume:
        check_resumable(options.resume, options.output)
    else:
        check_no_run_in(options.output)
    spec = read_model_spec(options.model)
    dataset = PreparedDataset.open(options.dataset)
    check_preparation(spec, dataset)
    pl.seed_everything(options.seed)
    trainer = make_trainer(options)  # first: a device that is not there is noticed at once
    organs = list(options.organs or [label.name for label in spec.labels])
    data = CasesData(
        options.dataset,
        organs=organs,
        split=options.split,
        fold=options.fold,
        shape_kji=tuple(options.patch),
        batch_size=options.batch_size,
        samples_per_epoch=max(options.samples_per_epoch or 4 * len(dataset.cases), options.batch_size),
        augmentation=AUGMENTATION,
        validation_cases=options.validation_cases,
        seed=options.seed,
        workers=options.workers,
    )
    data.setup("fit")  # cases that are too few are noticed before the model is loaded
    trainer.fit(make_task(options, spec, organs), data, ckpt_path=str(options.resume) if options.resume else None)
    best = trainer.checkpoint_callback
    if not isinstance(best, ModelCheckpoint):
        raise RuntimeError(f"the trainer must keep checkpoints, got {best}")
    return Path(best.best_model_path)


def make_task(options: argparse.Namespace, spec: ModelSpec, organs: list[str]) -> SegmentationTask:
    """The model's network with its weights, ready to learn."""
    architecture = spec.architecture
    return SegmentationTask(
        organs=organs,
        init_from=str(options.model),
        network=NetworkOptions(
            architecture.type, architecture.widths, architecture.num_subgates, architecture.gating_conv
        ),
        optimisation=OptimisationOptions(learning_rate=options.learning_rate),
        batch_norm=BatchNormOptions(options.batch_norm),
        freezing=FreezingOptions(options.frozen),
    )


def make_trainer(options: argparse.Namespace) -> pl.Trainer:
    """Trainer with checkpoints, early stop, logs and figures in the output folder."""
    for name in ("epochs", "validate_every", "devices"):
        if getattr(options, name) < 1:
            raise ValueError(f"--{name.replace('_', '-')} must be at least 1, got {getattr(options, name)}")
    silence_advertisements()
    precision, why = choose_precision(options.precision, options.device)
    if not options.quiet:
        print(why, flush=True)
    return pl.Trainer(
        accelerator=options.device,
        precision=precision,  # type: ignore[arg-type]  # one of CHOICES
        devices=options.devices,
        max_epochs=options.epochs,
        check_val_every_n_epoch=min(options.validate_every, options.epochs),
        default_root_dir=options.output,
        gradient_clip_val=5.0,
        num_sanity_val_steps=0,
        log_every_n_steps=10,
        enable_progress_bar=sys.stdout.isatty() and not options.quiet,
        enable_model_summary=False,
        logger=TensorBoardLogger(options.output, "logs", version=""),
        callbacks=[
            LearningCurve(options.quiet),
            CheckpointBeforeValidation(),
            ModelCheckpoint(options.output, filename="best", monitor="dice", mode="max", enable_version_counter=False),
            # to resume from; save_last would only copy the best
            ModelCheckpoint(
                options.output, filename="last", save_on_train_epoch_end=True, enable_version_counter=False
            ),
            EarlyStopping("dice", mode="max", patience=15),
            LearningRateMonitor(),
            AttentionFigures(),
        ],
    )


def read_model_spec(model: str) -> ModelSpec:
    """The description of a model given by name, folder or zip.

    Raises:
        ValueError: If there is none.
    """
    path = find_model(model)
    if path.is_file():
        with unpacked_model(path) as folder:
            return read_spec(folder)
    return read_spec(path)


def check_preparation(spec: ModelSpec, dataset: PreparedDataset) -> None:
    """Cases must have the model's spacing and intensity rule, since its weights depend on both.

    Raises:
        ValueError: If they do not; the message says with which options to prepare them.
    """
    pairs: Sequence[tuple[str, object, object]] = (
        ("spacing_mm", tuple(spec.spacing_mm), tuple(dataset.spacing_mm)),
        ("intensity", spec.intensity, dataset.intensity),
    )
    for key, wanted, found in pairs:
        if wanted != found:
            raise ValueError(f"the model {spec.name} needs {key} {wanted}, {dataset.folder} was prepared with {found}")
