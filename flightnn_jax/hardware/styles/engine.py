"""A pipelined layer engine: weights in block RAM, one multiply-accumulate a cycle and unit.

Every layer has an engine of its own and they work as a pipeline, each on another batch. An engine
computes `lanes` filters at once on each image of the batch; `folding` is how many rounds its
filters take. The formulas are built of the parts that were synthesized (units.py) and what remains
of nine synthesized engines (hardware.md): constants below.

Not modelled: pools, batch norm, requantization, shortcut sums and their buffers, routing.
"""

import math
from typing import NamedTuple

from flightnn_jax.hardware import synthesized
from flightnn_jax.hardware.device import Device
from flightnn_jax.hardware.workload import Layer

CONTROL_LUT = 55
"""Counters and addresses: what 57 LUTs of the DSP engine and 954 - 16 x 56 leave."""
DEEP_LUT = 75
"""For a deep memory of weights: what the engine of 4 lanes leaves."""
TIME_SHARED_LUT = 21
"""A unit's share of taking two terms in turn: one engine. Its synthesis put a part of the weights
into LUTs, so this may be too much."""
CONTROL_FF = 60
UNIT_FF = 10.75
"""Flip-flops of an engine, and of a unit beyond the bare one, by the engines of 4 to 256 lanes."""
DSP_FF = 22.4
"""The same for a unit in a DSP: one engine."""
TIME_SHARED_FF = 5

LUT_ERROR = 1.10
"""LUTs are within 10 % of all synthesized engines (tests), before `synthesized.VENDOR`."""
FF_ERROR = 1.05
BRAM_ERROR = 1.05
CYCLE_ERROR = 1.03
"""One engine was run: 46,087 cycles where the formula gives 45,056."""

MULTIPLIERS = ("dsp", "lut")


class Engine(NamedTuple):
    """What an engine takes.

    Attributes:
      bram: blocks, of weights and of one input map for each image.
      dsp: multiplier blocks.
      ff: flip-flops.
      lut: the device's tables.
    """

    bram: int
    dsp: int
    ff: int
    lut: int


class Parts(NamedTuple):
    """An engine's parts: what images of a batch share, and what each of them needs."""

    shared: Engine
    each: Engine

    def of(self, batch: int) -> Engine:
        """The engine for a batch: shared + batch x each."""
        return Engine(*(s + batch * e for s, e in zip(*self, strict=True)))


def active_filters(layer: Layer) -> int:
    """Filters that are not pruned.

    Example:
      >>> from flightnn_jax.hardware.workload import from_network
      >>> active_filters(from_network("net1", "flightnn", mean_k=0.5).layers[0])
      8
    """
    return sum(k > 0 for k in layer.k)


def lanes(layer: Layer, folding: int) -> int:
    """The fewest filters at once that are through after `folding` rounds, pruned ones not built.

    Raises:
      ValueError: if `folding` is not between 1 and the number of filters.
    """
    if not 1 <= folding <= layer.filters:
        raise ValueError(
            f"{layer.name}: folding={folding} is outside 1 (all filters at once) to "
            f"{layer.filters} (one after the other)"
        )
    return min(math.ceil(layer.filters / folding), active_filters(layer))


def foldings(layer: Layer) -> list[int]:
    """Foldings that differ in hardware or time: the fewest rounds for each number of lanes.

    Example:
      >>> from flightnn_jax.hardware.workload import from_network
      >>> foldings(from_network("net1", "lightnn1").layers[0])
      [1, 2, 3, 4, 6, 8, 16]
    """
    rounds = sorted({math.ceil(layer.filters / n) for n in range(1, layer.filters + 1)})
    # Where filters are pruned, several may give the same lanes; one of them will do.
    return sorted({lanes(layer, r): r for r in reversed(rounds)}.values())


def passes(layer: Layer, folding: int) -> int:
    """Passes over all positions: filters sorted by k, each round as long as its largest k.

    Figure 3 of the paper makes k one-term filters of one; a filter with k = 1 costs a pass and one
    with k = 2 two, so L-1 and L-2 take `folding` and 2 x `folding`.

    Example:
      >>> from flightnn_jax.hardware.workload import from_network
      >>> layer = from_network("net1", "flightnn", mean_k=1.25).layers[0]
      >>> passes(layer, 4)  # four filters with k = 2 are one round of four
      5
    """
    at_once = lanes(layer, folding)
    if not at_once:
        return 0
    return sum(sorted(layer.k, reverse=True)[::at_once])


def cycles(layer: Layer, folding: int) -> int:
    """From one batch to the next: load the inputs, compute, hand on the outputs, a word a cycle.

    positions x taps x passes + inputs + outputs. The one engine that was run (256 -> 256 channels,
    4x4, 256 lanes) took 46,087 cycles, where this gives 36,864 + 4,096 + 4,096 = 45,056.
    """
    words = math.prod(layer.input_shape) + math.prod(layer.output_shape)
    return layer.positions * layer.taps * passes(layer, folding) + words


def unit_name(layer: Layer, multiplier: str) -> str:
    """Which measured unit computes the layer.

    Raises:
      ValueError: if `multiplier` is unknown.
    """
    if multiplier not in MULTIPLIERS:
        raise ValueError(f"multiplier={multiplier!r}: choose one of {', '.join(MULTIPLIERS)}")
    if layer.format == "shift":
        return "shift"
    if layer.format == "full":
        return "float32" if multiplier == "dsp" else "float32 in LUTs"
    return "4x8 in a DSP" if multiplier == "dsp" else "4x8 in LUTs"


def parts(
    layer: Layer,
    folding: int,
    device: Device,
    *,
    multiplier: str = "dsp",
    version: str = "0.23",
    hierarchical: bool = False,
) -> Parts:
    """What an engine takes, within 10 % (LUT), 5 % (FF, BRAM) and exactly (DSP) where measured.

        LUT  = batch lanes (unit + 21 [k > 1]) + 55 + [deep] (75 + (depth - 1) width)
        FF   = batch lanes (unit + 10.75) + 60 + 5 [k > 1]
        BRAM = blocks(weights: width = bits lanes, words = taps passes)
             + batch blocks(one input map with its border)

    `depth` is words over those of the widest block (512 of 36 bits), and a memory is deep above
    two of them: choosing between blocks takes a table for each bit and further block, or half of
    one in hierarchical synthesis. Whether the synthesized engines stored the border of zeros was
    not recorded: with it all BRAM rows are met within 5 %, without it within 11 %.

    Args:
      layer: what it computes.
      folding: rounds.
      device: which memories and tables there are.
      multiplier: "dsp" or "lut", for weights that are no shifts.
      version: of Yosys, for the units.
      hierarchical: whether units are synthesized once, as modules, or flattened.

    Example:
      >>> from flightnn_jax.hardware.device import find
      >>> from flightnn_jax.hardware.workload import from_network
      >>> layer = from_network("net1", "lightnn1").layers[5]  # 64 -> 64 channels, 8x8
      >>> parts(layer, 1, find("XC7Z045")).of(1)
      Engine(bram=19, dsp=0, ff=3180, lut=3703)
    """
    at_once = lanes(layer, folding)
    shared_time = max(layer.k) > 1
    name = unit_name(layer, multiplier)
    unit = synthesized.unit(name, layer.accumulator_bits, version)
    width, words = layer.bits * at_once, layer.taps * passes(layer, folding)
    control = float(CONTROL_LUT)
    widest = min(depth for depth, _ in device.block_shapes)
    if words > 2 * widest:
        select = (math.ceil(words / widest) - 1) * width
        control += DEEP_LUT + select * (0.5 if hierarchical else 1.0)
    in_dsp = unit.dsp > 0 and layer.format != "full"
    border = 2 * (layer.kernel_shape[0] // 2) if len(layer.kernel_shape) == 4 else 0
    *image, channels = layer.input_shape
    pixels = math.prod(side + border for side in image) * channels
    shared = Engine(
        bram=device.blocks(width, words),
        dsp=0,
        ff=CONTROL_FF + TIME_SHARED_FF * shared_time,
        lut=math.ceil(control * device.lut_factor),
    )
    lane_lut = unit.lut + TIME_SHARED_LUT * shared_time
    each = Engine(
        bram=device.blocks(layer.activation_bits, pixels),
        dsp=at_once * unit.dsp,
        ff=math.ceil(at_once * (unit.ff + (DSP_FF if in_dsp else UNIT_FF))),
        lut=math.ceil(at_once * lane_lut * device.lut_factor),
    )
    return Parts(shared, each)
