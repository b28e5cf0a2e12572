"""Hard-wired weights: every weight a few adders in a pipeline, one position of the window a cycle.

LUTs were measured with Yosys on fully pipelined layers of 576 and 2,304 weights
(docs/measurements/synthesis.md). Here a shift has no advantage over 4-bit fixed point, whose
constants have few signed digits too: L-1 takes 8.8 LUTs a weight, FP4 11.6 and L-2 16.2, and as an
adder graph that shares sums L-1 takes 0.97 of FP4 and L-2 1.7 (`synthesized.wired_matrix`). Say so
with every comparison.

Not modelled: pools, batch norm, requantization, shortcut sums.
"""

import dataclasses
import math

from flightnn_jax.hardware import asic, synthesized
from flightnn_jax.hardware.device import Device, Resources
from flightnn_jax.hardware.records import Choice, Design, Estimate, Number, total
from flightnn_jax.hardware.styles import base
from flightnn_jax.hardware.styles.base import Figure, Options
from flightnn_jax.hardware.workload import LayerWork, Workload

OPTIONS: tuple[str, ...] = ()

FF_LUT = 10.5 / 8.8
"""Flip-flops for a table, at k = 1: 10.1 to 10.9 a weight; taken to grow with the adders."""

LUT_ERROR = 1.10
"""Within 3 % of the four rows; the widths of sums, which the rows do not tell apart, may add."""

RATIO_ERROR = 1.35
"""By the weight L-1 gains 1.32x over FP4; as a graph of adders that share sums it loses, 0.97x. The
ratio is no better known than these two differ."""


def luts(layer: LayerWork) -> float:
    """Tables of 6 inputs: taps x sum over filters of (weight [k > 0] + term k), of `Wired`.

    Raises:
      ValueError: for a kind of weights that was not measured, such as floats.

    Example:
      >>> from flightnn_jax.hardware.workload import from_network
      >>> round(luts(from_network("net4", "lightnn1").layers[1]))
      40550
    """
    wired = layer.arithmetic.wired
    if wired is None:
        raise ValueError(
            f"{layer.name}: weights of the format {layer.format!r} were not measured hard-wired; "
            "choose another style, or a quantized scheme"
        )
    if not wired.term:
        return layer.taps * layer.active_filters * wired.weight
    return layer.taps * sum(wired.weight * (k > 0) + wired.term * k for k in layer.k)


def resources(layer: LayerWork, device: Device) -> Resources:
    """What a layer takes: `luts`, flip-flops in proportion, and blocks for the lines of the window.

    A window of h lines needs the last h - 1 of them, each as many words as the image is wide.
    """
    tables = luts(layer)
    lines = 0
    if len(layer.kernel_shape) == 4 and layer.kernel_shape[0] > 1:
        width, channels = layer.input_shape[1:]
        bits = (layer.kernel_shape[0] - 1) * channels * layer.arithmetic.activation_bits
        lines = device.blocks(bits, width)
    return Resources(
        bram=lines,
        dsp=0,
        ff=math.ceil(tables * FF_LUT),
        lut=math.ceil(tables * device.lut_factor),
    )


def cycles(layer: LayerWork) -> int:
    """A position a cycle, of the input or the output, whichever has more.

    Example:
      >>> from flightnn_jax.hardware.workload import from_network
      >>> cycles(from_network("net1", "lightnn1").layers[0])
      1024
    """
    return max(math.prod(layer.input_shape[:-1]), layer.positions)


def designs(workload: Workload, device: Device, options: Options) -> list[Choice]:
    """The only design."""
    design = largest(workload, device, options)
    needed = _in_all(workload, device)
    times = [cycles(x) for x in workload.layers]
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


def _in_all(workload: Workload, device: Device) -> list[int]:
    parts = [resources(x, device) for x in workload.layers]
    return [sum(column) for column in zip(*parts, strict=True)]


def estimate(
    workload: Workload, device: Device, design: Design | None, options: Options
) -> Estimate:
    """The costs of the only design."""
    only = largest(workload, device, options)
    if design not in (None, only):
        raise ValueError(f"{design}: hard-wired weights leave one design, {only}; give none")
    measured = device.lut_factor == 1
    lut = LUT_ERROR * synthesized.VENDOR if measured else None
    factors = {"BRAM": None, "DSP": 1.0, "FF": None, "LUT": lut}
    origin = "tables a weight of synthesized layers (Yosys 0.23)"
    layers = []
    for x in workload.layers:
        time = Number(cycles(x), None, "a position a cycle, by construction")
        layers.append(base.layer_cost(x, time, base.named(resources(x, device), factors, origin)))
    latency = total(x.cycles for x in layers).times(1e-3 / device.clock_mhz)
    return base.pipelined(
        workload, device, "hardwired", only, layers, latency_ms=latency, notes=_NOTES
    )


_NOTES = (*base.NOT_MODELLED, "hard-wired, 4-bit fixed point costs about as little as one shift")


def figures(workload: Workload, device: Device) -> tuple[Figure, ...]:
    """Tables, whether or not the device has as many; none for weights that were not measured."""
    heading, verdict = "hard-wired LUT", "hard-wired"
    if any(x.arithmetic.wired is None for x in workload.layers):
        return (Figure(heading, None, verdict),)
    much = 10**9
    boundless = dataclasses.replace(device, bram=much, dsp=much, ff=much, lut=much)
    lut = estimate(workload, boundless, None, Options()).resources["LUT"]
    return (Figure(heading, lut, verdict, lut.value, RATIO_ERROR),)
