#!/usr/bin/env bash
# Sets everything up, trains a small network on scikit-learn's digits in four schemes, compares them,
# makes integers of the last one, runs these by every interpreter, and tells what they and the paper's
# network 1 cost in hardware: about three minutes on two cores. RUNS chooses where the runs go; they
# go on if broken off.
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
