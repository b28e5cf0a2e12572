"""Prints all Pareto-optimal designs for a network of the paper: its schemes, with their accuracy.

    python -m launch.designs --network=net1 --style=engine --max_accuracy_loss=1
    python -m launch.designs --network=net1 --merits=images_per_s,energy_nj,accuracy_loss

A design is printed unless another is at least as good in all merits and better in one. The losses
are the paper's, FLightNNs have the k of its storage column.
"""

from flightnn_jax.hardware import device, report, search
from flightnn_jax.networks import NAMES
from flightnn_jax.paper import tables

from . import command
from .command import flags

_NETWORK = flags.DEFINE_enum("network", "net1", NAMES, "Network of the paper.")
_DEVICE = flags.DEFINE_string("device", "XC7Z045", "An FPGA's name, or a .json file of one.")
_STYLE = flags.DEFINE_enum("style", "engine", search.STYLES, "Style of the design.")
_LOSS = flags.DEFINE_float("max_accuracy_loss", None, "Percentage points below full precision.")
_SPEED = flags.DEFINE_float("min_images_per_s", 0.0, "Slower designs are left out.")
_MERITS = flags.DEFINE_list(
    "merits", list(search.ALL_MERITS), f"By what designs are compared: {', '.join(search.SIGNS)}."
)


def main() -> None:
    """Prints a row for each design."""
    choices = search.compare(
        tables.candidates(_NETWORK.value),
        device.named(_DEVICE.value),
        _STYLE.value,
        max_accuracy_loss=_LOSS.value,
        min_images_per_s=_SPEED.value,
        merits=_MERITS.value,
    )
    if not choices:
        raise ValueError(f"min_images_per_s={_SPEED.value:g}: no design is as fast, choose less")
    print(report.designs_text(choices))


if __name__ == "__main__":
    command.run(main)
