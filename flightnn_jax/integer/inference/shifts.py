"""The integer network in JAX, by shifts and additions: the reference that other paths must equal.

docs/integers.md says what is computed. Activations are int8, everything else is int32, and the
certificate proves that none overflows. A weight is never multiplied with: activations are shifted
by its terms. (Weights of kind "integer" have no terms, and are.)
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from flightnn_jax.integer.network import (
    IMAGE,
    Add,
    Affine,
    Average,
    Convolution,
    IntegerNetwork,
    IntegerWeights,
    Layer,
    MaxPool,
    Weights,
)

LEAST, MOST = -128, 127  # of an activation
Tensors = dict[str, jax.Array]


def layer_outputs(network: IntegerNetwork, images: jax.Array) -> Tensors:
    """Every layer's output, by name.

    Args:
      network: what to compute.
      images: [batch, height, width, channels] uint8.

    Returns:
      For each layer [batch, *shape of its output], int8 activations or int32 sums.
    """
    values = {IMAGE: image_activations(images)}
    for layer in network.layers:
        values[layer.name] = _output(layer, values, network.slope)
    del values[IMAGE]
    return values


def image_activations(images: jax.Array) -> jax.Array:
    """Bytes less 128, int8: the flipped sign bit of each byte."""
    return jax.lax.bitcast_convert_type(images ^ jnp.uint8(128), jnp.int8)


def _output(layer: Layer, values: Tensors, slope: int) -> jax.Array:
    if isinstance(layer, Convolution):
        acc = convolution_sums(values[layer.input], layer)
        v = affine(acc, layer.affine)
        return v if layer.shift is None else activate(v, layer.shift, slope)
    if isinstance(layer, Add):
        return add(layer, values, slope)
    if isinstance(layer, MaxPool):
        return max_pool(values[layer.input])
    if isinstance(layer, Average):
        return average(values[layer.input], layer.shift)
    return shift_dot(values[layer.input], layer.weights) + _row(layer.bias, 2)


def convolution_sums(x: jax.Array, layer: Convolution) -> jax.Array:
    """The sums acc of a convolution, [batch, height, width, filters] int32."""
    patches = patches_of(x, layer.weights.shape[0], layer.stride)
    rows = patches.reshape(-1, patches.shape[-1])
    return shift_dot(rows, layer.weights).reshape(*patches.shape[:-1], -1)


def patches_of(x: jax.Array, size: int, stride: int) -> jax.Array:
    """What each position's window sees, [batch, height, width, size size channels].

    The order in the last axis is that of weights: dy, dx, channel.
    """
    around = size // 2
    height, width = (-(-n // stride) for n in x.shape[1:3])
    padded = jnp.pad(x, ((0, 0), (around, around), (around, around), (0, 0)))
    seen = [
        padded[:, dy : dy + (height - 1) * stride + 1 : stride][
            :, :, dx : dx + (width - 1) * stride + 1 : stride
        ]
        for dy in range(size)
        for dx in range(size)
    ]
    return jnp.concatenate(seen, axis=-1)


def shift_dot(x: jax.Array, weights: Weights) -> jax.Array:
    """Sums over all inputs of weight times activation, [rows, filters] int32.

    Args:
      x: [rows, inputs] int8.
      weights: [..., filters], whose other axes count `inputs` values.

    Example:
      >>> from flightnn_jax.integer.network import ShiftWeights
      >>> sign = np.array([[[1], [-1]], [[-1], [1]]], np.int8)
      >>> shift = np.array([[[3], [2]], [[0], [1]]], np.uint8)
      >>> weights = ShiftWeights(sign, shift, np.array([2], np.uint8))  # 8 - 1 and -4 + 2
      >>> shift_dot(jnp.array([[5, 100]], jnp.int8), weights).tolist()  # 7 * 5 - 2 * 100
      [[-165]]
    """
    filters = weights.shape[-1]
    if isinstance(weights, IntegerWeights):
        return _scan(x, _multiplied, weights.value.reshape(-1, filters))
    total = jnp.zeros((x.shape[0], filters), jnp.int32)
    for j in range(weights.sign.shape[0]):
        which = np.flatnonzero(weights.k > j)  # the others have no such term
        sign = weights.sign[j].reshape(-1, filters)[:, which]
        shift = weights.shift[j].reshape(-1, filters)[:, which]
        total = total.at[:, which].add(_scan(x, _shifted, sign < 0, shift))
    return total


def _shifted(x: jax.Array, negative: jax.Array, shift: jax.Array) -> jax.Array:
    shifted = jnp.left_shift(x, shift.astype(jnp.int32))
    return jnp.where(negative, -shifted, shifted)


def _multiplied(x: jax.Array, value: jax.Array) -> jax.Array:
    return x * value.astype(jnp.int32)


def _scan(x: jax.Array, product: Callable[..., jax.Array], *weights: np.ndarray) -> jax.Array:
    """Adds `product` of one input after the other: filters fill the vector units.

    A sum over a [rows, inputs, filters] array is 40 times as slow, as XLA writes that array down.
    """
    rows, filters = x.shape[0], weights[0].shape[-1]

    def step(total: jax.Array, of_input: tuple[jax.Array, ...]) -> tuple[jax.Array, None]:
        column, *parts = of_input
        wide = column.astype(jnp.int32)[:, None]
        return total + product(wide, *(part[None] for part in parts)), None

    zeros = jnp.zeros((rows, filters), jnp.int32)
    return jax.lax.scan(step, zeros, (x.T, *map(jnp.asarray, weights)))[0]


def _row(values: np.ndarray, rank: int) -> jax.Array:
    """Numbers of each channel, as int32 with `rank` axes."""
    return jnp.asarray(values, jnp.int32).reshape((1,) * (rank - 1) + (-1,))


def affine(acc: jax.Array, numbers: Affine) -> jax.Array:
    """clip(acc, low, high) * multiplier + bias."""
    low, high, multiplier, bias = (
        _row(part, acc.ndim)
        for part in (numbers.low, numbers.high, numbers.multiplier, numbers.bias)
    )
    return jnp.clip(acc, low, high) * multiplier + bias


def even(v: jax.Array, n: jax.Array) -> jax.Array:
    """Rounds v / 2**n to the nearest integer, ties to the even one, for 0 <= n <= 30.

    Args:
      v: int32 of at most 31 bits, or half a step more would overflow.
      n: int32, of a shape that broadcasts with it.

    Example:
      >>> even(jnp.array([5, 6, 7, -6, -7]), jnp.array([2])).tolist()  # 1.25, 1.5, 1.75, ...
      [1, 2, 2, -2, -2]
      >>> even(jnp.array([10, 14]), jnp.array([2])).tolist()  # 2.5 and 3.5
      [2, 4]
    """
    below_half = jnp.maximum((jnp.left_shift(1, n) >> 1) - 1, 0)
    odd = (v >> n) & jnp.minimum(n, 1)  # nothing is rounded where n = 0
    return (v + below_half + odd) >> n


def activate(v: jax.Array, shift: np.ndarray, slope: int) -> jax.Array:
    """The leaky ReLU, one rounding and one saturation.

    Args:
      v: [..., channels] int32.
      shift: [channels].
      slope: the shift is longer by so much where v is negative.

    Returns:
      [..., channels] int8.
    """
    up = _row(shift, v.ndim)
    rounded = even(v, jnp.where(v < 0, up + slope, up))
    return jnp.clip(rounded, LEAST, MOST).astype(jnp.int8)


def add(layer: Add, values: Tensors, slope: int) -> jax.Array:
    """The sum of two tensors, activated."""
    parts = [values[name] for name in layer.inputs]
    v = sum(
        u if lift is None else jnp.left_shift(u.astype(jnp.int32), _row(lift, u.ndim))
        for u, lift in zip(parts, layer.lift, strict=True)
    )
    return activate(jnp.asarray(v), layer.shift, slope)


def max_pool(x: jax.Array) -> jax.Array:
    """The largest of each 2x2 square."""
    rows = jnp.maximum(x[:, ::2], x[:, 1::2])
    return jnp.maximum(rows[:, :, ::2], rows[:, :, 1::2])


def average(x: jax.Array, shift: int | None) -> jax.Array:
    """The sum over all positions: int32, or rounded to int8 by `shift`."""
    total = x.astype(jnp.int32).sum(axis=(1, 2), dtype=jnp.int32)
    if shift is None:
        return total
    if shift < 0:
        rounded = jnp.left_shift(total, -shift)
    else:
        rounded = even(total, jnp.full((1, 1), shift, jnp.int32))
    return jnp.clip(rounded, LEAST, MOST).astype(jnp.int8)
