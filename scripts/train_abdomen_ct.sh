#!/bin/bash
# Trains the bundled model from nothing, on label maps alone, in six stages. The first four took three and a half hours on
# two CPU cores, an epoch of the others takes five to six minutes.
#
#   scripts/train_abdomen_ct.sh MAPS RUNS STAGES [OPTIONS OF fit]
#
# MAPS is a folder of label maps, RUNS gets a folder for each stage. STAGES is "all", or some of them ("fine frozen").
# A stage starts from the best weights of the one before, or, where RUNS lacks these, from the weights that START names.
# What was interrupted goes on when the same command is given again. The model is the mean of the last three stages,
# RUNS/mean.ckpt, written once they are there. Environment: PYTHON, START.
set -eufo pipefail # no globs: [48,80,80] would be one
[ $# -ge 3 ] || { sed -n '2,11s/^# \{0,1\}//p' "$0" >&2; exit 2; }
maps=$1 runs=$2 chosen=$3
shift 3
order="coarse fine frozen restart second third"
whole='{s0001: 4, s0004: 4, s0006: 4, s0011: 4, s0327: 4, sX_mk283: 4}' # drawn more often: true veins, and chests
[ "$chosen" != all ] || chosen=$order

# Each stage: patch (z, y, x), mm, epochs of 250 steps, learning rate at first and at last, batch norm.
#   coarse: quick steps teach anatomy. fine: batch norm gets the statistics of the final grid.
#   frozen: batch norm uses its running statistics, as at inference; with one patch per step it would normalise each CT
#     by itself, and CTs far from the average look different at inference.
#   restart, second, third: the same again from a high learning rate: most is gained while it falls, and by their mean.
options_of() {
  case $1 in
    coarse) set -- '[48,80,80]' 3 4 2e-3 1.5e-3 train 1 ;;
    fine) set -- '[48,96,96]' 2 2 1.5e-3 1e-3 train 2 ;;
    frozen) set -- '[48,96,96]' 2 16 1e-3 1e-5 frozen 3 ;;
    restart) set -- '[48,96,96]' 2 17 1.2e-3 1e-5 frozen 4 ;;
    second) set -- '[48,96,96]' 2 16 1.2e-3 1e-5 frozen 5 ;;
    third) set -- '[48,96,96]' 2 12 1.2e-3 1e-5 frozen 6 ;;
    *) echo "$1 is no stage; there are $order" >&2; return 2 ;;
  esac
  echo --data.patches.shape_kji "$1" --data.patches.spacing_mm "$2" --trainer.max_epochs "$3" \
    --model.optimisation.learning_rate "$4" --model.optimisation.final_learning_rate "$5" \
    --model.batch_norm.mode "$6" --data.patches.first_seed "$7"00000000 --seed_everything "$7"
}

for stage in $chosen; do options_of "$stage" >/dev/null; done
start=${START:-}
for stage in $order; do
  best=$runs/$stage/best.ckpt
  if [[ " $chosen " == *" $stage "* ]] && [ ! -e "$runs/$stage/finished" ]; then
    options=$(options_of "$stage")
    from=()
    [ -z "$start" ] || from=(--model.init_from "$start")
    [ ! -e "$runs/$stage/last.ckpt" ] || from+=(--ckpt_path "$runs/$stage/last.ckpt")
    echo "stage $stage, from ${start:-nothing}"
    # shellcheck disable=SC2086  # the options are words
    "${PYTHON:-python3}" -m attention_unet_training.cli fit --config abdomen_ct.yaml --data.atlas "$maps" \
      --data.anatomies.weights "$whole" --trainer.default_root_dir "$runs/$stage" $options ${from[@]+"${from[@]}"} "$@"
    touch "$runs/$stage/finished"
  fi
  [ ! -e "$best" ] || start=$best
done
parts=("$runs"/{restart,second,third}/best.ckpt)
if [ -e "${parts[0]}" ] && [ -e "${parts[1]}" ] && [ -e "$runs/third/finished" ] && [ ! -e "$runs/mean.ckpt" ]; then
  "${PYTHON:-python3}" -m attention_unet_training.cli average "${parts[@]}" --output "$runs/mean.ckpt"
fi
