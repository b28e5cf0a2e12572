"""Proven bounds of an integer network, from its records alone, in int64. No JAX.

docs/integers.md says what each column is. The bounds hold for every image.
"""

import dataclasses
from typing import NamedTuple

import numpy as np

from flightnn_jax.integer.limits import MAX_ACTIVATION, MIN_ACTIVATION, IntegerNetworkError
from flightnn_jax.integer.network import Add, Affine, Convolution, Dense, IntegerNetwork
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


def accumulators(weights: Weights) -> Range:
    """What sums of these weights with activations can be.

    Example:
      >>> from flightnn_jax.integer import IntegerWeights
      >>> weights = IntegerWeights(np.array([[3, 0], [-2, 0]], np.int8))
      >>> [bound.tolist() for bound in accumulators(weights)]
      [[-638, 0], [637, 0]]
    """
    w = weights.integers().reshape(-1, weights.shape[-1])
    above = np.maximum(w, 0).sum(axis=0, dtype=np.int64)
    below = np.minimum(w, 0).sum(axis=0, dtype=np.int64)
    return Range(
        MIN_ACTIVATION * above + MAX_ACTIVATION * below,
        MAX_ACTIVATION * above + MIN_ACTIVATION * below,
    )


def partial_sums(weights: Weights) -> np.ndarray:
    """[filters] what no partial sum exceeds in magnitude, in any order, over terms or weights."""
    sizes = weights.sizes().reshape(-1, weights.shape[-1])
    return -MIN_ACTIVATION * sizes.sum(axis=0, dtype=np.int64)


def products(acc: Range, affine: Affine) -> Range:
    """What clip(acc, low, high) * multiplier can be, before the bias is added."""
    low, high, multiplier = (
        x.astype(np.int64) for x in (affine.low, affine.high, affine.multiplier)
    )
    ends = np.stack([np.minimum(np.maximum(end, low), high) * multiplier for end in acc])
    return Range(ends.min(axis=0), ends.max(axis=0))


def of_convolution(weights: Weights, affine: Affine) -> np.ndarray:
    """[filters, 10] int64, the columns `COLUMNS`, of a convolution and its affine map."""
    acc = accumulators(weights)
    bias = affine.bias.astype(np.int64)
    v = products(acc, affine)
    return _table(weights, acc, Range(v.low + bias, v.high + bias))


def of_dense(weights: Weights, bias: np.ndarray) -> np.ndarray:
    """[units, 10] int64, the columns `COLUMNS`, of a dense layer; v are its logits.

    Example:
      >>> from flightnn_jax.integer import IntegerWeights
      >>> weights = IntegerWeights(np.array([[3], [-2]], np.int8))
      >>> of_dense(weights, np.array([1000], np.int32)).tolist()
      [[-638, 637, 640, 11, 362, 1637, 12, 1, 0, 0]]
    """
    acc = accumulators(weights)
    return _table(weights, acc, Range(acc.low + bias, acc.high + bias))


def _table(weights: Weights, acc: Range, v: Range) -> np.ndarray:
    partial = partial_sums(weights)
    acc_width = width(Range(-partial, partial))
    exact = (partial < FLOAT_INTEGERS).astype(np.int64)
    columns = [*acc, partial, acc_width, *v, width(v), exact, *weights.shift_range()]
    return np.stack(columns, axis=1)


def of_add(first: Range, second: Range) -> np.ndarray:
    """[channels, 3] int64, the columns `ADD_COLUMNS`, of the sum of two inputs."""
    v = Range(first.low + second.low, first.high + second.high)
    return np.stack([*v, width(v)], axis=1)


def tables(network: IntegerNetwork) -> dict[str, np.ndarray]:
    """The certificate of every layer that has one, int64, whether it is within the limits or not.

    Args:
      network: its stored certificates are not looked at.

    Returns:
      By the layers' names [filters, 10] for convolutions and dense layers, [channels, 3] for
      adds.
    """
    known: dict[str, np.ndarray] = {}
    for layer in network.layers:
        if isinstance(layer, Convolution):
            known[layer.name] = of_convolution(layer.weights, layer.affine)
        elif isinstance(layer, Dense):
            known[layer.name] = of_dense(layer.weights, layer.bias)
        elif isinstance(layer, Add):
            known[layer.name] = of_add(*(_branch(layer, i, known) for i in (0, 1)))
    return known


def _branch(layer: Add, index: int, known: dict[str, np.ndarray]) -> Range:
    """What one input of an add can be, shifted to the left where it is activations."""
    lift = layer.lift[index]
    if lift is None:
        table = known[layer.inputs[index]]
        return Range(table[:, 4], table[:, 5])
    one = np.int64(1) << lift.astype(np.int64)
    return Range(MIN_ACTIVATION * one, MAX_ACTIVATION * one)


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
