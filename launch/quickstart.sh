#!/usr/bin/env bash
# Sets everything up, trains a sweep of six small networks on scikit-learn's digits in four schemes,
# compares them, runs the integers of one by every interpreter, tells what they and the paper's
# network 1 cost in hardware, writes Verilog, and draws the front of accuracy against cost: about
# three minutes on two cores. RUNS chooses where the runs go; they go on if broken off.
source "$(dirname "$0")/environment.sh"

runs=${RUNS:-$(mktemp -d)}
python -m launch.sweep --config=configs/digits.py --over=scheme=full,lightnn2,lightnn1,flightnn \
  --over=budget=1.25,1.5,1.75 --workdir="$runs"
one="$runs/scheme=flightnn,budget=1.5"
echo
python -m launch.verify --run="$one"
echo
python -m launch.estimate --integers="$one/integers.safetensors" --activity
echo
python -m launch.estimate --config=configs/paper.py:net1,flightnn --mean_k=1.3
echo
# Its Verilog, simulated where a simulator is installed.
verify=()
if command -v verilator >/dev/null && command -v g++ >/dev/null; then
  verify=(--verify=verilator --images=40)
elif command -v iverilog >/dev/null; then
  verify=(--verify=icarus --images=2)
fi
python -m launch.rtl --integers="$one/integers.safetensors" --out="$one/rtl" \
  --target_images_per_s=10000 ${verify[@]+"${verify[@]}"}
echo
python -m launch.explore "$runs"
