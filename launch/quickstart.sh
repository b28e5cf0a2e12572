#!/usr/bin/env bash
# Sets everything up, trains a small network on scikit-learn's digits in four schemes, compares them,
# makes integers of the last one, runs these by every interpreter, tells what they and the paper's
# network 1 cost in hardware, and writes Verilog: about three minutes on two cores. RUNS chooses
# where the runs go; they go on if broken off.
source "$(dirname "$0")/environment.sh"

runs=${RUNS:-$(mktemp -d)}
schemes=(full lightnn2 lightnn1 flightnn)
for scheme in "${schemes[@]}"; do
  echo "training $scheme in $runs/$scheme"
  python -m launch.train --config="configs/digits.py:$scheme" --workdir="$runs/$scheme"
done
echo
python -m launch.compare "${schemes[@]/#/$runs/}"
echo
python -m launch.lower --workdir="$runs/flightnn"
python -m launch.verify --run="$runs/flightnn"
echo
python -m launch.estimate --integers="$runs/flightnn/integers.safetensors" --activity
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
python -m launch.rtl --integers="$runs/flightnn/integers.safetensors" --out="$runs/flightnn/rtl" \
  --target_images_per_s=10000 ${verify[@]+"${verify[@]}"}
