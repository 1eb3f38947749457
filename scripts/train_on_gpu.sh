#!/bin/bash
# One of a series of short commands that train the bundled model on a bare machine with one GPU and no internet.
#
# Where there is internet:  python scripts/pack_for_gpu.py MAPS runs/gpu     (take runs/gpu along with this repository)
# On the GPU's machine:     OUT=FOLDER MINUTES=9.5 scripts/train_on_gpu.sh STAGE [OPTIONS OF fit]
#
# STAGE is one of scripts/train_abdomen_ct.sh (coarse, fine, frozen, wide). OUT gets weights in half precision after
# every 250 steps, 13 MB each (last.ckpt, and best.ckpt by the mean over people), and the log. The next command starts
# from them: START=FOLDER/best.ckpt. The optimiser starts anew, so each command has a short warm-up and a cosine of its
# own: give learning rates that go on from those of the last one, and about as many epochs as fit into the minutes (the
# log says how long one takes; MINUTES ends it in any case, after a last validation). For example, from weights of a CPU:
#   START=cpu.ckpt OUT=a scripts/train_on_gpu.sh frozen --trainer.max_epochs 16 --model.optimisation.final_learning_rate 3e-4
#   START=a/last.ckpt OUT=b scripts/train_on_gpu.sh frozen --trainer.max_epochs 16 --model.optimisation.learning_rate 3e-4
#   START=b/best.ckpt OUT=c scripts/train_on_gpu.sh wide --trainer.max_epochs 8
# --data.patches.first_seed NUMBER gives each command patches that the others did not see. Needed there: Python 3.12,
# PyTorch, Lightning, SciPy, scikit-image, Matplotlib, rich, TensorBoard. Environment: PYTHON, PACK, WORK, CORES, DEVICE.
set -euo pipefail
[ $# -ge 1 ] && [ -n "${OUT:-}" ] || { sed -n '2,18s/^# \{0,1\}//p' "$0" >&2; exit 2; }
stage=$1
shift
cd "$(dirname "$0")/.."
export PYTHON=${PYTHON:-python3} OMP_NUM_THREADS=1 PYTHONUNBUFFERED=1
pack=${PACK:-runs/gpu} work=${WORK:-runs/gpu_work} cores=${CORES:-$(nproc)}
mkdir -p "$OUT" "$work/site" "$work/maps"

$PYTHON -m pip install -q --no-index --no-deps --no-compile --upgrade --target "$work/site" "$pack"/wheels/*.whl
export PYTHONPATH=$PWD/AttentionUNetSegmentation:$PWD/Training:$work/site
# Packed label maps are read without SimpleITK (50 MB), but other readers import it: this only lets them be imported.
$PYTHON -c 'import SimpleITK' 2>/dev/null || echo 'Image = None' >"$work/site/SimpleITK.py"

tar -xf "$pack/maps.tar" -C "$work/maps" # with their times: what an earlier command prepared counts
$PYTHON - "$work" "$cores" <<'PYTHON'
import functools, multiprocessing, sys
from pathlib import Path
from attention_unet_training.synthetic_ct.atlas import choose_sources
from attention_unet_training.synthetic_ct.atlas_cache import fill_cache
from attention_unet_training.synthetic_ct.preparation import PREPARED_SPACING_MM

if __name__ == "__main__":
    work, cores = Path(sys.argv[1]), int(sys.argv[2])
    one = functools.partial(fill_cache, cache_folder=work / "cache", spacing_mm=PREPARED_SPACING_MM)
    with multiprocessing.get_context("fork").Pool(cores) as pool:
        pool.map(one, [[source] for source in choose_sources(work / "maps")], chunksize=1)
PYTHON
echo "prepared after $SECONDS s"

# the last validation and the files need the rest
left=$($PYTHON -c "s = max(60, int(60 * ${MINUTES:-9.5} - $SECONDS - 45)); print(f'00:00:{s // 60:02}:{s % 60:02}')")
rm -rf "$work/runs"
scripts/train_abdomen_ct.sh "$work/maps" "$work/runs" "$stage" --data.anatomies.cache "$work/cache" \
  --data.anatomies.memory_gb 32 --data.workers "$cores" --trainer.accelerator "${DEVICE:-gpu}" \
  --trainer.precision bf16-mixed --trainer.max_time "$left" \
  --trainer.callbacks+=attention_unet_training.callbacks.HalfWeights --trainer.callbacks.folder "$OUT" "$@" 2>&1 |
  tee "$OUT/log.txt"
cp "$work/runs/$stage/curve.csv" "$OUT"
