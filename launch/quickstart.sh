#!/usr/bin/env bash
# Sets everything up and shows the library at work: quantize, train thresholds, encode, decode.
source "$(dirname "$0")/environment.sh"

python launch/tour.py
echo
echo "That was launch/tour.py, which README.md explains. bash launch/test.sh runs all checks."
