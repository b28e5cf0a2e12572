"""The paper's design: one array of processing elements with weights at run time, layer by layer.

Its structure is read off table 6, network 7, and only the cycles of `FITS` are fitted
(paper/fit.py). The elements are not pipelined: reading, computing, writing and looping take turns,
as the throughput shows. L-2 has the resources of L-1 in table 6, so a second term is the same
hardware used twice (figure 3), and L-1 and L-2 are FLightNNs with k = 1 and k = 2.

The paper measured each network's largest layer alone. Whole networks follow the same rule here, but
there is nothing to compare them with.
"""

import math
from typing import NamedTuple

from flightnn_jax.hardware import asic
from flightnn_jax.hardware.device import Device
from flightnn_jax.hardware.records import Choice, Design, Estimate, Number, total
from flightnn_jax.hardware.styles import base
from flightnn_jax.hardware.styles.base import Anchor, Figure, Options
from flightnn_jax.hardware.workload import LayerWork, Workload

OPTIONS: tuple[str, ...] = ("anchor",)


class Fit(NamedTuple):
    """An array for one kind of weights: what an element takes, and the errors of each number.

    Attributes:
      cycles: of an element for one term of one product: the median over the paper's rows
        (paper/fit.py).
      relative: time of a product over that of a shift term on the same board, the array included:
        the median over the networks of L-1's throughput over the scheme's. For anchored estimates.
      absolute_error: nine of ten rows of the paper are met within this factor by constants that
        were fitted without their network. For full precision there are seven rows, and they
        contradict each other.
      anchored_error: the same, given a measured throughput of another scheme of the network (L-1 in
        the tests).
      blocks: of 18-kb memory for each element.
      dsp: multiplier blocks for each element.
      dsp_array: for the array.
      lut: tables for each element.
      ff: flip-flops for each element.
      bram_error: of the blocks; None where nothing was compared, as for the next two.
      dsp_error: of the multiplier blocks.
      lut_error: of the tables.
      lut_origin: where they are from.
    """

    cycles: float
    relative: float
    absolute_error: float
    anchored_error: float
    blocks: int
    dsp: int
    dsp_array: int
    lut: int
    ff: int
    bram_error: float | None = None
    dsp_error: float | None = None
    lut_error: float | None = None
    lut_origin: str = "table 6, network 7"


# BRAM and DSP: table 6, network 7, as 1,024 = 2 x 512, 514 = 512 + 2, 896 = 7 x 128 and 642 =
# 5 x 128 + 2. LUT and FF of "shift" are the geometric means of network 7 (178 and 130 an element)
# and network 8 (72 and 6), which are two different designs; of the others network 7 alone. Network
# 8 takes 800 to 832 blocks where 1,024 are predicted, and 16 DSPs where 4 are; each of the two
# predicts the other's tables within 2.5x.
FITS = {
    "shift": Fit(
        *(4.854, 1.0, 1.9, 1.34),
        *(2, 0, 4, 113, 28),
        *(1.28, 4.0, 2.5, "table 6, networks 7 and 8"),
    ),
    "fp4": Fit(*(11.80, 1.776, 2.1, 1.34), *(2, 1, 2, 113, 14), bram_error=1.28),
    "full": Fit(*(18.28, 14.35, 5.5, 4.0), *(7, 5, 2, 1003, 542)),
}
"""By kind of weights."""


def fit_of(workload: Workload) -> Fit:
    """The array that computes a workload.

    Raises:
      ValueError: if its layers differ in kind, or the paper has no such array.
    """
    kinds = sorted({layer.format for layer in workload.layers})
    if len(kinds) > 1 or kinds[0] not in FITS:
        raise ValueError(
            f"{workload.name}: layers in the formats {kinds}; the paper's arrays have elements of "
            f"one kind, {', '.join(FITS)}: choose another style, or cost the parts one by one"
        )
    return FITS[kinds[0]]


def resources(kind: str, parallelism: int, device: Device) -> dict[str, Number]:
    """What an array of so many elements takes.

    Example:
      >>> from flightnn_jax.hardware.device import named
      >>> {name: n.value for name, n in resources("fp4", 512, named("XC7Z045")).items()}
      {'BRAM': 1024, 'DSP': 514, 'FF': 7168, 'LUT': 57856}
    """
    fit = FITS[kind]
    blocks = math.ceil(fit.blocks * 18 * 1024 / device.block_bits)
    lut = parallelism * fit.lut * device.lut_factor
    lut_error = fit.lut_error if device.lut_factor == 1 else None
    return {
        "BRAM": Number(parallelism * blocks, fit.bram_error, "table 6, network 7"),
        "DSP": Number(parallelism * fit.dsp + fit.dsp_array, fit.dsp_error, "table 6, network 7"),
        "FF": Number(parallelism * fit.ff, None, "table 6, whose designs differ by 21x"),
        "LUT": Number(lut, lut_error, fit.lut_origin),
    }


def exceeded(kind: str, parallelism: int, device: Device) -> tuple[str, ...]:
    """Resources that the device lacks for the array."""
    needed = resources(kind, parallelism, device)
    return tuple(name for name, have in device.available().items() if needed[name].value > have)


def largest_parallelism(kind: str, device: Device) -> int:
    """The largest power of two of elements that fits; needs grow with it, so the next does not.

    Table 6 has powers of two, 512 and 128, with room for more but not for twice as many.

    Raises:
      ValueError: if not even one element fits.

    Example:
      >>> from flightnn_jax.hardware.device import named
      >>> [largest_parallelism(kind, named("XC7Z045")) for kind in ("shift", "fp4", "full")]
      [512, 512, 128]
    """
    short = exceeded(kind, 1, device)
    if short:
        raise ValueError(
            f"one element for the format {kind!r} takes more {' and '.join(short)} than "
            f"{device.name} has; choose a larger device"
        )
    parallelism = 1
    while not exceeded(kind, 2 * parallelism, device):
        parallelism *= 2
    return parallelism


class Batch(NamedTuple):
    """Images that the array's memory holds.

    Attributes:
      images: a power of two, so that it divides the array.
      streamed: layers whose weights do not fit beside one image and come from outside; how long
        that takes is not modelled.
    """

    images: int
    streamed: tuple[str, ...]


def largest_batch(layers: tuple[LayerWork, ...], parallelism: int, device: Device) -> Batch:
    """The largest batch whose maps fit into the array's memory beside the weights.

    "The maximum batch size without running out of FPGA resources is set" (section 5.2). One layer
    is computed at a time, so its weights, and its input and output of each image, share the
    array's blocks: images = floor((blocks - weights) / maps), the least of all layers, down to a
    power of two, at most one image for each element.

    Raises:
      ValueError: if one image's maps do not fit.

    Example:
      >>> from flightnn_jax.hardware.device import named
      >>> from flightnn_jax.hardware.workload import from_network
      >>> largest_batch(from_network("net7", "lightnn1").largest().layers, 512, named("XC7Z045"))
      Batch(images=128, streamed=())
    """
    blocks = resources(layers[0].format, parallelism, device)["BRAM"].value
    capacity = int(blocks) * device.block_bits
    images, streamed = parallelism, []
    for layer in layers:
        room = capacity - layer.weight_bits
        if room < layer.map_bits:
            streamed.append(layer.name)
            room = capacity
        images = min(images, room // layer.map_bits)
        if not images:
            raise ValueError(
                f"{layer.name}: input and output of one image take {layer.map_bits:,} bits, and "
                f"{parallelism} elements on {device.name} have {capacity:,}; choose a larger "
                "device, or the style hardwired, which keeps few lines of an image"
            )
    return Batch(1 << (images.bit_length() - 1), tuple(streamed))


def folding(layer: LayerWork, parallelism: int, batch: int) -> int:
    """Rounds: one-term filters of all images in the batch, over the elements."""
    return math.ceil(layer.terms * batch / parallelism)


def cycles(layer: LayerWork, parallelism: int, batch: int) -> int:
    """For one batch: c taps positions rounds, c = `Fit.cycles`.

    Elements are spread over images first, then over one-term filters (figure 3), so with the
    largest batch few of them idle and L-1 over FLightNN is 1 over mean k.

    Example:
      >>> from flightnn_jax.hardware.workload import from_network
      >>> (layer,) = from_network("net7", "lightnn1").largest().layers
      >>> cycles(layer, 512, 128)
      11452023
    """
    rounds = folding(layer, parallelism, batch)
    return math.ceil(FITS[layer.format].cycles * layer.taps * layer.positions * rounds)


def images_per_s(
    kind: str, multiplications: int, mean_k: float, parallelism: int, clock_mhz: float
) -> float:
    """The rule without rounding: f P / (c N mean k), with 1 cycle for c if `kind` is "".

    Example:
      >>> round(images_per_s("shift", 9_437_184, 1.0, 512, 100.0))  # the paper: 1.1e3
      1118
    """
    c = FITS[kind].cycles if kind else 1.0
    return clock_mhz * 1e6 * parallelism / (c * multiplications * mean_k)


def designs(workload: Workload, device: Device, options: Options) -> list[Choice]:
    """All powers of two of elements, and all powers of two of images that their memory holds."""
    del options
    fit_of(workload)
    kind, seconds = workload.layers[0].format, 1e-6 / device.clock_mhz
    energy_nj = asic.energy(workload).value
    choices = []
    maximum = largest_parallelism(kind, device)
    for power in range(maximum.bit_length()):
        parallelism = 1 << power
        try:
            images = largest_batch(workload.layers, parallelism, device).images
        except ValueError:
            if parallelism == maximum:
                raise
            continue
        needed = resources(kind, parallelism, device)
        share = device.share([needed[name].value for name in device.available()])
        for exponent in range(images.bit_length()):
            batch = 1 << exponent
            time = seconds * sum(cycles(x, parallelism, batch) for x in workload.layers)
            choices.append(
                Choice(
                    workload.name,
                    workload.scheme,
                    "array",
                    _design(workload, parallelism, batch),
                    images_per_s=batch / time,
                    latency_ms=time * 1e3,
                    utilization=share,
                    energy_nj=energy_nj,
                )
            )
    return choices


def largest(workload: Workload, device: Device, options: Options) -> Design:
    """The largest parallelism that fits, and with it the largest batch."""
    del options
    fit_of(workload)
    parallelism = largest_parallelism(workload.layers[0].format, device)
    batch = largest_batch(workload.layers, parallelism, device).images
    return _design(workload, parallelism, batch)


def _design(workload: Workload, parallelism: int, batch: int) -> Design:
    rounds = tuple(folding(x, parallelism, batch) for x in workload.layers)
    return Design(parallelism, batch, rounds)


def estimate(
    workload: Workload, device: Device, design: Design | None, options: Options
) -> Estimate:
    """The costs of an array with a given parallelism and batch."""
    fit, kind = fit_of(workload), workload.layers[0].format
    design = design or largest(workload, device, options)
    parallelism, batch = design.parallelism, design.batch
    if not 1 <= batch <= parallelism:
        raise ValueError(
            f"batch={batch} of parallelism={parallelism}: an element computes one image at a "
            "time, so give a batch of 1 to the parallelism"
        )
    needed = resources(kind, parallelism, device)
    base.check_fits(needed, workload, device, f"an array of {parallelism} elements")
    memory = largest_batch(workload.layers, parallelism, device)
    if batch > memory.images:
        raise ValueError(
            f"batch={batch}: the memory of {parallelism} elements holds {memory.images} images of "
            f"{workload.name}; choose no more"
        )
    like_the_paper = len(workload.layers) == 1 and device.name == "XC7Z045"
    counts: list[float] = [cycles(x, parallelism, batch) for x in workload.layers]
    factor, origin = fit.absolute_error, _FITTED
    if options.anchor is not None:
        counts = _anchored(workload, options.anchor, 1e6 * device.clock_mhz * batch)
        factor, origin = fit.anchored_error, f"scaled from {options.anchor}"
    layers = [
        base.layer_cost(x, Number(count, factor if like_the_paper else None, origin), {})
        for x, count in zip(workload.layers, counts, strict=True)
    ]
    in_all = total(x.cycles for x in layers)
    return Estimate(
        workload=workload.name,
        scheme=workload.scheme,
        device=device.name,
        style="array",
        design=_design(workload, parallelism, batch),
        layers=tuple(layers),
        cycles=in_all,
        latency_ms=in_all.times(1e-3 / device.clock_mhz),
        images_per_s=base.rate(in_all, batch, device),
        energy_nj=total(x.energy_nj for x in layers),
        resources=needed,
        bounded_by=exceeded(kind, 2 * parallelism, device),
        notes=_notes(workload, memory, like_the_paper),
    )


_FITTED = "fitted to tables 2 to 5; the error is that of networks left out of the fit"


def _notes(workload: Workload, memory: Batch, like_the_paper: bool) -> tuple[str, ...]:
    notes = [*base.NOT_MODELLED]
    if not like_the_paper:
        notes.append("the paper measured single layers on XC7Z045 only, so times are unverified")
    if memory.streamed:
        notes.append(
            f"weights of {', '.join(memory.streamed)} do not fit beside an image; the time to load "
            "them is not included"
        )
    if any(x.terms == 0 for x in workload.layers):
        notes.append("a layer whose filters are all pruned takes no time here")
    return tuple(notes)


def _anchored(workload: Workload, anchor: Anchor, scale: float) -> list[float]:
    """Cycles of each layer, in proportion to its operations: `scale` / the anchor's throughput."""
    if not 0 < anchor.images_per_s < 1e12:
        raise ValueError(
            f"anchor={anchor.images_per_s} images/s: a measured throughput is above 0 and finite"
        )
    known = sum(x.operations for x in anchor.workload.layers)
    one = scale / anchor.images_per_s / (known * fit_of(anchor.workload).relative)
    return [one * x.operations * fit_of(workload).relative for x in workload.layers]


def figures(workload: Workload, device: Device) -> tuple[Figure, ...]:
    """Throughput; ratios within a network are known better than each throughput.

    None for weights that the paper has no array for.
    """
    heading, verdict = "array images/s", "in the paper's array"
    if not {layer.format for layer in workload.layers} <= FITS.keys():
        return (Figure(heading, None, verdict),)
    speed = estimate(workload, device, None, Options()).images_per_s
    cost = fit_of(workload).relative * workload.mean_k
    error = FITS["shift"].anchored_error
    return (Figure(heading, speed, verdict, cost, error),)
