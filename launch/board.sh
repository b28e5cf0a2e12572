#!/usr/bin/env bash
# From the digits to a bitstream for an iCE40UP5K: trains a network of 8x8 digits, makes integers
# and Verilog of it, simulates this where a simulator is installed, and has Yosys, nextpnr-ice40 and
# icepack make board.bin. docs/rtl.md says how to install these and how long it takes. FOLDER, the
# first argument, is where all of it goes; a run that was broken off goes on.
source "$(dirname "$0")/environment.sh"

folder=${1:-$(mktemp -d)}
SECONDS=0
python -m launch.train --config=configs/digits.py:flightnn,tiny --config.width=16 --config.epochs=40 \
  --workdir="$folder"
python -m launch.lower --workdir="$folder"
verify=()
if command -v iverilog >/dev/null; then
  verify=(--verify=icarus --images=4)
fi
python -m launch.rtl --integers="$folder/integers.safetensors" --out="$folder/rtl" \
  --device=iCE40UP5K --synthesize ${verify[@]+"${verify[@]}"}
echo "from the digits to $folder/rtl/board.bin in $SECONDS s"
