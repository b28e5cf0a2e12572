"""A pipelined layer engine: weights in block RAM, one multiply-accumulate a cycle and unit.

Every layer has an engine of its own and they work as a pipeline, each on another batch. An engine
computes `lanes` filters at once on each image of the batch; `folding` is how many rounds its
filters take. The formulas are built of the parts that were synthesized (synthesized.py) and what
remains of nine synthesized engines: constants below (docs/measurements/synthesis.md, which also
says where they are known to be wrong).

Not modelled: pools, batch norm, requantization, shortcut sums and their buffers, routing.
"""

import dataclasses
import math
from typing import NamedTuple

import numpy as np

from flightnn_jax.hardware import synthesized
from flightnn_jax.hardware.device import Device, Resources
from flightnn_jax.hardware.pipeline import Pipeline, Stages
from flightnn_jax.hardware.records import Choice, Design, Estimate, LayerCost, Number
from flightnn_jax.hardware.styles import base
from flightnn_jax.hardware.styles.base import Figure, Options
from flightnn_jax.hardware.workload import LayerWork, Workload

OPTIONS: tuple[str, ...] = ("multiplier",)

CONTROL_LUT = 55
"""Counters and addresses: 57 in the DSP engine, 954 - 16 x 56 in that of 16 lanes."""
DEEP_LUT = 75
"""For a deep memory of weights: the rest of the engine with 4 lanes."""
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


class Parts(NamedTuple):
    """An engine's two parts: one that the images of a batch share, and one for each image."""

    shared: Resources
    each: Resources

    def of(self, batch: int) -> Resources:
        """The engine for a batch: shared + batch x each."""
        return Resources(*(s + batch * e for s, e in zip(*self, strict=True)))


def lanes(layer: LayerWork, folding: int) -> int:
    """Lanes that compute all filters in `folding` rounds: the least, without those of pruned ones.

    Raises:
      ValueError: if `folding` is not between 1 and the number of filters.
    """
    if not 1 <= folding <= layer.filters:
        raise ValueError(
            f"{layer.name}: folding={folding} is outside 1 (all filters at once) to "
            f"{layer.filters} (one after the other)"
        )
    return min(math.ceil(layer.filters / folding), layer.active_filters)


def foldings(layer: LayerWork) -> list[int]:
    """Foldings that differ in hardware or time: the fewest rounds for each number of lanes.

    Example:
      >>> from flightnn_jax.hardware.workload import from_network
      >>> foldings(from_network("net1", "lightnn1").layers[0])
      [1, 2, 3, 4, 6, 8, 16]
    """
    rounds = sorted({math.ceil(layer.filters / n) for n in range(1, layer.filters + 1)})
    # Where filters are pruned, several may give the same lanes; one of them will do.
    return sorted({lanes(layer, r): r for r in reversed(rounds)}.values())


def passes(layer: LayerWork, folding: int) -> int:
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
    return sum(sorted(layer.k, reverse=True)[::at_once]) if at_once else 0


def cycles(layer: LayerWork, folding: int) -> int:
    """From one batch to the next: load the inputs, compute, hand on the outputs, a word a cycle.

    positions x taps x passes + inputs + outputs. The one engine that was run (256 -> 256 channels,
    4x4, 256 lanes) took 46,087 cycles, where this gives 36,864 + 4,096 + 4,096 = 45,056.
    """
    words = math.prod(layer.input_shape) + math.prod(layer.output_shape)
    return layer.positions * layer.taps * passes(layer, folding) + words


def unit_name(layer: LayerWork, multiplier: str) -> str:
    """Which measured unit computes the layer.

    Raises:
      ValueError: if `multiplier` is unknown.
    """
    if multiplier not in MULTIPLIERS:
        raise ValueError(f"multiplier={multiplier!r}: choose one of {', '.join(MULTIPLIERS)}")
    return layer.arithmetic.units[multiplier]


def parts(
    layer: LayerWork,
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
      >>> from flightnn_jax.hardware.device import named
      >>> from flightnn_jax.hardware.workload import from_network
      >>> layer = from_network("net1", "lightnn1").layers[5]  # 64 -> 64 channels, 8x8
      >>> parts(layer, 1, named("XC7Z045")).of(1)
      Resources(bram=19, dsp=0, ff=3180, lut=3703)
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
    in_dsp = unit.dsp > 0 and not unit.lut  # the sum too; that of floats is outside
    shared = Resources(
        bram=device.blocks(width, words),
        dsp=0,
        ff=CONTROL_FF + TIME_SHARED_FF * shared_time,
        lut=math.ceil(control * device.lut_factor),
    )
    lane_lut = unit.lut + TIME_SHARED_LUT * shared_time
    each = Resources(
        bram=device.blocks(layer.arithmetic.activation_bits, _map_words(layer)),
        dsp=at_once * unit.dsp,
        ff=math.ceil(at_once * (unit.ff + (DSP_FF if in_dsp else UNIT_FF))),
        lut=math.ceil(at_once * lane_lut * device.lut_factor),
    )
    return Parts(shared, each)


def _map_words(layer: LayerWork) -> int:
    """Values of an input map with its border of zeros."""
    border = 2 * (layer.kernel_shape[0] // 2) if len(layer.kernel_shape) == 4 else 0
    *image, channels = layer.input_shape
    return math.prod(side + border for side in image) * channels


def stages(layer: LayerWork, device: Device, multiplier: str) -> Stages:
    """All engines that differ in hardware or time, the fastest first."""
    rounds = foldings(layer)
    time = np.array([cycles(layer, r) for r in rounds])
    order = np.argsort(time, kind="stable")
    costs = [parts(layer, r, device, multiplier=multiplier) for r in rounds]
    return Stages(
        folding=np.array(rounds)[order],
        cycles=time[order],
        lanes=np.array([lanes(layer, r) for r in rounds])[order],
        shared=np.array([c.shared for c in costs])[order],
        each=np.array([c.each for c in costs])[order],
    )


def pipeline(workload: Workload, device: Device, multiplier: str) -> Pipeline:
    """The engines of all layers, for the search."""
    known: dict[LayerWork, Stages] = {}  # residual networks repeat their layers
    layers = []
    for layer in workload.layers:
        key = dataclasses.replace(layer, name="")
        if key not in known:
            known[key] = stages(layer, device, multiplier)
        layers.append(known[key])
    return Pipeline(workload, device, "engine", layers)


def designs(workload: Workload, device: Device, options: Options) -> list[Choice]:
    """The least engines of each speed and batch, exactly."""
    return pipeline(workload, device, options.multiplier).all()


def largest(workload: Workload, device: Device, options: Options) -> Design:
    """The engines with the most images a second, and of these the ones that take the least."""
    return pipeline(workload, device, options.multiplier).fastest()


def estimate(
    workload: Workload, device: Device, design: Design | None, options: Options
) -> Estimate:
    """The costs of engines with a given batch and foldings."""
    design = design or largest(workload, device, options)
    if len(design.folding) != len(workload.layers) or design.batch < 1:
        raise ValueError(
            f"batch={design.batch} and {len(design.folding)} foldings for "
            f"{len(workload.layers)} layers: give a batch of at least 1 and a folding for each"
        )
    pairs = list(zip(workload.layers, design.folding, strict=True))
    alone = len(pairs) == 1
    costs = []
    for layer, rounds in pairs:
        needed = parts(layer, rounds, device, multiplier=options.multiplier).of(design.batch)
        costs.append(_cost(layer, needed, cycles(layer, rounds), device, alone))
    latency = base.slowest(costs).times(1e-3 / device.clock_mhz).times(len(costs))
    at_once = design.batch * sum(lanes(layer, rounds) for layer, rounds in pairs)
    built = Design(at_once, design.batch, design.folding)
    return base.pipelined(workload, device, "engine", built, costs, latency_ms=latency)


def _cost(layer: LayerWork, needed: Resources, time: int, device: Device, alone: bool) -> LayerCost:
    """A layer's costs and errors; float units need more stages, and no pipeline was run."""
    quantized = not layer.arithmetic.floats
    measured = device.lut_factor == 1 and quantized
    factors = {
        "BRAM": BRAM_ERROR,
        "DSP": 1.0 if quantized else None,
        "FF": FF_ERROR if measured else None,
        "LUT": LUT_ERROR * synthesized.VENDOR if measured else None,
    }
    known = CYCLE_ERROR if quantized and alone else None
    of_time = Number(time, known, "formula; one engine was run")
    taken = base.named(needed, factors, "sums of synthesized parts (Yosys 0.23)")
    return base.layer_cost(layer, of_time, taken)


def figures(workload: Workload, device: Device) -> tuple[Figure, ...]:
    """Throughput and tables of the fastest engine; no two engines were compared."""
    costs = estimate(workload, device, None, Options())
    speed = costs.images_per_s
    throughput = Figure("engine images/s", speed, "as an engine", 1 / speed.value)
    return (throughput, Figure("engine LUT", costs.resources["LUT"]))
