"""The figure of a validation case: right slices, right contours, one per epoch, in TensorBoard and as PNG."""

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from attention_unet_training.callbacks import AttentionFigures
from attention_unet_training.callbacks.figure import draw_figure, slice_numbers, take
from attention_unet_training.cli import main
from support import prepared_cases
from support.training_runs import tiny_config

pytestmark = pytest.mark.slow

ORGANS = ["pancreas", "spleen"]


def test_slices_go_through_the_first_organ():
    target = np.zeros((6, 7, 8), np.uint8)
    target[4, 1:3, 5] = 1
    target[2, :, 1:4] = 2
    assert slice_numbers(target) == (4, 5)
    assert slice_numbers(np.where(target == 1, 0, target)) == (2, 1)
    assert slice_numbers(np.zeros_like(target)) == (3, 4)


def test_axial_slices_show_the_patients_right_on_the_left():
    volume = np.arange(2 * 3 * 4).reshape(2, 3, 4)  # i grows to the patient's right
    assert take(volume, "axial", 1, 0)[0].tolist() == [15, 14, 13, 12]
    assert take(volume, "sagittal", 0, 2)[:, 0].tolist() == [2, 14]


def test_contours_lie_around_reference_and_prediction():
    target = np.zeros((8, 16, 16), np.uint8)
    target[2:6, 4:8, 4:8] = 1
    prediction = np.roll(target, 2, axis=1)
    image = np.random.default_rng(0).normal(size=target.shape)
    figure = draw_figure(image, target, prediction, {"s2-1": np.full(target.shape, 0.25)}, ORGANS, "epoch 3")
    axial, coefficients = figure.axes[0], figure.axes[1]
    rows = [contour.get_paths()[0].get_extents() for contour in axial.collections]
    assert [(box.y0, box.y1) for box in rows] == [(3.5, 7.5), (5.5, 9.5)]
    assert [contour.get_linestyle()[0][1] is None for contour in axial.collections] == [True, False]
    assert coefficients.get_title() == "s2-1"
    assert coefficients.images[-1].get_array().max() == 0.25
    assert (coefficients.images[-1].get_clim()) == (0, 1)


@pytest.mark.filterwarnings("ignore")
def test_every_epoch_leaves_losses_dice_and_a_figure_in_tensorboard(tmp_path):
    dataset = prepared_cases.write_dataset(tmp_path / "dataset", 3)
    callbacks = [
        {"class_path": "attention_unet_training.callbacks.AttentionFigures"},
        {"class_path": "lightning.pytorch.callbacks.LearningRateMonitor"},
        {"class_path": "lightning.pytorch.callbacks.EarlyStopping", "init_args": {"monitor": "dice", "mode": "max"}},
    ]
    trainer = {"logger": True, "log_every_n_steps": 1, "num_sanity_val_steps": 1}
    model = {"loss": {"auxiliary_weight": 0.3}}
    config = tiny_config(tmp_path / "run", dataset, 2, callbacks, trainer=trainer, model=model)
    assert main(["fit", "--config", str(config)]) == 0
    logs = tmp_path / "run" / "lightning_logs" / "version_0"
    assert sorted(path.name for path in (logs / "figures").iterdir()) == ["epoch_0000.png", "epoch_0001.png"]
    events = EventAccumulator(str(logs), size_guidance={"images": 0})
    events.Reload()
    wanted = {"loss", "loss_mixed", "val_loss", "dice", "dice_pancreas", "dice_spleen", "dice_kidney", "lr-Adam"}
    assert wanted <= set(events.Tags()["scalars"])
    assert len(events.Images("validation case")) == 2
    assert (logs / "config.yaml").is_file()


def test_epochs_between_figures_are_counted():
    with pytest.raises(ValueError, match="every_n_epochs must be at least 1, got 0"):
        AttentionFigures(every_n_epochs=0)
