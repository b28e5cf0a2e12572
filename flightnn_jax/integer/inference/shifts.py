"""The integer network in JAX, by shifts and additions: the reference that other paths must equal.

docs/integers.md says what is computed. A weight is never multiplied with: activations are shifted
by its terms. (Weights of kind "integer" have no terms, and are.) Neither is a multiplier where
`affine_terms` says that it is a sum of powers of two: then nothing is multiplied at all.
"""

from typing import Any

import jax
import jax.numpy as jnp

from flightnn_jax.integer.inference import operations
from flightnn_jax.integer.inference.operations import Tensors
from flightnn_jax.integer.network import Affine, Convolution, Dense, IntegerNetwork
from flightnn_jax.integer.powers import signed_powers
from flightnn_jax.integer.weights import ShiftWeights, Summand, Weights


def layer_outputs(network: IntegerNetwork, images: jax.Array) -> Tensors:
    """Every layer's output, by name: see `operations.run`."""
    affine = operations.affine if network.affine_terms is None else affine_by_shifts

    def convolution(layer: Convolution, values: Tensors) -> jax.Array:
        v = affine(convolution_sums(values[layer.input], layer), layer.affine)
        return operations.behind(layer, v, network.slope)

    def dense(layer: Dense, values: Tensors) -> jax.Array:
        return shift_dot(values[layer.input], layer.weights) + operations.row(layer.bias, 2)

    table = operations.without_weights(network.slope) | {Convolution: convolution, Dense: dense}
    return operations.run(network.layers, table, images)


def affine_by_shifts(acc: jax.Array, numbers: Affine) -> jax.Array:
    """clip(acc, low, high) * multiplier + bias, by shifts and additions.

    A power of two alone may be beyond 32 bits; the sum of all is right modulo 2**32, and within.
    """
    low, high, bias = (
        operations.row(x, acc.ndim) for x in (numbers.low, numbers.high, numbers.bias)
    )
    clipped = jnp.clip(acc, low, high)
    v = jnp.broadcast_to(bias, acc.shape)
    for sign, shift in signed_powers(numbers.multiplier):
        negative, up, has = (operations.row(x, acc.ndim) for x in (sign < 0, shift, sign != 0))
        v = v + jnp.where(has > 0, ShiftWeights.product(clipped, negative, up), 0)
    return jnp.broadcast_to(v, acc.shape)


def convolution_sums(x: jax.Array, layer: Convolution) -> jax.Array:
    """The sums acc of a convolution, [batch, height, width, filters] int32."""
    seen = operations.windows_of(x, layer)
    rows = seen.reshape(-1, *seen.shape[-2:])
    return grouped_dot(rows, layer.weights).reshape(*seen.shape[:3], -1)


def shift_dot(x: jax.Array, weights: Weights) -> jax.Array:
    """Sums over all inputs of weight times activation, [rows, filters] int32.

    Args:
      x: [rows, inputs] int8.
      weights: [..., filters], whose other axes count `inputs` values.

    Example:
      >>> import numpy as np
      >>> from flightnn_jax.integer import ShiftWeights
      >>> sign = np.array([[[1], [-1]], [[-1], [1]]], np.int8)
      >>> shift = np.array([[[3], [2]], [[0], [1]]], np.uint8)
      >>> weights = ShiftWeights(sign, shift, np.array([2], np.uint8))  # 8 - 1 and -4 + 2
      >>> shift_dot(jnp.array([[5, 100]], jnp.int8), weights).tolist()  # 7 * 5 - 2 * 100
      [[-165]]
    """
    return grouped_dot(x[:, None], weights)


def grouped_dot(x: jax.Array, weights: Weights) -> jax.Array:
    """As `shift_dot` of [rows, groups, inputs], of which each group of filters reads its own."""
    total = jnp.zeros((x.shape[0], weights.shape[-1]), jnp.int32)
    for summand in weights.summands():
        total = total.at[:, summand.filters].add(_scan(x, weights, summand))
    return total


def _scan(x: jax.Array, weights: Weights, summand: Summand) -> jax.Array:
    """Adds the products of one input after the other: filters fill the vector units.

    A sum over a [rows, inputs, filters] array is 40 times as slow, as XLA writes that array down.
    """
    groups = summand.filters // (weights.shape[-1] // x.shape[1])

    def step(total: jax.Array, of_input: tuple[Any, ...]) -> tuple[jax.Array, None]:
        column, *operands = of_input
        wide = column.astype(jnp.int32)
        if wide.shape[1] > 1:
            wide = wide[:, groups]
        return total + weights.product(wide, *(part[None] for part in operands)), None

    zeros = jnp.zeros((x.shape[0], summand.filters.size), jnp.int32)
    return jax.lax.scan(step, zeros, (jnp.moveaxis(x, 2, 0), *map(jnp.asarray, summand.operands)))[
        0
    ]
