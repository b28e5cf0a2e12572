"""What the paths share: all that is computed besides sums of products, and the run over layers.

A path is a table of operations, one for each kind of layer; it makes those of the layers with
weights, and others where it knows better. Activations are int8, everything else is int32, and the
certificate proves that none overflows.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from flightnn_jax.integer.limits import IMAGE, MAX_ACTIVATION, MIN_ACTIVATION
from flightnn_jax.integer.network import (
    Add,
    Affine,
    Average,
    Convolution,
    Flatten,
    Layer,
    MaxPool,
)

Tensors = dict[str, jax.Array]
Operation = Callable[[Any, Tensors], jax.Array]  # of a layer and all outputs before it, its own


def run(layers: Iterable[Layer], operations: Mapping[type, Operation], images: Any) -> Tensors:
    """Every layer's output, by name.

    Args:
      layers: of a network, in their order.
      operations: by the layers' types.
      images: [batch, height, width, channels] uint8.

    Returns:
      For each layer [batch, *shape of its output], int8 activations or int32 sums.
    """
    values = {IMAGE: image_activations(images)}
    for layer in layers:
        values[layer.name] = operations[type(layer)](layer, values)
    del values[IMAGE]
    return values


def without_weights(slope: int) -> dict[type, Operation]:
    """The operations of layers that have no weights."""
    return {
        Add: lambda layer, values: add(layer, values, slope),
        MaxPool: lambda layer, values: max_pool(values[layer.input], layer),
        Flatten: lambda layer, values: flatten(values[layer.input], layer),
        Average: lambda layer, values: average(values[layer.input], layer.shift),
    }


def image_activations(images: jax.Array) -> jax.Array:
    """Bytes less 128, int8: the flipped sign bit of each byte."""
    return jax.lax.bitcast_convert_type(images ^ jnp.uint8(128), jnp.int8)


def patches_of(x: jax.Array, size: int, stride: int, around: int | None = None) -> jax.Array:
    """What each position's window sees, [batch, height, width, size size channels].

    The order in the last axis is that of weights: dy, dx, channel. There are so many zeros
    `around` the input, by default half of the window.
    """
    return jnp.concatenate(places_of(x, size, stride, around), axis=-1)


def places_of(x: jax.Array, size: int, stride: int, around: int | None = None) -> list[jax.Array]:
    """What all positions see at each place dy, dx of a window, [batch, height, width, channels]."""
    around = size // 2 if around is None else around
    height, width = ((n + 2 * around - size) // stride + 1 for n in x.shape[1:3])
    padded = jnp.pad(x, ((0, 0), (around, around), (around, around), (0, 0)))
    return [
        padded[:, dy : dy + (height - 1) * stride + 1 : stride][
            :, :, dx : dx + (width - 1) * stride + 1 : stride
        ]
        for dy in range(size)
        for dx in range(size)
    ]


def windows_of(x: jax.Array, layer: Convolution) -> jax.Array:
    """What the groups of a convolution see, [batch, height, width, groups, inputs of a filter].

    The order in the last axis is that of weights: dy, dx, channel.
    """
    size, _, channels, _ = layer.weights.shape
    places = places_of(x, size, layer.stride, layer.around)
    split = [place.reshape(*place.shape[:-1], layer.groups, channels) for place in places]
    return jnp.concatenate(split, axis=-1)


def row(values: np.ndarray, rank: int) -> jax.Array:
    """Numbers of each channel, as int32 with `rank` axes."""
    return jnp.asarray(values, jnp.int32).reshape((1,) * (rank - 1) + (-1,))


def affine(acc: jax.Array, numbers: Affine) -> jax.Array:
    """clip(acc, low, high) * multiplier + bias."""
    low, high, multiplier, bias = (
        row(part, acc.ndim)
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
    up = row(shift, v.ndim)
    rounded = even(v, jnp.where(v < 0, up + slope, up))
    return jnp.clip(rounded, MIN_ACTIVATION, MAX_ACTIVATION).astype(jnp.int8)


def behind(layer: Convolution, v: jax.Array, slope: int) -> jax.Array:
    """What a convolution of a network of this slope hands on: its v, or activations of it."""
    return v if layer.shift is None else activate(v, layer.shift, layer.slope_of(slope))


def add(layer: Add, values: Tensors, slope: int) -> jax.Array:
    """The sum of two tensors, activated."""
    parts = [values[name] for name in layer.inputs]
    v = sum(
        u if lift is None else jnp.left_shift(u.astype(jnp.int32), row(lift, u.ndim))
        for u, lift in zip(parts, layer.lift, strict=True)
    )
    return activate(jnp.asarray(v), layer.shift, slope)


def max_pool(x: jax.Array, layer: MaxPool | None = None) -> jax.Array:
    """The largest of each window of a pool, of each 2x2 square by default."""
    if layer is not None and not layer.is_plain:
        window, around = layer.size, (layer.padding, layer.padding)
        return jax.lax.reduce_window(
            x,
            jnp.asarray(jnp.iinfo(x.dtype).min, x.dtype),
            jax.lax.max,
            (1, window, window, 1),
            (1, layer.stride, layer.stride, 1),
            ((0, 0), around, around, (0, 0)),
        )
    rows = jnp.maximum(x[:, ::2], x[:, 1::2])
    return jnp.maximum(rows[:, :, ::2], rows[:, :, 1::2])


def flatten(x: jax.Array, layer: Flatten) -> jax.Array:
    """All values of an image in a row."""
    return x.reshape(x.shape[0], *[1] * (layer.axes - 1), -1)


def average(x: jax.Array, shift: ArrayLike | None) -> jax.Array:
    """The sum over all positions: int32, or rounded to int8 by `shift`, []."""
    total = x.astype(jnp.int32).sum(axis=(1, 2), dtype=jnp.int32)
    if shift is None:
        return total
    right = jnp.asarray(shift, jnp.int32)
    rounded = even(jnp.left_shift(total, jnp.maximum(-right, 0)), jnp.maximum(right, 0))
    return jnp.clip(rounded, MIN_ACTIVATION, MAX_ACTIVATION).astype(jnp.int8)
