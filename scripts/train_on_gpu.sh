#!/bin/bash
# One of a series of short commands that train the bundled model on a bare machine with one GPU and no internet.
#
# Where there is internet:  python scripts/pack_for_gpu.py MAPS      (writes runs/gpu: take it along with the sources)
# On the GPU's machine:     OUT=FOLDER scripts/train_on_gpu.sh STAGE NUMBER [OPTIONS OF fit]
#
# STAGE is one of scripts/train_abdomen_ct.sh. NUMBER counts the commands of the series; each
# sees patches that the others did not. OUT gets weights in half precision after every 250 steps, 13 MB each (last.ckpt,
# and best.ckpt by the mean over people), the log and the curve. The next command starts from them, with a fresh
# optimiser: each has a short warm-up and a cosine of its own, so its learning rate should begin where that of the one
# before ended. Give about as many epochs as fit into MINUTES (default 9.5, all included; the log says how long one
# takes): when the time is over, training stops after a last validation. From weights of a CPU, for example:
#   START=cpu.ckpt OUT=a scripts/train_on_gpu.sh frozen 1 --trainer.max_epochs 16 \
#     --model.optimisation.final_learning_rate 3e-4
#   START=a/last.ckpt OUT=b scripts/train_on_gpu.sh frozen 2 --trainer.max_epochs 16 \
#     --model.optimisation.learning_rate 3e-4
# Needed there: PyTorch, Lightning, SciPy, scikit-image, Matplotlib, rich. Environment besides: PYTHON, PACK (runs/gpu),
# WORK (runs/gpu_work: prepared label maps, used again by later commands), CORES, DEVICE (gpu).
set -euo pipefail
[ $# -ge 2 ] && [ -n "${OUT:-}" ] || { sed -n '2,18s/^# \{0,1\}//p' "$0" >&2; exit 2; }
stage=$1 number=$2
shift 2
root=$(cd "$(dirname "$0")/.." && pwd)
export PYTHON=${PYTHON:-python3} OMP_NUM_THREADS=1 PYTHONUNBUFFERED=1
pack=${PACK:-$root/runs/gpu} work=${WORK:-$root/runs/gpu_work} cores=${CORES:-$(nproc)}
mkdir -p "$OUT" "$work/site" "$work/maps"

$PYTHON -m pip install -q --no-index --no-deps --no-compile --upgrade --target "$work/site" "$pack"/wheels/*.whl
export PYTHONPATH=$root/AttentionUNetSegmentation:$root/Training:$work/site
# Packed label maps are read without SimpleITK (50 MB), but other readers import it: this only lets them be imported.
$PYTHON -c 'import SimpleITK' 2>/dev/null || echo 'Image = None' >"$work/site/SimpleITK.py"

tar -xf "$pack/maps.tar" -C "$work/maps" # with their times: what an earlier command prepared counts
$PYTHON - "$work" "$cores" <<'PYTHON'
import functools, multiprocessing, sys
from pathlib import Path
from attention_unet_training.synthetic_ct.atlas import choose_sources
from attention_unet_training.synthetic_ct.atlas_cache import fill_cache
from attention_unet_training.synthetic_ct.preparation import PREPARED_SPACING_MM

work, cores = Path(sys.argv[1]), int(sys.argv[2])
one = functools.partial(fill_cache, cache_folder=work / "cache", spacing_mm=PREPARED_SPACING_MM)
with multiprocessing.get_context("fork").Pool(cores) as pool:
    pool.map(one, [[source] for source in choose_sources(work / "maps")], chunksize=1)
PYTHON
echo "label maps are prepared after $SECONDS s"

# the last validation and the files need what is taken off
left=$($PYTHON -c "s = max(60, int(60 * ${MINUTES:-9.5} - $SECONDS - 45)); print(f'00:00:{s // 60:02}:{s % 60:02}')")
rm -rf "$work/runs"
"$root/scripts/train_abdomen_ct.sh" "$work/maps" "$work/runs" "$stage" --data.anatomies.cache "$work/cache" \
  --data.anatomies.memory_gb 32 --data.workers "$cores" --data.patches.first_seed $((500000000 + number * 10000000)) \
  --trainer.accelerator "${DEVICE:-gpu}" --trainer.precision bf16-mixed --trainer.max_time "$left" \
  --trainer.logger false --trainer.callbacks+=attention_unet_training.callbacks.HalfWeights \
  --trainer.callbacks.folder "$OUT" "$@" 2>&1 | tee "$OUT/log.txt"
cp "$work/runs/$stage/curve.csv" "$OUT"
