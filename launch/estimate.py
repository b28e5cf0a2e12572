"""Prints what a network costs in hardware: by layer and in all, each number with its error.

python -m launch.estimate --config=configs/paper.py:net1,flightnn --mean_k=1.3
python -m launch.estimate --config=configs/paper.py:net7,lightnn1 --largest --device=XCZU7EV
"""

import dataclasses
import json
from collections.abc import Sequence

from absl import app, flags

from flightnn_jax import experiment
from flightnn_jax.hardware import device, fpga, report, search, workload
from launch import options

_DEVICE = flags.DEFINE_string("device", "XC7Z045", "An FPGA's name, or a .json file of one.")
_STYLE = flags.DEFINE_enum("style", "processing", search.STYLES, "How weights are computed with.")
_MEAN_K = flags.DEFINE_float(
    "mean_k", None, "Mean k of a FLightNN, 0 to 2; the config's budget, if it has one, by default."
)
_LARGEST = flags.DEFINE_boolean("largest", False, "The largest layer alone, as in the paper.")
_MULTIPLIER = flags.DEFINE_enum("multiplier", "dsp", ["dsp", "lut"], "For fp4 in the style engine.")
_CLOCK = flags.DEFINE_float("clock_mhz", None, "Clock; the device's record says one by default.")
_ANCHOR = flags.DEFINE_float(
    "anchor", None, "Measured images/s of the same in lightnn1, by which the rest is scaled."
)
_JSON = flags.DEFINE_boolean("json", False, "Print JSON instead of a table.")


def main(argv: Sequence[str]) -> None:
    """Estimates what the flags describe."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments {argv[1:]}: flags start with --")
    with options.plain_errors():
        config, board = options.config(), device.find(_DEVICE.value)
        if _CLOCK.value is not None:
            board = dataclasses.replace(board, clock_mhz=_CLOCK.value)
        network, mean_k = experiment.build_model(config).network, _MEAN_K.value
        if (mean_k, config.scheme, config.mode) == (None, "flightnn", "budget"):
            mean_k = config.budget
        work = workload.from_network(network, config.scheme, mean_k=mean_k)
        first = workload.from_network(network, "lightnn1")
        if _LARGEST.value:
            work, first = work.largest(), first.largest()
        anchor = None if _ANCHOR.value is None else fpga.Anchor(first, _ANCHOR.value)
        found = fpga.estimate(
            work, board, _STYLE.value, anchor=anchor, multiplier=_MULTIPLIER.value
        )
    if _JSON.value:
        print(json.dumps(report.estimate_json(found, work), indent=1))
    else:
        print(report.estimate_text(found, work, board))


if __name__ == "__main__":
    app.run(main)
