"""Hard-wired weights: every weight a few adders in a pipeline, one position of the window a cycle.

LUTs were measured with Yosys on fully pipelined layers of 576 and 2,304 weights (hardware.md).
Here a shift has no advantage over 4-bit fixed point, whose constants have few signed digits too:
L-1 takes 8.8 LUTs a weight, FP4 11.6 and L-2 16.2, and as an adder graph that shares sums L-1 takes
0.97 of FP4 and L-2 1.7 (`synthesized.wired_matrix`). Say so with every comparison.

Not modelled: pools, batch norm, requantization, shortcut sums.
"""

import math

from flightnn_jax.hardware.device import Device
from flightnn_jax.hardware.styles.engine import Engine
from flightnn_jax.hardware.workload import Layer

LUT_TERM = 7.4
"""For each term of a weight: 16.2 at k = 2 less 8.8 at k = 1. At a mean k of 1.5 this line gives
12.5 where 12.8 was measured."""
LUT_WEIGHT = 1.4
"""For each weight of a filter that is not pruned: 8.8 less one term."""
LUT_FP4 = 11.6
FF_LUT = 10.5 / 8.8
"""Flip-flops for a table, at k = 1: 10.1 to 10.9 a weight; taken to grow with the adders."""

LUT_ERROR = 1.10
"""Within 3 % of the four rows; the widths of sums, which the rows do not tell apart, may add."""


def luts(layer: Layer) -> float:
    """Tables of 6 inputs: taps x sum over filters of (1.4 [k > 0] + 7.4 k), or 11.6 a weight.

    Raises:
      ValueError: for floats, which nobody measured.

    Example:
      >>> from flightnn_jax.hardware.workload import from_network
      >>> round(luts(from_network("net4", "lightnn1").layers[1]))
      40550
    """
    if layer.format == "full":
        raise ValueError(
            f"{layer.name}: floats were not measured hard-wired; choose the style processing or "
            "engine, or a quantized scheme"
        )
    if layer.format == "fp4":
        return layer.taps * layer.filters * LUT_FP4
    return layer.taps * sum(LUT_WEIGHT * (k > 0) + LUT_TERM * k for k in layer.k)


def resources(layer: Layer, device: Device) -> Engine:
    """What a layer takes: `luts`, flip-flops in proportion, and blocks for the lines of the window.

    A window of h lines needs the last h - 1 of them, each as many words as the image is wide.
    """
    tables = luts(layer)
    lines = 0
    if len(layer.kernel_shape) == 4 and layer.kernel_shape[0] > 1:
        width, channels = layer.input_shape[1:]
        bits = (layer.kernel_shape[0] - 1) * channels * layer.activation_bits
        lines = device.blocks(bits, width)
    return Engine(
        bram=lines,
        dsp=0,
        ff=math.ceil(tables * FF_LUT),
        lut=math.ceil(tables * device.lut_factor),
    )


def cycles(layer: Layer) -> int:
    """A position a cycle, of the input or the output, whichever has more.

    Example:
      >>> from flightnn_jax.hardware.workload import from_network
      >>> cycles(from_network("net1", "lightnn1").layers[0])
      1024
    """
    return max(math.prod(layer.input_shape[:-1]), layer.positions)
