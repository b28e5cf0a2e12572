"""Proven bounds of an integer network, from its records alone, in int64. No JAX.

docs/integers.md says what each column is. The bounds hold for every image: each layer's range of
values follows from that of the layers that it reads.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from flightnn_jax.integer import shapes
from flightnn_jax.integer.limits import (
    IMAGE,
    MAX_ACTIVATION,
    MIN_ACTIVATION,
    IntegerNetworkError,
)
from flightnn_jax.integer.network import (
    Add,
    Affine,
    Convolution,
    Dense,
    Flatten,
    IntegerNetwork,
    Layer,
    MaxPool,
)
from flightnn_jax.integer.weights import Weights

COLUMNS = (
    "acc_min",
    "acc_max",
    "partial",
    "acc_width",
    "v_min",
    "v_max",
    "v_width",
    "float_exact",
    "shift_min",
    "shift_max",
)
ADD_COLUMNS = ("v_min", "v_max", "v_width")
FLOAT_INTEGERS = 1 << 24  # float32 holds every integer up to here


class Range(NamedTuple):
    """The least and the largest value of each channel: [channels] int64 both."""

    low: np.ndarray
    high: np.ndarray


def width(bounds: Range) -> np.ndarray:
    """[channels] bits of the shortest two's complement that holds both ends; 64 from 2**53 on.

    Example:
      >>> width(Range(np.array([-128, -129, 0]), np.array([127, 0, 0]))).tolist()
      [8, 9, 1]
    """
    most = np.maximum(np.where(bounds.low < 0, ~bounds.low, bounds.low), bounds.high)
    bits = np.frexp(most.astype(np.float64))[1] + 1
    return np.where(most < 1 << 53, bits, 64).astype(np.int64)


def any_activation(channels: int) -> Range:
    """The range of activations of which nothing is known: those of an image."""
    return Range(*(np.full(channels, end, np.int64) for end in (MIN_ACTIVATION, MAX_ACTIVATION)))


def accumulators(weights: Weights, inputs: Range | None = None, groups: int = 1) -> Range:
    """What sums of these weights with activations can be.

    Args:
      weights: of a layer.
      inputs: the range of each input channel, from -128 to 127 by default; the zeros around the
        input of a convolution are within them.
      groups: of a convolution.

    Example:
      >>> from flightnn_jax.integer import IntegerWeights
      >>> weights = IntegerWeights(np.array([[3, 0], [-2, 0]], np.int8))
      >>> [bound.tolist() for bound in accumulators(weights)]
      [[-638, 0], [637, 0]]
      >>> low, high = np.array([[-1, 0], [9, 5]])
      >>> [bound.tolist() for bound in accumulators(weights, Range(low, high))]
      [[-13, 0], [27, 0]]
    """
    inputs = inputs or any_activation(weights.shape[-2] * groups)
    w = _of_channels(weights)
    above = np.maximum(w, 0).sum(axis=0, dtype=np.int64)
    below = np.minimum(w, 0).sum(axis=0, dtype=np.int64)
    low, high = (
        _dot(groups, end, above, below) for end in ((inputs.low, inputs.high), inputs[::-1])
    )
    return Range(low, high)


def _dot(
    groups: int, ends: Sequence[np.ndarray], first: np.ndarray, second: np.ndarray
) -> np.ndarray:
    """[filters] sums of both ends times both weights, [inputs of a group, filters] each."""
    channels, filters = first.shape

    def product(end: np.ndarray, w: np.ndarray) -> np.ndarray:
        of_groups = w.reshape(channels, groups, filters // groups).transpose(1, 0, 2)
        return (end.reshape(groups, 1, channels) @ of_groups).reshape(filters)

    return product(ends[0], first) + product(ends[1], second)


def _of_channels(weights: Weights, values: np.ndarray | None = None) -> np.ndarray:
    """[places in the window, inputs, filters] the weights, or other numbers of their shape."""
    values = weights.integers() if values is None else values
    return values.reshape(-1, *weights.shape[-2:])


def partial_sums(weights: Weights, inputs: Range | None = None, groups: int = 1) -> np.ndarray:
    """[filters] what no partial sum exceeds in magnitude, in any order, over terms or weights.

    Without `inputs` that is the simple bound of version 1: 128 times all magnitudes.
    """
    sizes = _of_channels(weights, weights.sizes())
    if inputs is None:
        return -MIN_ACTIVATION * sizes.sum(axis=(0, 1), dtype=np.int64)
    w = _of_channels(weights)
    # A weight is the difference of its terms of either sign, and its size is their sum.
    plus = ((sizes + w) >> 1).sum(axis=0, dtype=np.int64)
    minus = ((sizes - w) >> 1).sum(axis=0, dtype=np.int64)
    up, down = np.maximum(inputs.high, 0), np.maximum(-inputs.low, 0)
    both = (_dot(groups, ends, plus, minus) for ends in ((up, down), (down, up)))
    return np.maximum(*both)


def products(acc: Range, affine: Affine) -> Range:
    """What clip(acc, low, high) * multiplier can be, before the bias is added."""
    low, high, multiplier = (
        x.astype(np.int64) for x in (affine.low, affine.high, affine.multiplier)
    )
    ends = np.stack([np.minimum(np.maximum(end, low), high) * multiplier for end in acc])
    return Range(ends.min(axis=0), ends.max(axis=0))


def activated(v: Range, shift: np.ndarray, slope: int) -> Range:
    """What activations can be whose v is in a range.

    Example:
      >>> v = Range(np.array([-800]), np.array([70]))
      >>> [end.tolist() for end in activated(v, np.array([2]), 3)]
      [[-25], [18]]
    """
    return Range(*(_saturated(_even(end, shift + slope * (end < 0))) for end in v))


def _even(v: np.ndarray, n: np.ndarray | int) -> np.ndarray:
    """V / 2**n to the nearest integer, ties to the even one, for 0 <= n <= 62."""
    n = np.asarray(n, np.int64)
    below_half = np.maximum((np.int64(1) << n >> 1) - 1, 0)
    return (v + below_half + ((v >> n) & np.minimum(n, 1))) >> n


def _saturated(x: np.ndarray) -> np.ndarray:
    return np.clip(x, MIN_ACTIVATION, MAX_ACTIVATION)


def padded(weights: Weights, inputs: Range, around: int | None = None) -> Range:
    """What the window of a convolution reads: its input, and zeros if there are some around it."""
    if not (weights.shape[0] // 2 if around is None else around):
        return inputs
    return Range(np.minimum(inputs.low, 0), np.maximum(inputs.high, 0))


def of_convolution(
    weights: Weights,
    affine: Affine,
    inputs: Range | None = None,
    groups: int = 1,
    around: int | None = None,
) -> np.ndarray:
    """[filters, 10] int64, the columns `COLUMNS`, of a convolution and its affine map.

    Args:
      weights: of the layer.
      affine: behind them.
      inputs: the range of each input channel; None for the bounds of version 1.
      groups: of channels and filters.
      around: zeros on each side of the input; None for half of the window.
    """
    inputs = None if inputs is None else padded(weights, inputs, around)
    bias = affine.bias.astype(np.int64)
    acc = accumulators(weights, inputs, groups)
    v = products(acc, affine)
    partial = partial_sums(weights, inputs, groups)
    return _table(weights, partial, acc, Range(v.low + bias, v.high + bias))


def of_dense(weights: Weights, bias: np.ndarray, inputs: Range | None = None) -> np.ndarray:
    """[units, 10] int64, the columns `COLUMNS`, of a dense layer; v are its logits.

    Example:
      >>> from flightnn_jax.integer import IntegerWeights
      >>> weights = IntegerWeights(np.array([[3], [-2]], np.int8))
      >>> of_dense(weights, np.array([1000], np.int32)).tolist()
      [[-638, 637, 640, 11, 362, 1637, 12, 1, 0, 0]]
    """
    acc = accumulators(weights, inputs)
    partial = partial_sums(weights, inputs)
    return _table(weights, partial, acc, Range(acc.low + bias, acc.high + bias))


def _table(weights: Weights, partial: np.ndarray, acc: Range, v: Range) -> np.ndarray:
    acc_width = width(Range(-partial, partial))
    exact = (partial < FLOAT_INTEGERS).astype(np.int64)
    columns = [*acc, partial, acc_width, *v, width(v), exact, *weights.shift_range()]
    return np.stack(columns, axis=1)


def of_add(first: Range, second: Range) -> np.ndarray:
    """[channels, 3] int64, the columns `ADD_COLUMNS`, of the sum of two inputs."""
    return _sums_table(Range(first.low + second.low, first.high + second.high))


def _sums_table(v: Range) -> np.ndarray:
    return np.stack([*v, width(v)], axis=1)


class Bounds(NamedTuple):
    """What is proven of a layer.

    Attributes:
      table: int64, its certificate: [filters, 10] of a convolution or dense layer, [channels, 3] of
        an add. Of an average, which has none in a file, the same three columns of its sums after
        a shift to the left; of a pool nothing.
      output: the range of what it hands on.
    """

    table: np.ndarray
    output: Range

    @property
    def accumulators(self) -> Range:
        """Of a convolution or dense layer."""
        return Range(self.table[:, 0], self.table[:, 1])


def bounds(network: IntegerNetwork, version: int = 2) -> dict[str, Bounds]:
    """What is proven of every layer, by name, whether it is within the limits or not.

    Args:
      network: its stored certificates are not looked at.
      version: of the file format. By version 1 activations are -128 to 127, whoever gives them.
    """
    shape_of = {name: output.shape for name, output in shapes.outputs(network).items()}
    known = {IMAGE: any_activation(network.input_shape[-1])}
    proven: dict[str, Bounds] = {}
    for layer in network.layers:
        given = [known[name] for name in layer.inputs]
        positions = math.prod(shape_of[layer.inputs[0]][:-1])
        proven[layer.name] = of_layer(layer, given, positions, network.slope, version)
        known[layer.name] = proven[layer.name].output
        sums = isinstance(layer, Convolution) and layer.shift is None
        if version == 1 and not sums:
            known[layer.name] = any_activation(shape_of[layer.name][-1])
    return proven


def reaches(network: IntegerNetwork) -> dict[str, Range]:
    """What the image and each layer hand on can be, by name: what a layer that reads it gets."""
    images = {IMAGE: any_activation(network.input_shape[-1])}
    return images | {name: proven.output for name, proven in bounds(network).items()}


def are_signs(values: Range) -> bool:
    """Whether nothing but -1, 0 and 1 is possible.

    Example:
      >>> are_signs(Range(np.array([-1, 0]), np.array([1, 2])))
      False
    """
    return bool(values.low.min() >= -1 and values.high.max() <= 1)


def two_valued(network: IntegerNetwork) -> frozenset[str]:
    """The layers that hand on -1 and 1 alone, and never 0: signs of two neighbouring sums."""
    proven, found = bounds(network), set[str]()
    for layer in network.layers:
        if isinstance(layer, MaxPool | Flatten):
            known = layer.input in found
        else:
            known = isinstance(layer, Convolution) and _gives_signs(layer, proven[layer.name])
        if known:
            found.add(layer.name)
    return frozenset(found)


def _gives_signs(layer: Convolution, proven: Bounds) -> bool:
    """Whether each channel has two values at most, the ends of its range, and both are signs."""
    if layer.shift is None:
        return False
    low, high = layer.affine.low, layer.affine.high
    sums = np.clip(proven.accumulators, low, high)
    return bool(np.all(np.ptp(sums, axis=0) <= 1) and np.all(np.abs(proven.output) == 1))


def of_layer(
    layer: Layer, given: Sequence[Range], positions: int, slope: int, version: int = 2
) -> Bounds:
    """What is proven of one layer.

    Args:
      layer: its stored certificate is not looked at.
      given: the ranges of its inputs.
      positions: height x width of its first input.
      slope: of the network.
      version: as for `bounds`.
    """
    inputs = None if version == 1 else given[0]
    if isinstance(layer, Convolution):
        shape = (layer.groups, layer.around)
        table = of_convolution(layer.weights, layer.affine, inputs, *shape)
        v = Range(table[:, 4], table[:, 5])
        if layer.shift is None:
            return Bounds(table, v)
        return Bounds(table, activated(v, layer.shift, layer.slope_of(slope)))
    if isinstance(layer, Dense):
        table = of_dense(layer.weights, layer.bias, inputs)
        return Bounds(table, Range(table[:, 4], table[:, 5]))
    if isinstance(layer, Add):
        parts = [_lifted(part, lift) for part, lift in zip(given, layer.lift, strict=True)]
        table = of_add(*parts)
        return Bounds(table, activated(Range(table[:, 0], table[:, 1]), layer.shift, slope))
    if isinstance(layer, MaxPool):
        return Bounds(np.zeros((0, len(ADD_COLUMNS)), np.int64), given[0])
    if isinstance(layer, Flatten):
        ends = (np.tile(end, positions) for end in given[0])
        return Bounds(np.zeros((0, len(ADD_COLUMNS)), np.int64), Range(*ends))
    up = max(0, -(layer.shift or 0))
    total = Range(*(end * positions << up for end in given[0]))
    if layer.shift is None:
        return Bounds(_sums_table(total), total)
    rounded = Range(*(_saturated(_even(end, max(0, layer.shift))) for end in total))
    return Bounds(_sums_table(total), rounded)


def _lifted(given: Range, lift: np.ndarray | None) -> Range:
    """What an input of an add can be, shifted to the left where it is activations."""
    if lift is None:
        return given
    return Range(*(end << lift.astype(np.int64) for end in given))


def tables(network: IntegerNetwork, version: int = 2) -> dict[str, np.ndarray]:
    """The certificate of every layer that has one, int64, whether it is within the limits or not.

    Returns:
      By the layers' names [filters, 10] for convolutions and dense layers, [channels, 3] for
      adds; the arguments are those of `bounds`.
    """
    proven = bounds(network, version)
    layers = (layer for layer in network.layers if hasattr(layer, "certificate"))
    return {layer.name: proven[layer.name].table for layer in layers}


def certified(network: IntegerNetwork) -> IntegerNetwork:
    """The network with the certificates that it should have.

    Raises:
      IntegerNetworkError: if a bound is beyond 32 bits: no certificate can be written then.
    """
    derived = tables(network)
    for name, table in derived.items():
        if table.min(initial=0) < -(1 << 31) or table.max(initial=0) >= 1 << 31:
            raise IntegerNetworkError(
                f"{name}: its certificate goes from {table.min()} to {table.max()}: 32 bits hold "
                "every bound; use fewer inputs, or smaller multipliers and biases"
            )
    layers = tuple(
        dataclasses.replace(layer, certificate=derived[layer.name].astype(np.int32))
        if isinstance(layer, Convolution | Dense | Add)
        else layer
        for layer in network.layers
    )
    return dataclasses.replace(network, layers=layers)
