"""Stages of generated Verilog at random, of every kind: those of whose sizes formulas are tried.

Seeds of `SEEN` and `SEEN_LATER` are what constants were chosen by, those of `HELD_OUT` are not.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from flightnn_jax.integer.certificate import Range, width
from flightnn_jax.integer.codebook import CodebookWeights
from flightnn_jax.integer.network import Affine, Convolution
from flightnn_jax.integer.weights import BinaryWeights, IntegerWeights, ShiftWeights, Weights
from flightnn_jax.rtl import constants, hardwired, wiring
from flightnn_jax.rtl.architecture import (
    Add,
    Average,
    Fold,
    Pool,
    Queue,
    Reorder,
    Repack,
    Stage,
    Stream,
    Wired,
)
from flightnn_jax.rtl.wiring import Wires

SEEN, SEEN_LATER, HELD_OUT = 8, (3, 11), 12
"""Seeds of the sets; the second ones were held out until what they showed was counted as well."""
_EVERY = {
    "convolve": 18,
    "wired": 14,
    "requantize": 14,
    "pool": 3,
    "average": 3,
    "add": 3,
    "queue": 3,
    "repack": 5,
    "reorder": 3,
    "signs": 14,
    "levels": 8,
    "counted": 14,
}
SETS = {
    SEEN: {"convolve": 14, "requantize": 20},
    **dict.fromkeys([*SEEN_LATER, HELD_OUT], _EVERY),
}


_WINDOWS = ((3, 1), (3, 1), (3, 2), (1, 1), (5, 1), (1, 2))


class Drawn(NamedTuple):
    """A stage to measure.

    Attributes:
      text: what it is.
      stage: its record.
    """

    text: str
    stage: Stage


def drawn(seed: int, counts: Mapping[str, int]) -> Iterator[Drawn]:
    """Stages of every kind, so many of each."""
    for i, (kind, count) in enumerate(counts.items()):
        for j in range(count):
            yield DRAW[kind](np.random.default_rng((seed, i, j)))


def convolve(rng: np.random.Generator) -> Drawn:
    """An engine: any window, kind of weights and fold."""
    size, stride = _WINDOWS[rng.integers(6)]
    channels, filters = (int(n) for n in rng.integers(3, 33, 2))
    side = int(rng.choice([4, 8, 16]))
    integer = rng.random() < 0.3
    if integer:
        weights: Weights = IntegerWeights(
            rng.integers(-8, 8, (size, size, channels, filters)).astype(np.int8)
        )
    else:
        weights = _shifts(rng, (size, size, channels, filters), int(rng.integers(1, 3)))
    lanes = int(rng.integers(1, min(filters, 9) + 1))
    inputs = int(rng.integers(1, min(channels, 4) + 1))
    terms = int(rng.integers(1, int(weights.passes.max()) + 1))
    out = int(rng.choice([n for n in range(1, lanes + 1) if lanes % n == 0 and n <= 2]))
    kind = "4-bit" if integer else f"k={weights.passes.max()}"
    return _engine(weights, stride, side, Fold(lanes, inputs, terms, out), (-128, 127), kind)


def signs(rng: np.random.Generator) -> Drawn:
    """An engine of weights -1 and 1, with activations of 8 bits or of these numbers."""
    size, stride = _WINDOWS[rng.integers(6)]
    channels, filters = (int(n) for n in rng.integers(3, 49, 2))
    side = int(rng.choice([4, 8, 16]))
    weights = BinaryWeights(rng.integers(0, 2, (size, size, channels, filters), np.uint8))
    lanes = int(rng.integers(1, min(filters, 9) + 1))
    counted = rng.random() < 0.5
    inputs = int(rng.integers(1, min(channels, 32 if counted else 8) + 1))
    out = int(rng.choice([n for n in range(1, lanes + 1) if lanes % n == 0 and n <= 2]))
    kind = "signs of signs" if counted else "signs"
    ends = (-1, 1) if counted else (-128, 127)
    return _engine(weights, stride, side, Fold(lanes, inputs, 1, out), ends, kind)


def levels(rng: np.random.Generator) -> Drawn:
    """An engine of weights of a few levels, with activations of 8 bits or of a few levels."""
    size, stride = _WINDOWS[rng.integers(6)]
    channels, filters = (int(n) for n in rng.integers(3, 33, 2))
    side = int(rng.choice([4, 8, 16]))
    count, ends = ((5, (0, 7)), (10, (0, 31)), (5, (-128, 127)), (10, (-128, 127)), (7, (-3, 6)))[
        rng.integers(5)
    ]
    table = np.sort(rng.choice(np.arange(-127, 128), count, replace=False)).astype(np.int8)
    shape = (size, size, channels, filters)
    weights = CodebookWeights(table, rng.integers(0, count, shape, np.uint8))
    lanes = int(rng.integers(1, min(filters, 9) + 1))
    inputs = int(rng.integers(1, min(channels, 4) + 1))
    out = int(rng.choice([n for n in range(1, lanes + 1) if lanes % n == 0 and n <= 2]))
    kind = f"{count} levels of {ends[0]} to {ends[1]}"
    return _engine(weights, stride, side, Fold(lanes, inputs, 1, out), ends, kind)


def _engine(
    weights: Weights, stride: int, side: int, fold: Fold, ends: tuple[int, int], kind: str
) -> Drawn:
    """Of weights and a fold, for square maps of activations between two ends."""
    size, _, channels, filters = weights.shape
    inputs = Range(*np.tile(ends, (channels, 1)).T)
    order = np.argsort(-weights.passes.astype(int), kind="stable")
    most = int(weights.sizes().reshape(-1, filters).sum(axis=0).max()) * max(map(abs, ends))
    bits = int(width(Range(np.array([-most]), np.array([most])))[0])
    source = Stream("x", (side, side, channels), 8, fold.inputs, np.arange(channels))
    after = -(-side // stride)
    output = Stream("y", (after, after, filters), bits, fold.out, order)
    none = np.zeros(filters, np.int32)
    affine = Affine(none + 1, none, none, none)
    layer = Convolution("y", "x", stride, weights, 0, affine, none, 0, none)
    stage = constants.convolution(layer, source, output, fold, inputs)
    what = f"conv {size}x{size}/{stride} {channels}-{filters} at {side}, {kind}"
    return Drawn(f"{what}, fold {','.join(map(str, fold))}", stage)


def wired(rng: np.random.Generator) -> Drawn:
    """A layer of wires: few weights of any kind."""
    size, stride = ((3, 1), (3, 2), (1, 1), (1, 2))[rng.integers(4)]
    channels, filters = int(rng.integers(1, 5)), int(rng.integers(3, 9))
    side, k = int(rng.choice([4, 8, 16])), int(rng.integers(1, 3))
    shape = (size, size, channels * (9 // size**2), filters)
    weights = _shifts(rng, shape, k).integers().astype(np.int64)
    if rng.random() < 0.3:
        weights = rng.integers(-8, 8, shape).astype(np.int64)
    flat = weights.reshape(-1, filters)
    low = int(rng.choice([-128, -16, 0]))
    ends = Range(np.full(len(flat), min(low, 0)), np.full(len(flat), 127))
    return _wires(rng, Wires(flat, ends), (size, stride, side), "wires")


def counted(rng: np.random.Generator) -> Drawn:
    """A layer of wires: weights and activations are signs, which are counted."""
    size, stride = ((3, 1), (3, 1), (3, 2), (1, 1), (1, 2), (5, 1))[rng.integers(6)]
    channels, filters = int(rng.integers(3, 25)), int(rng.integers(4, 33))
    side = int(rng.choice([4, 8, 16]))
    flat = rng.choice([-1, 1], (size**2 * channels * (3 if size == 1 else 1), filters))
    ends = Range(np.full(len(flat), -1), np.full(len(flat), 1))
    return _wires(rng, Wires(flat, ends, size), (size, stride, side), "counted wires")


def _wires(rng: np.random.Generator, wires: Wires, shape: tuple[int, int, int], what: str) -> Drawn:
    """Of weights, for a window of some size and stride on a square map of some side."""
    size, stride, side = shape
    taps, filters = wires.weights.shape
    channels = taps // size**2
    graph = wiring.build(*wires)
    source = Stream("x", (side, side, channels), 8, channels, np.arange(channels))
    out = int(rng.choice([n for n in range(1, filters + 1) if filters % n == 0]))
    after = -(-side // stride)
    output = Stream(
        "y", (after, after, filters), hardwired.sum_bits(graph), out, np.arange(filters)
    )
    stage = Wired("y", (source,), (output,), "y", size, stride, graph, wiring.EVERY)
    text = f"{what} {size}x{size}/{stride} {channels}-{filters} at {side}"
    return Drawn(f"{text}, {out} sums at once", stage)


def _shifts(rng: np.random.Generator, shape: tuple[int, ...], terms: int) -> ShiftWeights:
    """Terms of random signs; shifts as those of weights, most of them large."""
    k = rng.integers(1 if terms > 1 else terms, terms + 1, shape[-1]).astype(np.uint8)
    k[0] = terms
    there = np.arange(terms)[:, None, None, None, None] < k
    sign = rng.choice(np.array([-1, 1], np.int8), (terms, *shape)) * there
    sizes = 7 - np.minimum(7, rng.geometric(0.4, (terms, *shape)) - 1)
    return ShiftWeights(sign.astype(np.int8), (sizes * there).astype(np.uint8), k)


def requantize(rng: np.random.Generator) -> Drawn:
    """An affine map with multipliers of a kind, and an activation or none."""
    channels, values = int(rng.integers(4, 65)), int(rng.choice([1, 1, 1, 2, 4]))
    bits = int(rng.integers(14, 25))
    source = Stream("x", (4, 4, channels), bits, values, np.arange(channels))
    most = (1 << (bits - 1)) - 1
    ends = np.full(channels, -most), np.full(channels, most)
    kind = ("multiplied", "power", "terms", "none")[rng.integers(4)]
    multiplier = {
        "multiplied": rng.integers(100, 1 << 12, channels),
        "power": 1 << rng.integers(0, 6, channels),
        "terms": (1 << rng.integers(3, 6, channels)) + (1 << rng.integers(0, 2, channels)),
        "none": np.ones(channels, np.int64),
    }[kind]
    clips = rng.random() < 0.3
    low = high = np.full(channels, most)
    if clips:
        high = rng.integers(most // 4, most, channels)
    bias = rng.integers(-most // 2, most // 2, channels)
    product = int((high * multiplier).max()) + most
    v = product.bit_length() + 1
    activate = rng.random() < 0.8
    shift = None
    if activate:
        shift = np.full(channels, v - 9) - (rng.integers(0, 4, channels) * (rng.random() < 0.4))
    output = Stream("y", source.shape, 8 if activate else v, values, source.order)
    affine = Affine(*(x.astype(np.int32) for x in (multiplier, bias, -low, high)))
    slope = int(rng.choice([0, 3]))
    stage = constants.requantize(
        source, output, affine, Range(*ends), v, shift, slope, kind == "terms"
    )
    what = f"requantize {channels}, {bits} to {v} bits, {kind}{', clips' if clips else ''}"
    return Drawn(f"{what}{', activation' if activate else ''}, {values} a beat", stage)


def _map(rng: np.random.Generator, bits: int = 8) -> Stream:
    side = int(rng.choice([4, 8, 16, 32]))
    channels = int(rng.integers(2, 65))
    values = int(rng.choice([1, 1, 2, 4]))
    return Stream("x", (side, side, channels), bits, min(values, channels), np.arange(channels))


def pool(rng: np.random.Generator) -> Drawn:
    """Of any map."""
    x = _map(rng)
    half = (x.shape[0] // 2, x.shape[1] // 2, x.shape[2])
    output = Stream("y", half, 8, x.values, x.order)
    return Drawn(f"pool {x.shape}, {x.values} a beat", Pool("y", (x,), (output,)))


def average(rng: np.random.Generator) -> Drawn:
    """Of any map."""
    x = _map(rng)
    bits = 8 + (x.pixels - 1).bit_length()
    output = Stream("y", (1, 1, x.shape[2]), bits, x.values, x.order)
    return Drawn(f"average {x.shape}, {x.values} a beat", Average("y", (x,), (output,)))


def add(rng: np.random.Generator) -> Drawn:
    """Sums and activations that are lifted."""
    bits = int(rng.integers(14, 24))
    x = _map(rng, bits)
    lift = rng.integers(2, bits - 8, x.shape[2])
    other = Stream("z", x.shape, 8, x.values, x.order)
    output = Stream("y", x.shape, bits + 1, x.values, x.order)
    stage = Add("y", (x, other), (output,), (None, lift))
    return Drawn(f"add {x.shape}, {bits} bits, {x.values} a beat", stage)


def queue(rng: np.random.Generator) -> Drawn:
    """Of any depth."""
    x = _map(rng)
    output = Stream("y", x.shape, 8, x.values, x.order)
    depth = int(rng.integers(4, 1500))
    stage = Queue("y", (x,), (output,), depth)
    return Drawn(f"queue of {depth}, {8 * x.values} bits", stage)


def repack(rng: np.random.Generator) -> Drawn:
    """To wider or narrower words."""
    few, many = ((1, 2), (1, 3), (2, 4), (1, 4), (1, 8))[rng.integers(5)]
    channels, bits = int(rng.integers(many, 40)), int(rng.choice([8, 18]))
    before, after = (few, many) if rng.random() < 0.6 else (many, few)
    x, y = (
        Stream(name, (4, 4, channels), bits, values, np.arange(channels))
        for name, values in (("x", before), ("y", after))
    )
    text = f"{before} to {after} a beat, {bits} bits, {channels} channels"
    return Drawn(text, Repack("y", (x,), (y,)))


def reorder(rng: np.random.Generator) -> Drawn:
    """Of logits."""
    length, bits = int(rng.integers(3, 33)), int(rng.integers(14, 25))
    x, y = (
        Stream(name, (1, 1, length), bits, 1, order)
        for name, order in (("x", rng.permutation(length)), ("y", np.arange(length)))
    )
    return Drawn(f"reorder {length} of {bits} bits", Reorder("y", (x,), (y,)))


DRAW: dict[str, Callable[[np.random.Generator], Drawn]] = {
    "convolve": convolve,
    "wired": wired,
    "requantize": requantize,
    "pool": pool,
    "average": average,
    "add": add,
    "queue": queue,
    "repack": repack,
    "reorder": reorder,
    "signs": signs,
    "levels": levels,
    "counted": counted,
}
