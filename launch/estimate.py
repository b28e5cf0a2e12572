"""Prints what a network costs in hardware: by layer and in all, each number with its error.

python -m launch.estimate --config=configs/paper.py:net1,flightnn --mean_k=1.3
python -m launch.estimate --config=configs/paper.py:net7,lightnn1 --largest --device=XCZU7EV
python -m launch.estimate --integers=/tmp/net1/integers.safetensors --activity

An integer network, as launch.lower writes it, has its own k of each filter and certified widths.
With --activity its golden images are run and the bits that change counted, for the energy on an
ASIC. If it was trained for a budget in units of hardware, a broken bound is the exit code 3.
"""

import dataclasses
import json
import sys

from flightnn_jax import integer
from flightnn_jax.hardware import device, estimate, report, search, workload
from flightnn_jax.hardware.activity import Distances
from flightnn_jax.training.config import network_of

from . import bounds, command, options
from .command import flags

_INTEGERS = flags.DEFINE_string("integers", None, "File of an integer network, not --config.")
_ACTIVITY = flags.DEFINE_boolean(
    "activity", False, "Also the energy by the bits that change as an integer network computes."
)
_DEVICE = flags.DEFINE_string("device", "XC7Z045", "An FPGA's name, or a .json file of one.")
_STYLE = flags.DEFINE_enum("style", "array", search.STYLES, "Style of the design.")
_MEAN_K = flags.DEFINE_float(
    "mean_k", None, "Mean k of a FLightNN, 0 to 2; the config's budget, if it has one, by default."
)
_LARGEST = flags.DEFINE_boolean("largest", False, "The largest layer alone, as in the paper.")
_MULTIPLIER = flags.DEFINE_enum("multiplier", "dsp", ["dsp", "lut"], "For fp4 in the style engine.")
_CLOCK = flags.DEFINE_float("clock_mhz", None, "Clock; that of the device's record by default.")
_ANCHOR = flags.DEFINE_float(
    "anchor", None, "Measured images/s of the same in lightnn1, by which the rest is scaled."
)
_JSON = flags.DEFINE_boolean("json", False, "Print JSON instead of a table.")


def main() -> int:
    """Estimates what the flags describe; 3 if an integer network breaks its budget."""
    command.quiet()
    board = device.named(_DEVICE.value)
    if _CLOCK.value is not None:
        board = dataclasses.replace(board, clock_mhz=_CLOCK.value)
    network = None
    if _INTEGERS.value is None:
        work, traces = _planned(), None
    else:
        network = _integers(_INTEGERS.value)
        work = workload.from_integers(network)
        traces = _distances(network) if _ACTIVITY.value else None
    whole = work
    if _LARGEST.value:
        work = work.largest()
    anchor = None
    if _ANCHOR.value is not None:
        anchor = estimate.Anchor(estimate.as_lightnn1(work), _ANCHOR.value)
    costs = estimate.estimate(
        work, board, _STYLE.value, anchor=anchor, multiplier=_MULTIPLIER.value
    )
    if _JSON.value:
        print(json.dumps(report.estimate_json(costs, work, traces), indent=1, allow_nan=False))
    else:
        print(report.estimate_text(costs, work, board, traces))
    if network is None:
        return 0
    return bounds.of_integers(whole, network.provenance, sys.stderr if _JSON.value else None)


def _planned() -> workload.Workload:
    """The network of --config, before it is trained."""
    if _ACTIVITY.value:
        raise ValueError("--activity counts what an integer network computes: give --integers")
    config, mean_k = options.config(), _MEAN_K.value
    if (mean_k, config.scheme, config.mode) == (None, "flightnn", "budget"):
        if isinstance(config.budget, str):
            raise ValueError(
                f"budget={config.budget!r}: the k of a network with bounds in units of hardware "
                "is known when it is trained: give --mean_k, or --integers of the trained network"
            )
        mean_k = config.budget
    network = network_of(config, data_dir=options.DATA_DIR.value)
    return workload.from_network(network, config.scheme, mean_k=mean_k)


def _integers(path: str) -> integer.IntegerNetwork:
    """The network of --integers."""
    given = [*options.given(), *(["mean_k"] if _MEAN_K.present else [])]
    if given:
        raise ValueError(
            f"--integers and --{given[0]}: an integer network has its layers and its k already, so "
            "give one or the other"
        )
    return integer.load(path)


def _distances(network: integer.IntegerNetwork) -> dict[str, Distances]:
    """The bits that change while the golden images are computed."""
    if network.golden is None:
        raise ValueError(
            f"{network.name} has no golden images, whose activity is counted: make the file with "
            "launch.lower, which keeps some"
        )
    # With JAX, which a table alone does not need.
    from flightnn_jax.integer import switching

    changes = switching.collect(network, network.golden.images)
    return {name: Distances(*changed.distances()) for name, changed in changes.items()}


if __name__ == "__main__":
    command.run(main)
