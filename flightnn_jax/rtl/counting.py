"""Sums of signs as graphs that count: where activations are -1 or 1.

With n = 1 for an activation of -1, and 0 for 1 and outside of the map, a sum of activations times
weights is that of the weights inside of the map, which is looked up by the window's place, less
twice the sum of n times weights. That one needs a bit of each activation.

Where weights are signs, too, a few filters make a block. Taps whose weights in a block are alike,
up to a sign, are a bucket, and the bits of each bucket are counted once; the filters of a block are
sums of its buckets. Other weights are written as terms, and share sub-sums, as those of other
activations do.
"""

import itertools
from collections.abc import Iterator

import numpy as np

from flightnn_jax.integer.certificate import Range
from flightnn_jax.rtl import sharing, trees
from flightnn_jax.rtl.graph import COUNTED, Graph, Looked, Term, cost
from flightnn_jax.rtl.sharing import Terms
from flightnn_jax.rtl.sums import Sums

LARGEST = 5
"""Windows of which sums are counted: a place among larger ones has too many bits to look up."""

_BLOCKS = (2, 3, 4, 5)
"""Filters of a block, the cheapest of which is taken."""


def offsets(weights: np.ndarray, size: int) -> np.ndarray:
    """[filters, places] the sums of the weights that are inside of the map, for every place.

    Args:
      weights: [taps, filters], the taps of a pixel beside each other.
      size: of the window.

    Example:
      >>> offsets(np.array([[1], [-1]]), 1).tolist()
      [[0]]
    """
    pixels = weights.reshape(size, size, -1, weights.shape[1]).sum(axis=2)
    half = size - 1
    inside = np.arange(4**half)[:, None] >> np.arange(2 * half) & 1
    rows, columns = (np.insert(part, half // 2, 1, axis=1) for part in np.split(inside, 2, axis=1))
    return np.asarray(np.einsum("pr,pc,rcf->fp", rows, columns, pixels))


def build(weights: np.ndarray, size: int) -> Graph:
    """The graph of a layer: its inputs are the bits n and, for each filter, an offset.

    Args:
      weights: [taps, filters] integers, the taps of a pixel beside each other.
      size: of the window.

    Example:
      >>> graph = build(np.array([[1, 1], [1, -1], [-1, 1]]), 1)
      >>> graph.looked.tables.tolist()
      [[1], [1]]
      >>> graph.activations, len(graph.adders)
      (3, 6)
    """
    looked = Looked(size, offsets(weights, size))
    if np.abs(weights).max(initial=0) > 1:
        return _graph(weights, looked)
    graphs = (_graph(weights, looked, block) for block in _BLOCKS)
    return min(graphs, key=lambda graph: cost(graph, 2).lut)


def _graph(weights: np.ndarray, looked: Looked, block: int = 0) -> Graph:
    """Of blocks of so many filters, or of terms."""
    taps, filters = weights.shape
    ends = looked.tables.min(axis=1), looked.tables.max(axis=1)
    sums = Sums(Range(*(np.append(np.full(taps, i), end) for i, end in enumerate(ends))))
    if block:
        starts = range(0, filters, block)
        buckets = (_buckets(sums, -weights[:, start : start + block]) for start in starts)
        parts = [*itertools.chain.from_iterable(buckets)]
    else:
        parts = sharing.of_weights(-weights)
    totals = [trees.positive(sums, terms) for terms in sharing.share(sums, parts)]
    outputs = []
    for i, total in enumerate(totals):
        twice = total and total._replace(shift=total.shift + 1)
        if twice and looked.tables[i].any():
            twice = Term(sums.add(Term(taps + i, 0, False), twice), 0, False)
        outputs.append(twice)
    graph = sums.graph(tuple(outputs), looked)
    # Outside of the map no bit is 1, so sums are never beyond those of the whole window.
    for output, most in zip(graph.outputs, np.abs(weights).sum(axis=0).tolist(), strict=True):
        if output and not output.shift:
            graph.ranges.low[output.value], graph.ranges.high[output.value] = -most, most
    return graph


def _buckets(sums: Sums, weights: np.ndarray) -> Iterator[Terms]:
    """The terms of each filter of a block."""
    first = np.argmax(weights != 0, axis=1)
    sign = weights[np.arange(len(weights)), first]
    alike, which = np.unique(weights * sign[:, None], axis=0, return_inverse=True)
    made = [
        (_counted(sums, np.flatnonzero(which == i), sign), pattern)
        for i, pattern in enumerate(alike)
        if pattern.any()
    ]
    for i in range(weights.shape[1]):
        used = [(term, pattern[i]) for term, pattern in made if pattern[i]]
        yield sharing.columns([term._replace(negative=term.negative ^ (w < 0)) for term, w in used])


def _counted(sums: Sums, taps: np.ndarray, sign: np.ndarray) -> Term:
    """The sum of the bits of some taps with their signs."""
    counts = []
    for negative in (False, True):
        own = taps[(sign[taps] < 0) == negative].tolist()
        for start in range(0, len(own), COUNTED):
            bits = [Term(tap, 0, False) for tap in own[start : start + COUNTED]]
            value = bits[0].value if len(bits) == 1 else sums.add(*bits)
            counts.append(Term(value, 0, negative))
    total = trees.balanced(sums, sharing.columns(counts))
    assert total is not None  # a bucket has a tap
    return total
