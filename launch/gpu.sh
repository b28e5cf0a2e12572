#!/usr/bin/env bash
# All that is to be known of a machine with a GPU, by one command, within a time limit:
#
#   bash launch/gpu.sh [--smoke] [--minutes=25] [--out=DIR] [--data=FILE.npz] [--config=CONFIG]
#
# 1. every path of integers and the sums of training's forward pass are compared with integers;
# 2. the training step, a step of several members, and inference on integers are measured;
# 3. the sweep of CONFIG (the paper's network 1) is trained from FILE.npz until the time is up, and
#    every run that ended is verified: trained = integers. The file has uint8 images and labels,
#    x_train, y_train, x_test, y_test, which are mirrored in training, as CIFAR-10's are.
#
# It takes what is installed and no network. PYTHON chooses the interpreter. All that it finds is
# in DIR (gpu-results by default). A second call goes on with the sweep. --smoke tries it out on any
# machine, with small networks on the embedded digits. The exit code is 1 if any integer differs.
set -euo pipefail

smoke= minutes=25 out=gpu-results data= config=configs/reproduction.py:net1
for argument in "$@"; do
  case "$argument" in
    --smoke) smoke=1 ;;
    --minutes=*) minutes=${argument#*=} ;;
    --out=*) out=${argument#*=} ;;
    --data=*) data=${argument#*=} ;;
    --config=*) config=${argument#*=} ;;
    *) echo "$argument: the flags are --smoke, --minutes, --out, --data and --config" >&2; exit 2 ;;
  esac
done
if [[ ! $minutes =~ ^[1-9][0-9]*$ ]]; then
  echo "--minutes=$minutes: give a whole number, 1 or more" >&2
  exit 2
fi
if [ -z "$smoke" ] && [ ! -f "$data" ]; then
  echo "--data=$data is no file: give an .npz file with x_train, y_train, x_test and y_test, or" \
    "--smoke to try this out" >&2
  exit 2
fi
[ -z "$data" ] || data=$(realpath -m "$data")
out=$(realpath -m "$out")
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
end=$(($(date +%s) + 60 * minutes))
sweep_end=$((end - 10 * minutes)) # a sixth is for verifying what was trained
mkdir -p "$out"

# Runs a program until a time, and keeps what it prints; its code is in $code, 124 for out of time.
run() {
  local name=$1 left=$(($2 - $(date +%s)))
  shift 2
  code=124
  if [ "$left" -le 0 ]; then
    echo "$name: no time left" | tee -a "$out/summary.txt"
    return
  fi
  echo "== $name: $*" | tee "$out/$name.txt"
  code=0
  # SIGTERM lets a training save its state; it has a minute for it.
  timeout --kill-after=60 "$left" "$@" 2>&1 | tee -a "$out/$name.txt" || code=${PIPESTATUS[0]}
  echo "$name: exit code $code" >>"$out/summary.txt"
}

: >"$out/summary.txt"
checked=(--networks=net1,net2,net7) measured=(--networks=net1,net7) swept=()
if [ -n "$smoke" ]; then
  checked=(--networks=net4 --width=8)
  measured=(--networks=net4 --width=8 --rounds=3 --images=16 --many=16)
  config=configs/digits.py:smoke
  swept=(--over=scheme=lightnn1,flightnn)
else
  "$python" -c 'import sys, numpy as np
np.savez(sys.argv[2], **{**np.load(sys.argv[1]), "mirror": True})' "$data" "$out/data.npz"
  swept=(--config.dataset="npz:$out/data.npz")
fi
if nvidia-smi >/dev/null 2>&1; then
  nvidia-smi >"$out/device.txt"
fi

wrong=0
run check "$end" "$python" -m benchmarks.accelerator --check "${checked[@]}"
[ "$code" = 0 ] || [ "$code" = 124 ] || wrong=1
run measure "$end" "$python" -m benchmarks.accelerator --measure "${measured[@]}"
run sweep "$sweep_end" "$python" -m launch.sweep --config="$config" --workdir="$out/sweep" "${swept[@]}"
for result in "$out"/sweep/*/result.json; do
  one=$(dirname "$result")
  if [ -f "$one/integers.safetensors" ]; then
    run "verify-$(basename "$one")" "$end" "$python" -m launch.verify --run="$one" --paths=trained,fast,float
    [ "$code" = 0 ] || [ "$code" = 124 ] || wrong=1
  fi
done
cat "$out/summary.txt"
exit "$wrong"
