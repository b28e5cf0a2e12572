"""Prints all Pareto-optimal designs for a network of the paper: its schemes, with their accuracy.

    python -m launch.designs --network=net1 --style=engine --max_accuracy_loss=1

A design is printed if none other is at least as fast and as small, has at most its latency, and
loses at most its accuracy. The losses are the paper's, FLightNNs have the k of its storage column.
"""

from flightnn_jax.hardware import device, report, search, workload
from flightnn_jax.networks import NAMES
from flightnn_jax.paper import tables

from . import command
from .command import flags

_NETWORK = flags.DEFINE_enum("network", "net1", NAMES, "Network of the paper.")
_DEVICE = flags.DEFINE_string("device", "XC7Z045", "An FPGA's name, or a .json file of one.")
_STYLE = flags.DEFINE_enum("style", "engine", search.STYLES, "How weights are computed with.")
_LOSS = flags.DEFINE_float("max_accuracy_loss", None, "Percentage points below full precision.")
_SPEED = flags.DEFINE_float("min_images_per_s", 0.0, "Slower designs are left out.")


def main() -> None:
    """Prints a row for each design."""
    candidates = []
    for row in tables.results():
        if f"net{row.network}" == _NETWORK.value:
            mean_k = round(tables.mean_k(row), 2) if row.scheme == "flightnn" else None
            work = workload.from_network(_NETWORK.value, row.scheme, mean_k=mean_k)
            candidates.append((work, round(tables.accuracy_loss(row), 2)))
    choices = search.compare(
        candidates,
        device.named(_DEVICE.value),
        _STYLE.value,
        max_accuracy_loss=_LOSS.value,
        min_images_per_s=_SPEED.value,
    )
    print(report.designs_text(choices))


if __name__ == "__main__":
    command.run(main)
