"""Which epochs of a training are kept, for the paper's figure 4."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from attention_unet_training.callbacks import KeptEpochs


@pytest.mark.parametrize(("every", "kept"), [(None, [1, 3]), (4, [1, 3, 4, 8])])
def test_epochs_are_kept_by_number_and_every_so_many(tmp_path, every, kept):
    written: list[Path] = []
    callback = KeptEpochs([1, 3], every)
    for epoch in range(9):
        trainer = SimpleNamespace(
            current_epoch=epoch,
            default_root_dir=str(tmp_path),
            save_checkpoint=written.append,
            is_global_zero=False,
        )
        callback.on_train_epoch_end(trainer, None)
    assert written == [tmp_path / f"epoch_{n:04d}.ckpt" for n in kept]


@pytest.mark.parametrize(("epochs", "every"), [([0], None), ([3], 0)])
def test_epochs_are_counted_from_one(epochs, every):
    with pytest.raises(ValueError, match="epochs are counted from 1"):
        KeptEpochs(epochs, every)
