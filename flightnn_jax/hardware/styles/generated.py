"""What the styles that `rtl` generates have in common: the map behind the sums, notes, and tables.

What a layer's affine map takes is assumed (`AFFINE`), for a plan has no multipliers and biases.
"""

import math

from flightnn_jax.fpga import Resources
from flightnn_jax.hardware.device import Device
from flightnn_jax.hardware.workload import LayerWork
from flightnn_jax.rtl import resources as rtl_resources
from flightnn_jax.rtl.verilog import Instance

AFFINE = {
    "CLIP": 0,
    "FACTOR": 1,
    "BITS": 14,
    "TERMS": 1,
    "BIAS": 1,
    "ACTIVATE": 1,
    "LEAST": 18,
    "MORE": 0,
    "SLOPE": 3,
}
"""Of fl_requantize, where a network's multipliers and biases are not known."""

ERRORS = rtl_resources.ERRORS
"""By the kind of a generated stage: factors of nine of ten that no constant saw."""

NOTES = (
    "pools, shortcut sums and their queues are not included in any number; what multiplies sums "
    "and makes activations of them is assumed",
)


def requantize(layer: LayerWork, bits: int, values: int = 1) -> Instance:
    """fl_requantize behind a layer whose sums have so many bits, so many values at once."""
    beats = -(-layer.filters // values)
    sizes = {"VALUES": values, "BEATS": beats, "IN": bits, "CLIPPED": bits, "V": bits + 10}
    return Instance("fl_requantize", {**AFFINE, **sizes}, {})


def three(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """(height, width, channels); a vector is one pixel."""
    height, width, channels = shape if len(shape) == 3 else (1, 1, math.prod(shape))
    return height, width, channels


def on(device: Device, found: Resources) -> Resources:
    """The same in whole tables of the device."""
    return found._replace(lut=math.ceil(found.lut * device.lut_factor))
