"""Prints a network's largest layer in the schemes and all styles, and where shifts lose.

python -m launch.schemes --network=net1 --mean_k=1.3 --device=XC7Z045
"""

from flightnn_jax.hardware import comparison, device, report
from flightnn_jax.networks import NAMES

from . import command
from .command import flags

_NETWORK = flags.DEFINE_enum("network", "net1", NAMES, "Network of the paper.")
_DEVICE = flags.DEFINE_string("device", "XC7Z045", "An FPGA's name, or a .json file of one.")
_MEAN_K = flags.DEFINE_float("mean_k", 1.3, "Mean k of the FLightNN, 0 to 2.")


def main() -> None:
    """Prints the comparison."""
    rows = comparison.rows(_NETWORK.value, _MEAN_K.value, device.named(_DEVICE.value))
    print(report.comparison_text(rows))


if __name__ == "__main__":
    command.run(main)
