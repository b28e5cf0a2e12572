"""The adders of a layer whose weights are wires, counted from the graph that `rtl` makes of them.

A trained layer of up to `MAX_WEIGHTS` weights is counted as it is. Of a larger one a part is
counted, some of its filters over some of its taps, and the layer takes in proportion; a layer of a
plan has normal weights, drawn once and stored as its format stores them. Adders in larger layers
share more sub-sums, so a part says too much and never too little: up to 18 % at 18,432 weights
(docs/measurements/hardwired.md). Where signs are counted, parts of two numbers of channels say what
a channel takes.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from flightnn_jax.hardware.workload import LayerWork
from flightnn_jax.integer.certificate import Range
from flightnn_jax.rtl import counting, graph, wiring
from flightnn_jax.rtl.graph import Cost, Graph
from flightnn_jax.rtl.wiring import EVERY, Wires

MAX_WEIGHTS = 4608
MAX_TAPS, MAX_FILTERS = 144, 16
"""Of a part."""

MAX_COUNTED = 288
"""Taps of a part, where signs are counted."""

INPUTS = (-16, 127)
"""What a planned layer's activations can be: those of a leaky ReLU."""

SIGNS = (-1, 1)
"""Likewise, where they are signs."""


class Adders(NamedTuple):
    """What the adders of a layer take.

    Attributes:
      cost: tables and registers.
      latency: cycles from a window to its sums.
      whole: whether all of the layer's own weights were counted.
      signs: whether its activations are signs, a bit each.
    """

    cost: Cost
    latency: int
    whole: bool
    signs: bool = False


def adders(layer: LayerWork) -> Adders:
    """Those of a layer.

    Raises:
      ValueError: for floats, of which no machine with wires is generated.

    Example:
      >>> from flightnn_jax.hardware.workload import from_network
      >>> adders(from_network("net4", "lightnn1").layers[1]).whole
      False
    """
    if layer.arithmetic.floats:
        raise ValueError(
            f"{layer.name}: weights of the format {layer.format!r} cannot be hard-wired: adders "
            "are generated for integers; choose another style, or a quantized scheme"
        )
    return _planned(layer) if layer.trained is None else _trained(layer)


def _trained(layer: LayerWork) -> Adders:
    """Those of its own weights, group by group: groups share no sums, for they share no inputs."""
    assert layer.trained is not None
    known, reach, signs = layer.trained
    weights, (low, high), size = wiring.of_weights(known, reach, layer.groups, signs)
    found = []
    inputs, filters = layer.kernel_shape[-2], layer.filters // layer.groups
    channels = np.arange(len(weights)) % (inputs * layer.groups)
    for group in range(layer.groups):
        taps = channels // inputs == group
        own = weights[taps, group * filters : (group + 1) * filters]
        found.append(_of_weights(Wires(own, Range(low[taps], high[taps]), size)))
    cost = Cost(*map(sum, zip(*(each.cost for each in found), strict=True)))
    latency = max(x.latency for x in found)
    return Adders(cost, latency, all(x.whole for x in found), size > 0)


def _of_weights(wires: Wires) -> Adders:
    """Once for the same: estimates and searches ask again and again."""
    arrays = (array.astype(np.int64).tobytes() for array in (wires.weights, *wires.inputs))
    return _counted(wires.weights.shape, wires.counted, *arrays)


@functools.lru_cache(maxsize=1 << 10)
def _counted(shape: tuple[int, int], size: int, weights: bytes, low: bytes, high: bytes) -> Adders:
    flat, *ends = (np.frombuffer(data, np.int64) for data in (weights, low, high))
    whole, inputs = flat.reshape(shape), Range(*ends)
    if whole.size <= MAX_WEIGHTS:
        built = wiring.build(whole, inputs, size)
        return Adders(graph.cost(built, EVERY), graph.schedule(built, EVERY).latency, True)
    taps, filters = shape
    if size:
        pixels = whole.reshape(size**2, -1, filters)[..., _spread(filters, MAX_FILTERS)]

        def some(channels: int) -> np.ndarray:
            chosen = pixels[:, _spread(pixels.shape[1], channels)]
            return chosen.reshape(-1, chosen.shape[-1])

        return _of_signs(some, size, pixels.shape[1], filters)
    rows, columns = _spread(taps, MAX_TAPS), _spread(filters, MAX_FILTERS)
    parts = taps / len(rows)
    inputs = Range(*(end[rows] for end in inputs))
    part = _Part.of(wiring.build(whole[rows][:, columns], inputs))
    return Adders(part.times(filters, parts), part.latency(parts), False)


def _spread(length: int, most: int) -> np.ndarray:
    """At most so many places, as far from each other as can be."""
    count = min(length, most)
    return np.arange(count) * length // count


class _Part(NamedTuple):
    """What was counted of a layer.

    Attributes:
      lut, ff, srl: for a filter.
      bits: of a sum.
      depth: adders on the longest way.
    """

    lut: float
    ff: float
    srl: float
    bits: float
    depth: int

    @classmethod
    def of(cls, built: Graph) -> "_Part":
        """Of a graph."""
        filters = len(built.outputs)
        cost = graph.cost(built, EVERY)
        bits = [built.width(term.value) + term.shift for term in built.outputs if term]
        lut, ff, srl = (n / filters for n in cost)
        return cls(lut, ff, srl, sum(bits) / max(len(bits), 1), built.depth)

    def times(self, filters: int, parts: float) -> Cost:
        """Of so many filters, the sum of each over so many parts."""
        joined = (parts - 1) * (self.bits + 1)
        counts = (parts * self.lut + joined, parts * self.ff, parts * self.srl)
        return Cost(*(math.ceil(filters * n) for n in counts))

    def latency(self, parts: float) -> int:
        """Of the sum over so many parts."""
        return max(1, math.ceil((self.depth + math.ceil(math.log2(parts))) / EVERY))


def _of_signs(some: Callable[[int], np.ndarray], size: int, channels: int, filters: int) -> Adders:
    """Of counted signs: what a part takes, and as much for each channel more as its last ones.

    Args:
      some: [taps, filters of a part] the weights of so many channels.
      size: of the window.
      channels: of the layer.
      filters: likewise.
    """
    most = min(channels, max(2, MAX_COUNTED // size**2))
    half = max(1, most // 2)
    part, less = (_Part.of(counting.build(some(n), size)) for n in (most, half))
    more = (channels - most) / max(1, most - half)
    counts = (filters * (x + more * (x - y)) for x, y in zip(part[:3], less[:3], strict=True))
    latency = part.latency(channels / most) + (size > 1)  # what may be outside is kept first
    return Adders(Cost(*map(math.ceil, counts)), latency, False, True)


def _planned(layer: LayerWork) -> Adders:
    """The sum over filters of what one with as many terms takes among others like it."""
    of_group = layer.filters // layer.groups
    if layer.signs and layer.size <= counting.LARGEST:
        channels = layer.taps // layer.size**2
        found = _planned_signs(layer.format, layer.size, channels, of_group)
        return found._replace(cost=Cost(*(layer.groups * n for n in found.cost)))
    taps, filters = min(layer.taps, MAX_TAPS), min(of_group, MAX_FILTERS)
    parts, costs, latencies = layer.taps / taps, [], [1]
    for k in sorted(set(layer.k) - {0}):
        part = _drawn_part(layer.format, k, taps, filters, SIGNS if layer.signs else INPUTS)
        costs.append(part.times(layer.k.count(k), parts))
        latencies.append(part.latency(parts))
    cost = Cost(*(sum(n) for n in zip(Cost(0, 0, 0), *costs, strict=True)))
    return Adders(cost, max(latencies), False)


@functools.lru_cache(maxsize=1 << 10)
def _planned_signs(kind: str, size: int, channels: int, filters: int) -> Adders:
    """Of a group, the mean over the scales of its kind."""
    found = []
    for scale in _STORED[kind].scales:

        def some(number: int, scale: float = scale) -> np.ndarray:
            return drawn(kind, 1, (size**2 * number, min(filters, MAX_FILTERS)), scale)

        found.append(_of_signs(some, size, channels, filters))
    columns = zip(*(each.cost for each in found), strict=True)
    cost = Cost(*(round(sum(column) / len(found)) for column in columns))
    return Adders(cost, max(each.latency for each in found), False, True)


@functools.lru_cache(maxsize=1 << 10)
def _drawn_part(kind: str, k: int, taps: int, filters: int, reach: tuple[int, int]) -> _Part:
    """The mean over the scales of its kind."""
    inputs = Range(*(np.full(taps, end) for end in reach))
    weights = (drawn(kind, k, (taps, filters), scale) for scale in _STORED[kind].scales)
    parts = [_Part.of(wiring.build(one, inputs)) for one in weights]
    lut, ff, srl, bits, depth = (sum(column) / len(parts) for column in zip(*parts, strict=True))
    return _Part(lut, ff, srl, bits, math.ceil(depth))


def drawn(kind: str, k: int, shape: tuple[int, int], scale: float = 1.0) -> np.ndarray:
    """[taps, filters] int64: normal weights, the same ones always, as their format stores them.

    Args:
      kind: of the weights, as `LayerWork.format`.
      k: terms of each.
      shape: taps and filters.
      scale: of the normal weights.
    """
    normal = scale * np.random.default_rng(0).standard_normal(shape)
    return _STORED[kind].integers(normal, k)


def _fixed(normal: np.ndarray, k: int) -> np.ndarray:
    """By the step, of three powers of two, with the least squared error."""
    del k
    reach = 2.0 ** np.ceil(np.log2(np.abs(normal).max() / 7))
    tried = [np.clip(np.round(normal / s), -8, 7) * s for s in reach / (1, 2, 4)]
    best = int(np.argmin([np.square(x - normal).sum() for x in tried]))
    return np.round(tried[best] / (reach / 2**best)).astype(np.int64)


def _shifts(normal: np.ndarray, k: int) -> np.ndarray:
    """Term by term, each the nearest power of two."""
    rest = normal * 2.0 ** (7 - np.round(np.log2(np.abs(normal).max())))
    total = np.zeros(normal.shape, np.int64)
    for _ in range(k):
        shift = np.clip(np.round(np.log2(np.maximum(np.abs(rest), 1e-9))), 0, 7).astype(np.int64)
        term = np.where(rest < 0, -1, 1) << shift
        total, rest = total + term, rest - term
    return total


def _levels(normal: np.ndarray, k: int) -> np.ndarray:
    """Of five levels at equal distances, in units that one of eight bits has."""
    del k
    return 42 * np.clip(np.round(normal / (0.84 * normal.std())), -2, 2).astype(np.int64)


def _signs(normal: np.ndarray, k: int) -> np.ndarray:
    """The signs alone."""
    del k
    return np.where(normal < 0, -1, 1)


class _Stored(NamedTuple):
    """How normal weights are stored.

    Attributes:
      integers: of the weights and their terms.
      scales: of the weights, to take the mean over. Steps are powers of two, and how many steps
        the weights span changes what 4-bit integers take by up to 1.32x. Of shifts it changes 1 %.
    """

    integers: Callable[[np.ndarray, int], np.ndarray]
    scales: tuple[float, ...] = (1.0,)


_STORED = {
    "fp4": _Stored(_fixed, (1.0, 2.0**0.5)),
    "shift": _Stored(_shifts),
    "binary": _Stored(_signs),
    "codebook": _Stored(_levels),
}
