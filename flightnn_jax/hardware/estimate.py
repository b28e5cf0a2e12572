"""What a workload costs on an FPGA, in three styles of design.

processing: the paper's array, constants fitted to its tables; see `styles.array`.
engine: a pipelined engine for every layer, of measured parts; see `engine`.
hardwired: constants in place of weights, of measured parts; see `hardwired`.
"""

import dataclasses
import math

from flightnn_jax.hardware import search, synthesized
from flightnn_jax.hardware.device import RESOURCES, Device
from flightnn_jax.hardware.records import Design, Estimate, LayerCost, Number, total
from flightnn_jax.hardware.styles import array, engine, hardwired
from flightnn_jax.hardware.workload import Layer, Workload

_NOT_MODELLED = (
    "pools, batch norm, requantization and shortcut sums are not included in any number",
)


@dataclasses.dataclass(frozen=True)
class Anchor:
    """A measured throughput by which the others of a network are scaled.

    Attributes:
      workload: what was measured, in any scheme, such as L-1.
      images_per_s: its measured throughput on the same board.
    """

    workload: Workload
    images_per_s: float


def estimate(
    workload: Workload,
    device: Device,
    style: str = "processing",
    *,
    design: Design | None = None,
    anchor: Anchor | None = None,
    multiplier: str = "dsp",
) -> Estimate:
    """What a workload costs on a device.

    Args:
      workload: what is computed.
      device: on what; its clock is `device.clock_mhz`.
      style: "processing", "engine" or "hardwired".
      design: what is built; by default the largest, or fastest, that fits, found exactly. Of one
        for "processing" parallelism and batch count, of one for "engine" batch and folding.
      anchor: for "processing": a measured throughput of the same network, which replaces the
        fitted scale; all that is left to the model then is the ratio.
      multiplier: for "engine", "dsp" or "lut" for weights that are no shifts.

    Returns:
      The estimate; every number has its error.

    Raises:
      ValueError: if the style is unknown, or the design does not fit.

    Example:
      >>> from flightnn_jax.hardware.device import find
      >>> from flightnn_jax.hardware.workload import from_network
      >>> layer = from_network("net7", "lightnn1").largest()
      >>> found = estimate(layer, find("XC7Z045"))
      >>> found.design.parallelism, found.bounded_by, round(found.images_per_s.value)
      (512, ('BRAM',), 1118)
      >>> found.images_per_s.bar
      '±90 %'
    """
    if style == "processing":
        return _processing(workload, device, design, anchor)
    if anchor is not None:
        raise ValueError(f"an anchor scales the style processing, not {style!r}; leave it out")
    if style == "engine":
        return _engine(workload, device, design, multiplier)
    if style == "hardwired":
        return _hardwired(workload, device)
    raise ValueError(f"style {style!r} is unknown: choose one of {', '.join(search.STYLES)}")


def largest(workload: Workload, device: Device, style: str, multiplier: str = "dsp") -> Design:
    """The largest parallelism and batch that fit; the fastest of all designs, for "engine".

    Example:
      >>> from flightnn_jax.hardware.device import find
      >>> from flightnn_jax.hardware.workload import from_network
      >>> largest(from_network("net1", "lightnn1").largest(), find("XC7Z045"), "processing")
      Design(parallelism=512, batch=256, folding=(32,))
    """
    if style == "engine":
        return search.fastest(workload, device, multiplier)
    if style == "hardwired":
        return search.hardwired_design(workload, device)
    parallelism = array.largest_parallelism(workload.format, device)
    batch = array.largest_batch(workload.layers, parallelism, device).images
    return _array(workload, parallelism, batch)


def _array(workload: Workload, parallelism: int, batch: int) -> Design:
    rounds = tuple(array.folding(x, parallelism, batch) for x in workload.layers)
    return Design(parallelism, batch, rounds)


def _layer(layer: Layer, cycles: Number, resources: dict[str, Number]) -> LayerCost:
    return LayerCost(
        layer.name, layer.multiplications, layer.mean_k, layer.weight_bits, cycles, resources
    )


def _processing(
    workload: Workload, device: Device, design: Design | None, anchor: Anchor | None
) -> Estimate:
    kind = workload.format
    design = design or largest(workload, device, "processing")
    parallelism, batch = design.parallelism, design.batch
    if not 1 <= batch <= parallelism:
        raise ValueError(
            f"batch={batch} of parallelism={parallelism}: an element computes one image at a "
            "time, so give a batch of 1 to the parallelism"
        )
    resources = array.resources(kind, parallelism, device)
    _check(resources, workload, device, f"an array of {parallelism} elements")
    memory = array.largest_batch(workload.layers, parallelism, device)
    if batch > memory.images:
        raise ValueError(
            f"batch={batch}: the memory of {parallelism} elements holds {memory.images} images of "
            f"{workload.name}; choose no more"
        )
    notes = [*_NOT_MODELLED]
    like_the_paper = len(workload.layers) == 1 and device.name == "XC7Z045"
    factor = array.ABSOLUTE_ERROR[kind] if like_the_paper else None
    origin = "fitted to tables 2 to 5; the error is that of networks left out of the fit"
    if not like_the_paper:
        notes.append("the paper measured single layers on XC7Z045 only, so times are unverified")
    if memory.streamed:
        notes.append(
            f"weights of {', '.join(memory.streamed)} do not fit beside an image; the time to load "
            "them is not included"
        )
    if any(x.terms == 0 for x in workload.layers):
        notes.append("a layer whose filters are all pruned takes no time here")
    counts: list[float] = [array.cycles(x, parallelism, batch) for x in workload.layers]
    if anchor is not None:
        counts = _anchored(workload, anchor, 1e6 * device.clock_mhz * batch)
        factor = array.ANCHORED_ERROR[kind] if like_the_paper else None
        origin = f"scaled from {anchor.images_per_s:g} images/s in {anchor.workload.scheme}"
    layers = [
        _layer(x, Number(count, factor, origin), {})
        for x, count in zip(workload.layers, counts, strict=True)
    ]
    cycles = total(x.cycles for x in layers)
    return Estimate(
        workload.name,
        workload.scheme,
        device.name,
        "processing",
        _array(workload, parallelism, batch),
        tuple(layers),
        cycles,
        cycles.times(1e-3 / device.clock_mhz),
        _rate(cycles, batch, device),
        resources,
        array.exceeded(kind, 2 * parallelism, device),
        tuple(notes),
    )


def _anchored(workload: Workload, anchor: Anchor, scale: float) -> list[float]:
    """Cycles of each layer, in proportion to its operations: `scale` / the anchor's throughput."""
    if not anchor.images_per_s > 0:
        raise ValueError(f"anchor of {anchor.images_per_s} images/s: a measured one is positive")
    known = sum(x.operations for x in anchor.workload.layers)
    one = scale / anchor.images_per_s / (known * array.RELATIVE[anchor.workload.format])
    return [one * x.operations * array.RELATIVE[x.format] for x in workload.layers]


def _engine(workload: Workload, device: Device, design: Design | None, multiplier: str) -> Estimate:
    design = design or largest(workload, device, "engine", multiplier)
    if len(design.folding) != len(workload.layers) or design.batch < 1:
        raise ValueError(
            f"batch={design.batch} and {len(design.folding)} foldings for "
            f"{len(workload.layers)} layers: give a batch of at least 1 and a folding for each"
        )
    measured = device.lut_factor == 1 and workload.format != "full"
    origin = "sums of synthesized parts (Yosys 0.23)"
    factors = {
        "BRAM": engine.BRAM_ERROR,
        "DSP": 1.0 if workload.format != "full" else None,
        "FF": engine.FF_ERROR if measured else None,
        "LUT": engine.LUT_ERROR * synthesized.VENDOR if measured else None,
    }
    layers = []
    for layer, folding in zip(workload.layers, design.folding, strict=True):
        parts = engine.parts(layer, folding, device, multiplier=multiplier).of(design.batch)
        needed = {
            name: Number(value, factors[name], origin)
            for name, value in zip(RESOURCES, parts, strict=True)
        }
        # Floats need more stages than were measured, and no pipeline of engines was run.
        alone = workload.format != "full" and len(workload.layers) == 1
        factor = engine.CYCLE_ERROR if alone else None
        cycles = Number(engine.cycles(layer, folding), factor, "formula; one engine was run")
        layers.append(_layer(layer, cycles, needed))
    resources = {name: total(x.resources[name] for x in layers) for name in RESOURCES}
    _check(resources, workload, device, "this design")
    slowest = max((x.cycles for x in layers), key=lambda n: n.value)
    stage = slowest.times(1e-3 / device.clock_mhz)
    at_once = [engine.lanes(x, f) for x, f in zip(workload.layers, design.folding, strict=True)]
    return Estimate(
        workload.name,
        workload.scheme,
        device.name,
        "engine",
        Design(design.batch * sum(at_once), design.batch, design.folding),
        tuple(layers),
        slowest,
        stage.times(len(layers)),
        _rate(slowest, design.batch, device),
        resources,
        _twice(resources, device),
        _NOT_MODELLED,
    )


def _hardwired(workload: Workload, device: Device) -> Estimate:
    design = search.hardwired_design(workload, device)
    measured = device.lut_factor == 1
    lut = hardwired.LUT_ERROR * synthesized.VENDOR if measured else None
    origin = "tables a weight of synthesized layers (Yosys 0.23)"
    factors = {"BRAM": None, "DSP": 1.0, "FF": None, "LUT": lut}
    layers = []
    for layer in workload.layers:
        needed = hardwired.resources(layer, device)
        layers.append(
            _layer(
                layer,
                Number(hardwired.cycles(layer), None, "a position a cycle, by construction"),
                {
                    name: Number(value, factors[name], origin)
                    for name, value in zip(RESOURCES, needed, strict=True)
                },
            )
        )
    resources = {name: total(x.resources[name] for x in layers) for name in RESOURCES}
    slowest = max((x.cycles for x in layers), key=lambda n: n.value)
    return Estimate(
        workload.name,
        workload.scheme,
        device.name,
        "hardwired",
        design,
        tuple(layers),
        slowest,
        total(x.cycles for x in layers).times(1e-3 / device.clock_mhz),
        _rate(slowest, 1, device),
        resources,
        _twice(resources, device),
        (*_NOT_MODELLED, "hard-wired, 4-bit fixed point costs about as little as one shift"),
    )


def _rate(cycles: Number, batch: int, device: Device) -> Number:
    """Images a second; infinitely many if nothing is left to compute."""
    if not cycles.value:
        return cycles._replace(value=math.inf)
    return cycles.over(1e6 * device.clock_mhz * batch)


def _check(resources: dict[str, Number], workload: Workload, device: Device, what: str) -> None:
    short = device.shortage([resources[name].value for name in RESOURCES])
    if short:
        raise ValueError(
            f"{workload.name} in {workload.scheme}: {what} takes {' and '.join(short.values())} "
            f"on {device.name}; choose a smaller design or a larger device"
        )


def _twice(resources: dict[str, Number], device: Device) -> tuple[str, ...]:
    """What twice the design would have too little of."""
    return tuple(device.shortage([2 * resources[name].value for name in RESOURCES]))
