"""What a layer whose weights are wires takes: its graph of adders, and what stands around it.

Windows, results and buffers are those of `fl_wired_LAYER`. NumPy alone.
"""

from typing import NamedTuple

from flightnn_jax.fpga import Resources, Shapes
from flightnn_jax.integer.limits import Shape
from flightnn_jax.rtl import graph
from flightnn_jax.rtl.architecture import Wired
from flightnn_jax.rtl.graph import Cost
from flightnn_jax.rtl.parts import CONSTANTS, Constants, Parameters, left, total, width_of
from flightnn_jax.rtl.verilog import Instance, is_block


class Around(NamedTuple):
    """A layer around its adders.

    Attributes:
      map: (height, width, channels) of its input.
      size: height and width of its window.
      stride: of its steps.
      filters: sums of a window.
      bits: of a sum.
      values: sums of a beat.
      latency: enabled cycles from a window to its sums.
      pixel: bits of a pixel in the windows.
    """

    map: Shape
    size: int
    stride: int
    filters: int
    bits: int
    values: int
    latency: int
    pixel: int

    @property
    def beats(self) -> int:
        """In which a window's sums leave."""
        return -(-self.filters // self.values)

    @property
    def lag(self) -> int:
        """As `Wired.lag`."""
        return self.size // 2 * (self.map[1] + 1)


def of(stage: Wired, constants: Constants = CONSTANTS) -> Resources:
    """What a stage takes."""
    output = stage.output
    around = Around(
        map=stage.source.shape,
        size=stage.size,
        stride=stage.stride,
        filters=output.shape[2],
        bits=output.bits,
        values=output.values,
        latency=graph.schedule(stage.graph, stage.every).latency,
        pixel=stage.pixel_bits,
    )
    return layer(around, graph.cost(stage.graph, stage.every), constants)


def layer(
    around: Around,
    adders: Cost,
    constants: Constants = CONSTANTS,
    shapes: Shapes | None = None,
) -> Resources:
    """Two buffers, fl_windows, the adders as they are counted, and fl_results."""
    height, width, _ = around.map
    size, stride, pixel = around.size, around.stride, around.pixel
    sums, out = around.filters * around.bits, around.values * around.bits
    p = Parameters(Instance("fl_wired", {}, {}), constants, shapes)
    offsets = width_of(width + size) + width_of(height + size) + 2
    counters = [width_of(height * width + around.lag + 1), offsets, 3]
    counters.append(2 * width_of(stride) * (stride > 1))
    counters.append((2 * size + 2 * width_of(width) * (width > 1)) * (size > 1))
    parts = [
        p.states(sum(counters) + around.latency),
        Resources(lut=pixel * (size**2 - 1), ff=pixel * (size**2 + 1)),
        Resources(lut=adders.lut + adders.srl, ff=adders.ff),
        Resources(lut=sums - out if around.beats > 1 else 0, ff=sums),
        p.states(left(around.beats)),
        p.buffer(pixel),
        p.buffer(out),
    ]
    if size > 1 and width > 1:
        kept = (size - 1) * pixel
        parts.append(p.memory(kept, width, int(is_block(width, kept))))
    return total(parts)
