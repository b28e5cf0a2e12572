"""The paper's design: one array of processing elements with weights at run time, layer by layer.

Its structure is read off table 6, network 7, and only the three `CYCLES` are fitted (fit.py). The
elements are not pipelined: reading, computing, writing and looping take turns, as the throughput
shows. L-2 has the resources of L-1 in table 6, so a second term is the same hardware used twice
(figure 3), and L-1 and L-2 are FLightNNs with k = 1 and k = 2.

The paper measured each network's largest layer alone. Whole networks follow the same rule here, but
there is nothing to compare them with.
"""

import math
from typing import NamedTuple

from flightnn_jax.hardware.device import Device
from flightnn_jax.hardware.records import Number
from flightnn_jax.hardware.workload import Layer

CYCLES = {"shift": 4.854, "fp4": 11.80, "full": 18.28}
"""Cycles of an element for one term of one product: medians over the paper's rows (fit.py)."""

RELATIVE = {"shift": 1.0, "fp4": 1.776, "full": 14.35}
"""Time of a product over that of a shift term on the same board, the array included: medians over
the networks of L-1's throughput over the scheme's (fit.py). For anchored estimates."""

ABSOLUTE_ERROR = {"shift": 1.9, "fp4": 2.1, "full": 5.5}
"""Nine of ten rows of the paper are met within this factor by constants that were fitted without
their network (fit.py); for full precision there are seven rows, and they contradict each other."""
ANCHORED_ERROR = {"shift": 1.34, "fp4": 1.34, "full": 4.0}
"""The same, given a measured throughput of another scheme of the network (L-1 in the tests)."""


class Element(NamedTuple):
    """What one processing element takes, and what the array takes besides.

    Attributes:
      blocks: of 18-kb memory for each element.
      dsp: multiplier blocks for each element.
      dsp_array: for the array.
      lut: tables for each element.
      ff: flip-flops for each element.
    """

    blocks: int
    dsp: int
    dsp_array: int
    lut: int
    ff: int


ELEMENTS = {
    "shift": Element(2, 0, 4, 113, 28),
    "fp4": Element(2, 1, 2, 113, 14),
    "full": Element(7, 5, 2, 1003, 542),
}
"""BRAM and DSP: table 6, network 7, as 1,024 = 2 x 512, 514 = 512 + 2, 896 = 7 x 128 and 642 =
5 x 128 + 2. LUT and FF of "shift" are the geometric means of network 7 (178 and 130 an element) and
network 8 (72 and 6), which are two different designs; of the others network 7 alone."""

LUT_ERROR = 2.5
"""Each of networks 7 and 8 predicts the other's tables within this factor."""
BRAM_ERROR = 1.28
"""Network 8 takes 800 to 832 blocks where 1,024 are predicted."""
SHIFT_DSP_ERROR = 4.0
"""Network 8 takes 16 where 4 are predicted."""

_TABLE_6 = "table 6, network 7"


def resources(kind: str, parallelism: int, device: Device) -> dict[str, Number]:
    """What an array of so many elements takes.

    Example:
      >>> from flightnn_jax.hardware.device import find
      >>> {name: n.value for name, n in resources("fp4", 512, find("XC7Z045")).items()}
      {'BRAM': 1024, 'DSP': 514, 'FF': 7168, 'LUT': 57856}
    """
    element = ELEMENTS[kind]
    known = device.lut_factor == 1 and kind == "shift"
    return {
        "BRAM": Number(
            parallelism * _blocks(element, device), BRAM_ERROR if kind != "full" else None, _TABLE_6
        ),
        "DSP": Number(
            parallelism * element.dsp + element.dsp_array,
            SHIFT_DSP_ERROR if kind == "shift" else None,
            _TABLE_6,
        ),
        "FF": Number(parallelism * element.ff, None, "table 6, whose designs differ by 21x"),
        "LUT": Number(
            parallelism * element.lut * device.lut_factor,
            LUT_ERROR if known else None,
            "table 6, networks 7 and 8" if kind == "shift" else _TABLE_6,
        ),
    }


def _blocks(element: Element, device: Device) -> int:
    return math.ceil(element.blocks * 18 * 1024 / device.block_bits)


def exceeded(kind: str, parallelism: int, device: Device) -> tuple[str, ...]:
    """Resources of which the device has too few for the array."""
    needed = resources(kind, parallelism, device)
    return tuple(name for name, have in device.available().items() if needed[name].value > have)


def largest_parallelism(kind: str, device: Device) -> int:
    """The largest power of two of elements that fits; needs grow with it, so the next does not.

    Powers of two are what table 6 shows: 512 and 128, with room for more but not for twice as many.

    Raises:
      ValueError: if not even one element fits.

    Example:
      >>> from flightnn_jax.hardware.device import find
      >>> [largest_parallelism(kind, find("XC7Z045")) for kind in ("shift", "fp4", "full")]
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


def largest_batch(layers: tuple[Layer, ...], parallelism: int, device: Device) -> Batch:
    """The largest batch whose maps fit into the array's memory beside the weights.

    "The maximum batch size without running out of FPGA resources is set" (section 5.2). One layer
    is computed at a time, so its weights, and its input and output of each image, share the
    array's blocks: images = floor((blocks - weights) / maps), the least of all layers, down to a
    power of two, at most one image for each element.

    Raises:
      ValueError: if one image's maps do not fit.

    Example:
      >>> from flightnn_jax.hardware.device import find
      >>> from flightnn_jax.hardware.workload import from_network
      >>> largest_batch(from_network("net7", "lightnn1").largest().layers, 512, find("XC7Z045"))
      Batch(images=128, streamed=())
    """
    kind = layers[0].format
    capacity = parallelism * _blocks(ELEMENTS[kind], device) * device.block_bits
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


def folding(layer: Layer, parallelism: int, batch: int) -> int:
    """Rounds: one-term filters of all images in the batch, over the elements."""
    return math.ceil(layer.terms * batch / parallelism)


def cycles(layer: Layer, parallelism: int, batch: int) -> int:
    """For one batch: c taps positions rounds, c of `CYCLES`.

    Elements are spread over images first, then over one-term filters (figure 3), so with the
    largest batch few of them idle and L-1 over FLightNN is 1 over mean k.

    Example:
      >>> from flightnn_jax.hardware.workload import from_network
      >>> (layer,) = from_network("net7", "lightnn1").largest().layers
      >>> cycles(layer, 512, 128)
      11452023
    """
    rounds = folding(layer, parallelism, batch)
    return math.ceil(CYCLES[layer.format] * layer.taps * layer.positions * rounds)


def images_per_s(
    kind: str, multiplications: int, mean_k: float, parallelism: int, clock_mhz: float
) -> float:
    """The rule without rounding: f P / (c N mean k), with 1 cycle for c if `kind` is "".

    Example:
      >>> round(images_per_s("shift", 9_437_184, 1.0, 512, 100.0))  # the paper: 1.1e3
      1118
    """
    c = CYCLES[kind] if kind else 1.0
    return clock_mhz * 1e6 * parallelism / (c * multiplications * mean_k)
