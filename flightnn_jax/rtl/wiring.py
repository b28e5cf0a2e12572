"""From the weights of a layer to its graph of adders.

Every weight is written with the fewest signed powers of two, so sums of shifts and 4-bit integers
are treated alike. What `sharing` leaves of each filter is added in a balanced tree (`trees`). Where
activations are signs, `counting` has another graph.
"""

import functools
from typing import NamedTuple

import numpy as np

from flightnn_jax.integer import certificate
from flightnn_jax.integer.certificate import Range
from flightnn_jax.integer.network import Convolution, Dense, IntegerNetwork
from flightnn_jax.integer.weights import Weights
from flightnn_jax.rtl import counting, sharing, trees
from flightnn_jax.rtl.architecture import Stream, Wired
from flightnn_jax.rtl.graph import Graph
from flightnn_jax.rtl.sums import Sums

EVERY = 2
"""Levels of adders between registers: two cost half as many registers as one."""


class Wires(NamedTuple):
    """What the windows of a layer are multiplied by.

    Attributes:
      weights: [taps, filters] int64; a tap is a row, column and channel of the window, in this
        order, the channel changing fastest.
      inputs: [taps] what each can be, the zeros around the image included.
      counted: height and width of the window, if signs are counted: where activations are -1 or
        1, and the window is not too large. Otherwise 0.
    """

    weights: np.ndarray
    inputs: Range
    counted: int = 0


def of_layer(network: IntegerNetwork, name: str) -> Wires:
    """Those of a convolution or dense layer.

    Raises:
      ValueError: if it has no weights.
    """
    layer = next((layer for layer in network.weighted if layer.name == name), None)
    if layer is None:
        names = ", ".join(layer.name for layer in network.weighted)
        raise ValueError(f"layer {name!r} has no weights: choose one of {names}")
    groups = layer.groups if isinstance(layer, Convolution) else 1
    signs = layer.input in certificate.two_valued(network)
    return of_weights(layer.weights, certificate.reaches(network)[layer.input], groups, signs)


def has_usual_padding(layer: Convolution) -> bool:
    """Whether half of a window is around the map, as windows for wires have it."""
    return layer.around == layer.weights.shape[0] // 2


def of_weights(weights: Weights, inputs: Range, groups: int = 1, signs: bool = False) -> Wires:
    """Those of weights whose inputs have these ranges, [channels], zeros around a map apart.

    A filter's weights for channels that other groups read are 0: they are no wires.

    Args:
      weights: of a layer.
      inputs: the range of each channel.
      groups: of channels and filters.
      signs: whether no input is anything but -1 or 1.
    """
    low, high = inputs
    integers = weights.integers().astype(np.int64)
    if groups > 1:
        *window, own, filters = integers.shape
        whole = np.zeros((*window, groups, own, groups, filters // groups), np.int64)
        parted = integers.reshape(*window, own, groups, filters // groups)
        which = np.arange(groups)
        whole[..., which, :, which, :] = np.moveaxis(parted, -2, 0)
        integers = whole.reshape(*window, groups * own, filters)
    if integers.ndim == 4 and integers.shape[0] > 1:
        low, high = np.minimum(low, 0), np.maximum(high, 0)
    flat = integers.reshape(-1, integers.shape[-1])
    windows = len(flat) // len(low)
    size = integers.shape[0] if integers.ndim == 4 else 1
    counted = size if signs and size <= counting.LARGEST else 0
    return Wires(flat, Range(np.tile(low, windows), np.tile(high, windows)), counted)


def stage(
    network: IntegerNetwork, layer: Convolution | Dense, source: Stream, output: Stream
) -> Wired:
    """The stage that a layer is, with inputs in the order of `source`, filters in `output`'s."""
    graph = built(in_order(of_layer(network, layer.name), source, output))
    size, stride = 1, 1
    if isinstance(layer, Convolution):
        size, stride = layer.weights.shape[0], layer.stride
    streams = ((source,), (output,))
    return Wired(output.name, *streams, layer.name, size, stride, graph, EVERY)


def in_order(wires: Wires, source: Stream, output: Stream) -> Wires:
    """The same with channels and filters in the order of two streams."""
    taps = np.arange(len(wires.weights))
    taps = taps.reshape(-1, len(source.order))[:, source.order].ravel()
    low, high = (end[taps] for end in wires.inputs)
    return wires._replace(weights=wires.weights[taps][:, output.order], inputs=Range(low, high))


def build(
    weights: np.ndarray,
    inputs: Range,
    counted: int = 0,
    *,
    share: bool = True,
    max_pairs: int = sharing.MAX_PAIRS,
) -> Graph:
    """The graph of a layer.

    Args:
      weights: [taps, filters] integers.
      inputs: [taps] what each input can be.
      counted: as in `Wires`; where it is not 0 the graph is that of `counting`.
      share: whether filters share sub-sums.
      max_pairs: a bound of the work, as in `sharing`.

    Example:
      >>> ends = Range(np.array([-128, -128]), np.array([127, 127]))
      >>> graph = build(np.array([[1, 4], [-2, -8]]), ends)
      >>> [[tuple(term) for term in adder.terms] for adder in graph.adders]
      [[(0, 0, False), (1, 1, True)]]
      >>> [tuple(term) for term in graph.outputs]
      [(2, 0, False), (2, 2, False)]
    """
    if counted:
        return counting.build(weights, counted)
    nothing = (inputs.low == 0) & (inputs.high == 0)
    sums = Sums(inputs)
    filters = sharing.of_weights(np.where(nothing[:, None], 0, weights))
    if share:
        filters = sharing.share(sums, filters, max_pairs)
    return sums.graph(tuple(trees.positive(sums, terms) for terms in filters))


def built(wires: Wires) -> Graph:
    """`build`, once for the same wires: searches and estimates ask again and again."""
    arrays = (x.astype(np.int64) for x in (wires.weights, *wires.inputs))
    return _built(wires.weights.shape, wires.counted, *(x.tobytes() for x in arrays))


@functools.lru_cache(maxsize=64)
def _built(shape: tuple[int, int], counted: int, weights: bytes, low: bytes, high: bytes) -> Graph:
    flat, *ends = (np.frombuffer(data, np.int64) for data in (weights, low, high))
    return build(flat.reshape(shape), Range(*ends), counted)
