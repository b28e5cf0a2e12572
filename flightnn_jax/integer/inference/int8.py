"""The integer network in JAX, fast: the same integers as inference/shifts.py by other means.

Weights are summed up to integers and handed to int8 convolutions and dot products, whose sums are
int32. Three things make that fast on a CPU, where XLA leaves int8 convolutions of few channels to a
loop that is ten times as slow; other platforms have ways of their own:

- Folding: f neighbouring pixels become one of f times the channels. A window of 3 that gives f
  outputs at once sees f + 2 pixels, so some of its weights are zeros, but vectors are full.
- Few inputs are gathered by hand, and one dot product remains.
- A filter with a weight outside of int8 (128 is not rare) is negated if that helps, or is the sum
  of two columns of the product, of which many filters share the second.

A max-pool behind a convolution pools sums, before they are rounded: rounding keeps their order.
"""

import dataclasses
import functools
import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from flightnn_jax.integer import certificate, shapes
from flightnn_jax.integer.certificate import Range
from flightnn_jax.integer.inference import operations
from flightnn_jax.integer.inference.int8_columns import Columns
from flightnn_jax.integer.inference.operations import Tensors
from flightnn_jax.integer.limits import Shape
from flightnn_jax.integer.network import Affine, Convolution, Dense, IntegerNetwork, MaxPool
from flightnn_jax.platforms import Platform

_MIN_PRODUCT = 512  # inputs times filters below which XLA's convolution leaves the fast path
_HALF = 16  # filters that fill half of its vectors
_MAX_GATHERED = 8  # inputs up to which windows are faster gathered by hand
_MIN_OF_GROUP = 8  # channels of a group from which on it has a product of its own
_MAX_GROUPS = 16  # that are computed one beside the other
_WIDE = 128  # filters from which on shared columns have a product of their own
Sums = Callable[[jax.Array], jax.Array]


def build(network: IntegerNetwork, platform: Platform) -> Callable[[jax.Array], Tensors]:
    """The function from images to every layer's output; to be jitted, so that XLA drops the rest.

    Args:
      network: a valid one; its certificates are not needed.
      platform: where it is to run; the ways to sum differ.
    """
    known, proven = shapes.outputs(network), certificate.bounds(network)
    convolutions = {
        layer.name: convolution(
            layer, known[layer.input].shape, proven[layer.name].accumulators, platform
        )
        for layer in network.layers
        if isinstance(layer, Convolution)
    }
    dense = {layer.name: _dense(layer) for layer in network.layers if isinstance(layer, Dense)}

    def outputs(images: jax.Array) -> Tensors:
        sums: Tensors = {}

        def convolve(layer: Convolution, values: Tensors) -> jax.Array:
            own = convolutions[layer.name]
            sums[layer.name] = own.sums(values[layer.input])
            return own.finish(sums[layer.name], network.slope)

        def max_pool(layer: MaxPool, values: Tensors) -> jax.Array:
            before = convolutions.get(layer.input)
            if before is None:
                return operations.max_pool(values[layer.input], layer)
            return before.finish(before.pool(sums[layer.input], layer), network.slope)

        table = operations.without_weights(network.slope) | {
            Convolution: convolve,
            MaxPool: max_pool,
            Dense: lambda layer, values: dense[layer.name](values[layer.input]),
        }
        return operations.run(network.layers, table, images)

    return outputs


@dataclasses.dataclass(frozen=True)
class Compiled:
    """A convolution whose filters may be negated, and what follows it.

    Attributes:
      sums: from activations to sums, of which each filter's may be the negative of acc.
      affine: for these sums; a clip that never takes hold is left out as None.
      clips: whether there is a clip.
      shift: as in `Convolution`.
      linear: likewise.
    """

    sums: Sums
    affine: Affine
    clips: bool
    shift: np.ndarray | None
    linear: bool = False

    def finish(self, acc: jax.Array, slope: int) -> jax.Array:
        """Clip, affine map and activation, with width and channels as one axis.

        XLA then computes them for padded and folded neighbours without dividing indices.
        """
        batch, height, width, channels = acc.shape
        tile = functools.partial(np.tile, reps=width)
        parts = (self.affine.multiplier, self.affine.bias, self.affine.low, self.affine.high)
        tiled = Affine(*map(tile, parts))
        acc = acc.reshape(batch, height, width * channels)
        if self.clips:
            v = operations.affine(acc, tiled)
        else:
            v = acc * tiled.multiplier[None, None] + tiled.bias[None, None]
        if self.shift is not None:
            v = operations.activate(v, tile(self.shift), 0 if self.linear else slope)
        return v.reshape(batch, height, width, channels)

    def pool(self, acc: jax.Array, layer: MaxPool | None = None) -> jax.Array:
        """Of each window, of 2x2 squares by default, the sum that gives the largest activation."""
        falls = self.affine.multiplier < 0
        if not falls.any():
            return operations.max_pool(acc, layer)
        flipped = jnp.asarray(falls.astype(np.int32))[None, None, None]
        # ~acc falls where acc rises
        return operations.max_pool(acc ^ -flipped, layer) ^ -flipped


def convolution(layer: Convolution, input_shape: Shape, acc: Range, platform: Platform) -> Compiled:
    """A convolution of a valid network, whose sums are within `acc`."""
    weights, affine, clips = turned(layer, acc)
    shape = (*input_shape[:2], weights.shape[2])
    windows = functools.partial(
        _sums, stride=layer.stride, around=layer.around, input_shape=shape, platform=platform
    )
    if layer.groups == 1:
        sums = windows(Columns.of(weights))
    elif weights.shape[2] < _MIN_OF_GROUP or layer.groups > _MAX_GROUPS:
        sums = functools.partial(_sums_of_groups, weights=weights, layer=layer)
    else:
        parts = np.split(weights, layer.groups, axis=-1)
        sums = _beside([windows(Columns.of(part)) for part in parts])
    return Compiled(sums, affine, clips, layer.shift, layer.linear)


def _beside(groups: list[Sums]) -> Sums:
    """The sums of all groups, each of its own channels."""

    def sums(x: jax.Array) -> jax.Array:
        channels = x.shape[-1] // len(groups)
        parts = [x[..., i * channels : (i + 1) * channels] for i in range(len(groups))]
        made = [own(part) for own, part in zip(groups, parts, strict=True)]
        return jnp.concatenate(made, axis=-1)

    return sums


def _sums_of_groups(x: jax.Array, weights: np.ndarray, layer: Convolution) -> jax.Array:
    """Products in int32, place by place and channel by channel of all groups at once.

    XLA has no grouped convolution of int8 that is fast on a CPU, or right on a GPU (xla#49123).
    """
    size, _, channels, filters = weights.shape
    places = operations.places_of(x.astype(jnp.int32), size, layer.stride, layer.around)
    total = jnp.zeros((*places[0].shape[:-1], filters), jnp.int32)
    for place, w in zip(places, weights.reshape(-1, channels, filters), strict=True):
        of_groups = place.reshape(*place.shape[:-1], layer.groups, channels)
        for i in range(channels):
            seen = jnp.repeat(of_groups[..., i], filters // layer.groups, axis=-1)
            total = total + seen * jnp.asarray(w[i])[None, None, None]
    return total


class Turned(NamedTuple):
    """A convolution some of whose filters are negated, so that more of their weights fit int8.

    Attributes:
      weights: [size, size, inputs, filters] int32.
      affine: for sums of these weights.
      clips: whether its clip ever takes hold.
    """

    weights: np.ndarray
    affine: Affine
    clips: bool


def turned(layer: Convolution, acc: Range | None = None) -> Turned:
    """Negates filters where that helps, or where it makes a multiplier positive.

    Args:
      layer: of a valid network.
      acc: what its sums can be; by default whatever its weights allow.
    """
    weights = layer.weights.integers()
    sign = _signs(weights, layer.affine)
    affine = layer.affine
    bounds = acc or certificate.accumulators(layer.weights)
    low, high = np.maximum(affine.low, bounds.low), np.minimum(affine.high, bounds.high)
    clips = bool(np.any(affine.low > bounds.low) or np.any(affine.high < bounds.high))
    if clips:  # one side may lie beyond all sums
        low, high = np.minimum(low, affine.high), np.maximum(high, affine.low)
    low, high = np.where(sign < 0, -high, low), np.where(sign < 0, -low, high)
    multiplier = affine.multiplier.astype(np.int64) * sign
    numbers = (part.astype(np.int32) for part in (multiplier, affine.bias, low, high))
    return Turned(weights * sign, Affine(*numbers), clips)


def _signs(weights: np.ndarray, affine: Affine) -> np.ndarray:
    """[filters] -1 for filters of which fewer weights are beyond int8 when they are negated.

    Where that makes no difference, -1 if the multiplier is negative.
    """
    flat = weights.reshape(-1, weights.shape[-1])
    beyond = np.count_nonzero((flat > 127) | (flat < -128), axis=0)
    beyond_negated = np.count_nonzero((flat > 128) | (flat < -127), axis=0)
    tied = (beyond == beyond_negated) & (affine.multiplier < 0)
    possible = affine.high > np.iinfo(np.int32).min  # a clip to -2**31 has no negative
    return np.where(((beyond > beyond_negated) | tied) & possible, -1, 1)


def _join(columns: Columns, own: jax.Array, shared: Sequence[jax.Array]) -> jax.Array:
    """Each filter's sum.

    Args:
      columns: of the weights.
      own: [..., filters] the sums of its `own`.
      shared: [..., 1] those of each of its `shared`.
    """
    total = own
    for i, sums in enumerate(shared):
        mask = -(columns.adds == i).any(axis=0).astype(np.int32)
        total = total + (sums & mask.reshape((1,) * (own.ndim - 1) + (-1,)))
    return total


def _dense(layer: Dense) -> Sums:
    columns = Columns.of(layer.weights.integers())
    units, others = columns.own.shape[-1], columns.shared.shape[-1]
    every = np.concatenate([columns.own, columns.shared], axis=-1)

    def sums(x: jax.Array) -> jax.Array:
        products = _dot(x, every)
        shared = [products[:, i : i + 1] for i in range(units, units + others)]
        return _join(columns, products[:, :units], shared) + layer.bias[None]

    return sums


def _dot(x: jax.Array, weights: np.ndarray) -> jax.Array:
    return lax.dot(x, jnp.asarray(weights), preferred_element_type=jnp.int32)


def _sums(
    columns: Columns, stride: int, input_shape: Shape, platform: Platform, around: int | None = None
) -> Sums:
    """The sums of all columns by one product, or the shared ones by their own; joined."""
    of_windows = functools.partial(
        _sums_of_windows,
        stride=stride,
        input_shape=input_shape,
        platform=platform,
        around=around,
    )
    filters, others = columns.own.shape[-1], columns.shared.shape[-1]
    if not others:
        return of_windows(columns.own)
    if filters >= _WIDE:
        own = of_windows(columns.own)
        filled = np.pad(columns.shared, ((0, 0),) * 3 + ((0, -others % _HALF),))
        shared = of_windows(filled)

        def both(x: jax.Array) -> tuple[jax.Array, jax.Array]:
            return own(x), shared(x)
    else:
        every = np.concatenate([columns.own, columns.shared], axis=-1)
        product = of_windows(every)

        def both(x: jax.Array) -> tuple[jax.Array, jax.Array]:
            sums = product(x)
            return sums[..., :filters], sums[..., filters:]

    def sums(x: jax.Array) -> jax.Array:
        first, rest = both(x)
        return _join(columns, first, [rest[..., i : i + 1] for i in range(others)])

    return sums


def _sums_of_windows(
    weights: np.ndarray,
    stride: int,
    input_shape: Shape,
    platform: Platform,
    around: int | None = None,
) -> Sums:
    """One of several equal ways: on a CPU the fastest, by rules that were measured.

    XLA knows no convolution of integers for GPUs, so windows are gathered there. On a TPU it has
    one that reads every activation once.
    """
    size, _, inputs, filters = weights.shape
    around = size // 2 if around is None else around
    padding = ((around, around),) * 2
    if platform == "tpu":
        return lambda x: _convolve(x, weights, stride, padding)
    convolves = platform == "cpu" and _convolutions_are_fast()
    folds = stride == 1 and size > 1 and input_shape[1] % 2 == 0 and around == size // 2
    if folds and inputs <= _MAX_GATHERED:
        return lambda x: _folded(x, weights, gather=True)
    if folds and convolves and inputs * filters < _MIN_PRODUCT <= 4 * inputs * filters:
        return lambda x: _folded(x, weights, gather=False)
    if convolves and inputs * filters >= _MIN_PRODUCT:
        return lambda x: _convolve(x, weights, stride, padding)
    return lambda x: _gathered(operations.patches_of(x, size, stride, around), weights)


def _convolutions_are_fast() -> bool:
    """Not under the flag with which training runs, where they are loops (jaxlib 0.10)."""
    return "-individual_convolution" not in os.environ.get("XLA_FLAGS", "")


def _convolve(
    x: jax.Array, weights: np.ndarray, stride: int, padding: tuple[tuple[int, int], ...]
) -> jax.Array:
    return lax.conv_general_dilated(
        x,
        jnp.asarray(weights),
        (stride, stride),
        padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        preferred_element_type=jnp.int32,
    )


def _gathered(patches: jax.Array, weights: np.ndarray) -> jax.Array:
    rows = patches.reshape(-1, patches.shape[-1])
    sums = _dot(rows, weights.reshape(-1, weights.shape[-1]))
    return sums.reshape(*patches.shape[:-1], -1)


def _folded(x: jax.Array, weights: np.ndarray, gather: bool) -> jax.Array:
    """A convolution of stride 1 that computes two neighbouring pixels at once.

    When windows are gathered, pairs of outputs begin half a pair before the image where the
    window asks for it: a window of 3 then sees two pairs of inputs and not three. What lies
    outside of the image is cut off. XLA's fast convolution knows no such padding.

    Args:
      x: [batch, height, width, inputs] int8, width even.
      weights: [size, size, inputs, filters] int8.
      gather: windows by hand and a dot product, or a convolution.
    """
    size, _, inputs, filters = weights.shape
    batch, height, width, _ = x.shape
    around = size // 2
    before = around % 2 if gather else 0  # pixels of the first pair that lie before the image
    left = (around + before + 1) // 2  # pairs of padding
    first = 2 * left - before - around  # pixel of its first pair with which a window begins
    groups = (size + first) // 2 + 1  # pairs that it sees
    outputs = (width + before + 1) // 2
    right = outputs - left + groups - 1 - width // 2
    wide = np.zeros((size, groups, 2, inputs, 2, filters), np.int8)
    for pixel in (0, 1):
        for dx in range(size):
            group, place = divmod(first + pixel + dx, 2)
            wide[:, group, place, :, pixel] = weights[:, dx]
    wide = wide.reshape(size, groups, 2 * inputs, 2 * filters)
    pairs = x.reshape(batch, height, width // 2, 2 * inputs)
    if gather:
        pairs = jnp.pad(pairs, ((0, 0), (around, around), (left, right), (0, 0)))
        seen = [
            pairs[:, dy : dy + height, group : group + outputs]
            for dy in range(size)
            for group in range(groups)
        ]
        sums = _gathered(jnp.concatenate(seen, axis=-1), wide)
    else:
        sums = _convolve(pairs, wide, 1, ((around, around), (left, right)))
    pixels = sums.reshape(batch, height, 2 * outputs, filters)
    return pixels[:, :, before : before + width]
