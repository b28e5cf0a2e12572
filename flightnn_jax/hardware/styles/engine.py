"""A pipelined layer engine, as `rtl` generates it: weights in a memory, one term a cycle and lane.

Every layer has an engine of its own and they work as a pipeline, each on another batch. An engine
computes `lanes` filters at once on each image of the batch; `folding` is how many rounds its
filters take. Cycles are those of the generated Verilog's schedule, and what an engine takes is what
`rtl.resources` says of its two modules: fl_conv or fl_group_conv with one activation and one term a
cycle, and fl_requantize with what a layer has in most networks (`generated.AFFINE`).

Engines of a batch share the memory of weights; the generator writes machines for a batch of one.
Nor does it write float units, which are sums of measured parts (synthesized.py). Not modelled:
pools, shortcut sums and their queues, routing.
"""

import dataclasses
import functools
import math
from typing import NamedTuple

import numpy as np

from flightnn_jax.fpga import Resources
from flightnn_jax.hardware import synthesized
from flightnn_jax.hardware.device import Device
from flightnn_jax.hardware.pipeline import Pipeline, Stages
from flightnn_jax.hardware.records import Choice, Design, Estimate, LayerCost, Number
from flightnn_jax.hardware.styles import base, generated
from flightnn_jax.hardware.styles.base import Figure, Options
from flightnn_jax.hardware.workload import LayerWork, Workload
from flightnn_jax.rtl import parts as rtl_parts
from flightnn_jax.rtl import resources as rtl_resources
from flightnn_jax.rtl.verilog import CODE_BITS, Instance, is_block

OPTIONS: tuple[str, ...] = ("multiplier",)

CONTROL_LUT = 55
CONTROL_FF = 60
"""Of an engine of float units, and for each of these `UNIT_FF` or, in DSPs, `DSP_FF`."""
UNIT_FF = 10.75
DSP_FF = 22.4

MULTIPLIERS = ("dsp", "lut")


class Parts(NamedTuple):
    """An engine's two parts: one that the images of a batch share, and one for each image."""

    shared: Resources
    each: Resources

    def of(self, batch: int) -> Resources:
        """The engine for a batch: shared + batch x each."""
        bram, dsp, ff, lut = (s + batch * e for s, e in zip(*self, strict=True))
        return Resources(int(bram), int(dsp), int(ff), lut)


def lanes(layer: LayerWork, folding: int) -> int:
    """Lanes that compute all filters in `folding` rounds: the least, without those of pruned ones.

    A round is of one group, or of as many as it has lanes where each filter is one: lanes then
    divide the filters of a group.

    Raises:
      ValueError: if `folding` is not between the fewest rounds and the number of filters.
    """
    fewest = layer.filters // layer.at_most
    if not fewest <= folding <= layer.filters:
        raise ValueError(
            f"{layer.name}: folding={folding} is outside {fewest} (all filters"
            f"{'' if fewest == 1 else ' of a group'} at once) to "
            f"{layer.filters} (one after the other)"
        )
    wanted = min(math.ceil(layer.filters / folding), layer.active_filters)
    if layer.at_most == layer.filters:
        return wanted
    whole = [n for n in range(1, layer.at_most + 1) if layer.at_most % n == 0]
    return next((n for n in whole if n >= wanted), layer.at_most) if wanted else 0


def foldings(layer: LayerWork) -> list[int]:
    """Foldings that differ in hardware or time: the fewest rounds for each number of lanes.

    Example:
      >>> from flightnn_jax.hardware.workload import from_network
      >>> foldings(from_network("net1", "lightnn1").layers[0])
      [1, 2, 3, 4, 6, 8, 16]
    """
    rounds = sorted({math.ceil(layer.filters / n) for n in range(1, layer.at_most + 1)})
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
    return int(_turns(layer, at_once).sum()) if at_once else 0


def cycles(layer: LayerWork, folding: int) -> int:
    """From one batch to the next, by the schedule of the generated Verilog.

    A window takes all passes over the filters, each as many cycles as it has steps, one at least,
    or as many as sums that leave, whichever are more; and a value a cycle comes in and goes out.

    Example:
      >>> from flightnn_jax.hardware.workload import from_network
      >>> layer = from_network("net1", "lightnn1").layers[5]  # 64 -> 64 channels, 8x8
      >>> cycles(layer, 4)  # 64 windows, 4 passes, 576 taps
      147456
    """
    at_once = max(lanes(layer, folding), 1)  # a pruned layer still gives zeros
    words = max(math.prod(layer.input_shape), math.prod(layer.output_shape))
    turns = _turns(layer, at_once)
    steps = np.maximum(turns * layer.taps, 1)
    results = np.minimum(layer.filters - at_once * np.arange(len(turns)), at_once)
    return max(layer.positions * int(np.maximum(steps, results).sum()), words)


def _turns(layer: LayerWork, at_once: int) -> np.ndarray:
    """[passes] sweeps over a window: for each pass those of its largest k.

    Filters are sorted by k, but in groups, which stay in their order.
    """
    if layer.at_most == layer.filters:
        return np.array(sorted(layer.k, reverse=True)[::at_once], np.int64)
    return np.array(layer.k, np.int64).reshape(-1, at_once).max(axis=1)


def unit_name(layer: LayerWork, multiplier: str) -> str:
    """Which measured unit computes the layer; "tables" where a generated one alone does.

    Raises:
      ValueError: if `multiplier` is unknown, or no engine computes with such weights.
    """
    if multiplier not in MULTIPLIERS:
        raise ValueError(f"multiplier={multiplier!r}: choose one of {', '.join(MULTIPLIERS)}")
    if layer.arithmetic.numbered:
        return "tables"
    if multiplier not in layer.arithmetic.units:
        raise ValueError(
            f"{layer.name}: no engine for weights of the format {layer.format!r} was generated or "
            "measured: choose the style hardwired"
        )
    return layer.arithmetic.units[multiplier]


def parts(
    layer: LayerWork,
    folding: int,
    device: Device,
    *,
    multiplier: str = "dsp",
    version: str = "0.23",
) -> Parts:
    """What an engine takes: by `rtl.resources`, but for floats.

    Args:
      layer: what it computes.
      folding: rounds.
      device: which memories and tables there are.
      multiplier: "dsp" or "lut", for weights that are no shifts.
      version: of Yosys, for units of floats.

    Example:
      >>> from flightnn_jax.hardware.device import named
      >>> from flightnn_jax.hardware.workload import from_network
      >>> layer = from_network("net1", "lightnn1").layers[5]  # 64 -> 64 channels, 8x8
      >>> parts(layer, 4, named("XC7Z045")).of(1)
      Resources(bram=11, dsp=1, ff=1409, lut=1951)
    """
    name = unit_name(layer, multiplier)
    at_once = max(lanes(layer, folding), 1)
    if layer.arithmetic.floats:
        return _of_floats(layer, at_once, device, name, version)
    return _generated(layer, at_once, device, multiplier == "dsp")


@functools.lru_cache(maxsize=1 << 14)
def _generated(layer: LayerWork, at_once: int, device: Device, in_dsp: bool) -> Parts:
    """By `rtl.resources`; a search asks for the same again and again."""
    made = engine(layer, at_once, in_dsp)
    shapes = device.block_shapes
    shared = rtl_resources.codes(rtl_parts.Parameters(made, shapes=shapes))
    whole = rtl_resources.of_instance(made, shapes=shapes)
    behind = rtl_resources.of_instance(
        generated.requantize(layer, layer.accumulator_bits), shapes=shapes
    )
    each = Resources(
        lut=whole.lut - shared.lut + behind.lut,
        ff=whole.ff - shared.ff + behind.ff,
        bram=whole.bram - shared.bram + behind.bram,
        dsp=whole.dsp + behind.dsp,
    )
    return Parts(generated.on(device, shared), generated.on(device, each))


def engine(layer: LayerWork, at_once: int, in_dsp: bool) -> Instance:
    """fl_conv or fl_group_conv with so many lanes, without the files of its tables."""
    turns = _turns(layer, at_once)
    steps = int(np.maximum(turns * layer.taps, 1).sum())
    size = layer.size
    height, width, channels = generated.three(layer.input_shape)
    rest = layer.filters - at_once * (len(turns) - 1)
    own = layer.groups > 1 and layer.at_most == layer.filters
    bits = 1 if layer.arithmetic.bits == 1 else CODE_BITS
    counted = bits == 1 and layer.signs and layer.groups == 1
    kept = 2 if counted else 8
    looked_up = layer.lookup if layer.arithmetic.numbered else None
    if looked_up:
        bits = looked_up.code
        kept = looked_up.kept if layer.groups == 1 else 8
    parameters = {
        "VALUES": 1,
        "WORDS": -(-channels // at_once) if own else channels,
        "HEIGHT": height,
        "WIDTH": width,
        "SIZE": size,
        "STRIDE": layer.stride,
        "OUT_HEIGHT": generated.three(layer.output_shape)[0],
        "OUT_WIDTH": generated.three(layer.output_shape)[1],
        "ROWS": size + layer.stride,
        "TURNS": int(np.maximum(turns, 1).sum()),
        "STEPS": steps,
        "ROWS_BLOCK": int(is_block((size + layer.stride) * width * channels, kept)),
        "LANES": at_once,
        "TERMS": 1,
        "INTEGER": int(not layer.arithmetic.terms),
        "DSP": int(in_dsp),
        **({"CODE": bits} if bits != CODE_BITS else {}),
        **(looked_up.parameters if looked_up else {}),
        **({"SIGNS": 1} if counted else {}),
        "LEVELS": (looked_up.parts - 1).bit_length() if looked_up else 0,
        "SUM": layer.accumulator_bits,
        "PASSES": len(turns),
        "OUT": 1,
        "BEATS": at_once,
        "REST": rest,
        "CODES_BLOCK": int(is_block(steps, bits * at_once)),
    }
    if layer.groups == 1:
        return Instance("fl_conv", dict(parameters), {})
    part = {"OWN": int(own), "PART": 1 if own else layer.kernel_shape[-2], "PADDING": size // 2}
    return Instance("fl_group_conv", {**parameters, **part}, {})


def _of_floats(layer: LayerWork, at_once: int, device: Device, name: str, version: str) -> Parts:
    """Measured units, and memories of weights and of an input map with its border of zeros."""
    unit = synthesized.unit(name, layer.accumulator_bits, version)
    in_dsp = unit.dsp > 0 and not unit.lut
    words = layer.taps * len(_turns(layer, at_once))
    shared = Resources(
        bram=device.blocks(layer.bits * at_once, words),
        dsp=0,
        ff=CONTROL_FF,
        lut=math.ceil(CONTROL_LUT * device.lut_factor),
    )
    each = Resources(
        bram=device.blocks(layer.arithmetic.activation_bits, _map_words(layer)),
        dsp=at_once * unit.dsp,
        ff=math.ceil(at_once * (unit.ff + (DSP_FF if in_dsp else UNIT_FF))),
        lut=math.ceil(at_once * unit.lut * device.lut_factor),
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
    costs = []
    for layer, rounds in pairs:
        needed = parts(layer, rounds, device, multiplier=options.multiplier).of(design.batch)
        costs.append(_cost(layer, needed, cycles(layer, rounds), device, design.batch))
    latency = base.slowest(costs).times(1e-3 / device.clock_mhz).times(len(costs))
    at_once = design.batch * sum(lanes(layer, rounds) for layer, rounds in pairs)
    built = Design(at_once, design.batch, design.folding)
    notes = base.NOT_MODELLED if any(x.arithmetic.floats for x, _ in pairs) else generated.NOTES
    return base.pipelined(workload, device, "engine", built, costs, latency_ms=latency, notes=notes)


def _cost(layer: LayerWork, needed: Resources, time: int, device: Device, batch: int) -> LayerCost:
    """A layer's costs and errors: those of engines that the constants of `rtl` never saw."""
    generated = not layer.arithmetic.floats and batch == 1
    measured = device.lut_factor == 1 and generated
    kind = rtl_resources.ENGINE if layer.arithmetic.terms else rtl_resources.INTEGER_ENGINE
    if layer.arithmetic.bits == 1:
        kind = rtl_resources.SIGN_ENGINE
    if layer.arithmetic.numbered:
        kind = rtl_resources.LEVEL_ENGINE
    if layer.groups > 1:
        kind = rtl_resources.GROUPS
    errors = rtl_resources.ERRORS[kind]
    factors = {
        "BRAM": errors.bram if generated else None,
        "DSP": errors.dsp if generated else None,
        "FF": errors.ff if measured else None,
        "LUT": errors.lut * synthesized.VENDOR if measured else None,
    }
    of_time = Number(time, 1.0 if generated else None, "the generated Verilog's schedule")
    origin = "formulas of the generated Verilog (Yosys 0.23)" if generated else "not generated"
    return base.layer_cost(layer, of_time, base.named(needed, factors, origin))


def figures(workload: Workload, device: Device) -> tuple[Figure, ...]:
    """Throughput and tables of the fastest engine; no two engines were compared.

    None for weights that no engine computes with.
    """
    if not all(x.arithmetic.units or x.arithmetic.numbered for x in workload.layers):
        nothing = Figure("engine images/s", None, "as an engine")
        return (nothing, Figure("engine LUT", None))
    costs = estimate(workload, device, None, Options())
    speed = costs.images_per_s
    throughput = Figure("engine images/s", speed, "as an engine", 1 / speed.value)
    return (throughput, Figure("engine LUT", costs.resources["LUT"]))
