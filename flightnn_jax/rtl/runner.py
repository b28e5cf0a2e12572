"""A network's Verilog in a simulator, as a function from images to every layer's output."""

import shutil
import tempfile
import weakref
from collections.abc import Callable

import numpy as np

from flightnn_jax.integer import shapes
from flightnn_jax.integer.network import IntegerNetwork
from flightnn_jax.rtl import folding, generate, simulate

_SLOWER = 8  # than with everything at once: what is simulated has fewer lanes then


def make_runner(
    network: IntegerNetwork, tool: str
) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """Generates, builds once, and simulates each batch.

    Args:
      network: a valid one.
      tool: 'verilator' or 'icarus'.

    Returns:
      From images, [batch, *input_shape] uint8, to each layer's output by its name.

    Raises:
      SimulationError: if the simulator cannot run; the function, if it fails or nothing moves.
    """
    folds = folding.cheapest(network, _SLOWER * folding.fastest(network))
    machine = generate.machine_of(network, folds)
    outputs = shapes.outputs(network)
    folder = tempfile.mkdtemp(prefix="flightnn_rtl_")

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        found = simulate.run(folder, machine, images, tool).outputs
        return {
            name: values.reshape(len(images), *outputs[name].shape)
            for name, values in found.items()
        }

    weakref.finalize(run, shutil.rmtree, folder, ignore_errors=True)
    generate.write(network, machine, folder)
    simulate.build(folder, tool)
    return run
