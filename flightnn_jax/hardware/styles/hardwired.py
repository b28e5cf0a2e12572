"""Hard-wired weights, as `rtl` generates them: adders in a pipeline, a window of the map a cycle.

A layer's adders are counted from their graph (`hardware.wires`); around them stand the windows, the
sums that wait to leave, and fl_requantize. As few sums leave at once as let the slowest layer's
windows come one a cycle, so the design is the fastest one and the smallest of these. Here a shift
has no advantage over 4-bit fixed point, whose constants have few signed digits too: L-1 takes 0.9
to 1.1 of FP4's tables, and L-2 1.6 to 1.9. Say so with every comparison.

Not modelled: pools, shortcut sums and their queues, and words that are made wider or narrower.
"""

import dataclasses

from flightnn_jax.fpga import Resources
from flightnn_jax.hardware import asic, synthesized, wires
from flightnn_jax.hardware.device import Device
from flightnn_jax.hardware.records import Choice, Design, Estimate, LayerCost, Number, total
from flightnn_jax.hardware.styles import base, generated
from flightnn_jax.hardware.styles.base import Figure, Options
from flightnn_jax.hardware.workload import LayerWork, Workload
from flightnn_jax.rtl import resources as rtl_resources
from flightnn_jax.rtl import wired_resources
from flightnn_jax.rtl.wired_resources import Around

OPTIONS: tuple[str, ...] = ()

PART_ERROR = 1.2
"""Of a layer of which only a part was counted, or normal weights in place of its own."""

RATIO_ERROR = 1.35
"""Of the tables of two schemes. Where the step of 4-bit fixed point falls, between two powers of
two, changes what it takes by up to 1.32x."""


def luts(layer: LayerWork) -> float:
    """Tables of 6 inputs that the adders of a layer take, shift registers included.

    Raises:
      ValueError: for floats.

    Example:
      >>> from flightnn_jax.hardware.workload import from_network
      >>> layers = [from_network("net4", scheme).layers[1] for scheme in ("lightnn1", "lightnn2")]
      >>> luts(layers[0]) < luts(layers[1])
      True
    """
    cost = wires.adders(layer).cost
    return cost.lut + cost.srl


def resources(layer: LayerWork, device: Device, values: int | None = None) -> Resources:
    """What a layer takes.

    Args:
      layer: what it computes.
      device: which memories and tables there are.
      values: sums that leave in a cycle; by default as few as keep up with its windows.
    """
    values = at_once(layer, _moves(layer)) if values is None else values
    counted, shapes = wires.adders(layer), device.block_shapes
    around = _around(layer, values)._replace(latency=counted.latency)
    if counted.signs:
        around = around._replace(pixel=around.map[2] + 1)
    parts = [wired_resources.layer(around, counted.cost, shapes=shapes)]
    behind = generated.requantize(layer, layer.accumulator_bits, values)
    parts.append(rtl_resources.of_instance(behind, shapes=shapes))
    found = (sum(column) for column in zip(*parts, strict=True))
    bram, dsp, ff, lut = found
    return generated.on(device, Resources(int(bram), int(dsp), int(ff), lut))


def _around(layer: LayerWork, values: int) -> Around:
    shape = generated.three(layer.input_shape)
    return Around(
        map=shape,
        size=layer.size,
        stride=layer.stride,
        filters=layer.filters,
        bits=layer.accumulator_bits,
        values=values,
        latency=1,
        pixel=8 * shape[2],
    )


def _moves(layer: LayerWork) -> int:
    """Cycles in which an image's windows are made: its pixels, and what pushes the last ones out.

    The schedule of `rtl.wired_timing`.
    """
    around = _around(layer, 1)
    height, width, _ = around.map
    return height * width + around.lag


def at_once(layer: LayerWork, most_cycles: int) -> int:
    """The fewest sums at once with which an image's sums leave in so many cycles, or all."""
    divisors = [n for n in range(1, layer.filters + 1) if layer.filters % n == 0]
    enough = (n for n in divisors if layer.positions * (layer.filters // n) <= most_cycles)
    return next(enough, layer.filters)


def cycles(layer: LayerWork, values: int | None = None) -> int:
    """From one image to the next: its windows', or those in which its sums leave.

    Args:
      layer: what it computes.
      values: sums that leave in a cycle; by default as few as keep up with its windows.

    Example:
      >>> from flightnn_jax.hardware.workload import from_network
      >>> cycles(from_network("net1", "lightnn1").layers[0])  # 32 x 32, and a row and a pixel
      1057
    """
    moves = _moves(layer)
    values = at_once(layer, moves) if values is None else values
    return max(moves, layer.positions * -(-layer.filters // values))


def _values(workload: Workload) -> list[int]:
    """[layers] sums at once that no layer's windows wait for."""
    slowest = max(map(_moves, workload.layers))
    return [at_once(x, slowest) for x in workload.layers]


def designs(workload: Workload, device: Device, options: Options) -> list[Choice]:
    """The only design."""
    design = largest(workload, device, options)
    pairs = list(zip(workload.layers, _values(workload), strict=True))
    needed = _in_all(workload, device)
    times = [cycles(x, n) for x, n in pairs]
    ms = 1e-3 / device.clock_mhz
    choice = Choice(
        workload.name,
        workload.scheme,
        "hardwired",
        design,
        images_per_s=1e3 / (max(times) * ms),
        latency_ms=sum(times) * ms,
        utilization=device.share(needed),
        energy_nj=asic.energy(workload).value,
    )
    return [choice]


def largest(workload: Workload, device: Device, options: Options) -> Design:
    """All weights at once.

    Raises:
      ValueError: if they do not fit.
    """
    del options
    short = device.shortage(_in_all(workload, device))
    if short:
        raise ValueError(
            f"{workload.name} in {workload.scheme} does not fit on {device.name} hard-wired, which "
            f"takes {' and '.join(short.values())}; choose another style, fewer layers, or a "
            "larger device"
        )
    weights = sum(x.taps * x.active_filters for x in workload.layers)
    return Design(weights, 1, (1,) * len(workload.layers))


def _in_all(workload: Workload, device: Device) -> list[float]:
    pairs = zip(workload.layers, _values(workload), strict=True)
    parts = [resources(x, device, n) for x, n in pairs]
    return [sum(column) for column in zip(*parts, strict=True)]


def estimate(
    workload: Workload, device: Device, design: Design | None, options: Options
) -> Estimate:
    """The costs of the only design."""
    only = largest(workload, device, options)
    if design not in (None, only):
        raise ValueError(f"{design}: hard-wired weights leave one design, {only}; give none")
    pairs = zip(workload.layers, _values(workload), strict=True)
    layers = [_cost(x, n, device) for x, n in pairs]
    latency = total(x.cycles for x in layers)._replace(factor=None)
    return base.pipelined(
        workload,
        device,
        "hardwired",
        only,
        layers,
        latency_ms=latency.times(1e-3 / device.clock_mhz),
        notes=_NOTES,
    )


def _cost(layer: LayerWork, values: int, device: Device) -> LayerCost:
    """A layer's costs and errors."""
    adders = wires.adders(layer)
    whole = adders.whole
    kind = rtl_resources.COUNTED_WIRES if adders.signs else rtl_resources.WIRES
    errors = rtl_resources.ERRORS[kind]
    measured = device.lut_factor == 1
    part = 1.0 if whole else PART_ERROR
    factors = {
        "BRAM": errors.bram,
        "DSP": None,  # the affine map is assumed
        "FF": errors.ff * part if measured else None,
        "LUT": errors.lut * part * synthesized.VENDOR if measured else None,
    }
    time = Number(cycles(layer, values), 1.0, "the generated Verilog's schedule")
    counted = "its weights" if whole else "a part of its weights or normal ones"
    origin = f"the generated Verilog, adders counted from {counted} (Yosys 0.23)"
    named = base.named(resources(layer, device, values), factors, origin)
    return base.layer_cost(layer, time, named)


_NOTES = (
    *generated.NOTES,
    "hard-wired, 4-bit fixed point costs about as little as one shift",
)


def figures(workload: Workload, device: Device) -> tuple[Figure, ...]:
    """Tables, whether or not the device has as many; none for floats."""
    heading, verdict = "hard-wired LUT", "hard-wired"
    if any(x.arithmetic.floats for x in workload.layers):
        return (Figure(heading, None, verdict),)
    much = 10**9
    boundless = dataclasses.replace(device, bram=much, dsp=much, ff=much, lut=much)
    lut = estimate(workload, boundless, None, Options()).resources["LUT"]
    return (Figure(heading, lut, verdict, lut.value, RATIO_ERROR),)
