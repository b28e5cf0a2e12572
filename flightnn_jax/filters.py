"""Filters of an array of weights: sums over each of them, and values spread back over them.

A filter is everything that one output channel sees: all elements that share an index on the
filter axis. Kernels of Flax and Haiku have it last, those of Equinox and PyTorch first.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp


def per_filter(values: jax.Array, ndim: int, filter_axis: int) -> jax.Array:
    """Reshapes values [..., filters] so that they broadcast against weights of `ndim` axes.

    Args:
      values: [..., filters]; leading axes stay in front of the weights' axes.
      ndim: number of axes of the weights.
      filter_axis: which of them counts the filters.
    """
    shape = [1] * ndim
    shape[filter_axis] = values.shape[-1]
    return values.reshape(*values.shape[:-1], *shape)


def sums_over_filters(summands: Sequence[jax.Array], filter_axis: int) -> jax.Array:
    """Sums each array over all axes but the filter axis.

    All sums are taken in one pass that fuses with the element-wise code behind the summands, so
    none of these is ever written to memory. On a CPU that takes two steps: a sum of several
    arrays at once over a few neighbours, which the compiler unrolls into vector code, and a plain
    sum over what is left.

    Args:
      summands: arrays [...] of one shape and type, two or more axes unless the filters are single
        elements.
      filter_axis: the axis that is kept.

    Returns:
      [len(summands), filters].
    """
    shape, axis = summands[0].shape, filter_axis % summands[0].ndim
    # Sixteen running sums are as many as the compiler unrolls; measured in benchmarks/quantize.py.
    most = 8 if len(summands) <= 2 else 4
    if axis:
        before, length, after = shape[: axis - 1], shape[axis - 1], shape[axis:]
        group = _largest_divisor(length, most)
        split, over = (*before, length // group, group, *after), axis
    else:
        length = math.prod(shape[1:])
        group = _largest_divisor(length, most)
        split, over = (shape[0], group, length // group), 1
    zeros = [jnp.zeros((), x.dtype) for x in summands]
    partial = jax.lax.reduce(
        [x.reshape(split) for x in summands],
        zeros,
        lambda a, b: [p + q for p, q in zip(a, b, strict=True)],
        (over,),
    )
    kept = axis if axis else 0
    rest = tuple(i for i in range(partial[0].ndim) if i != kept)
    return jnp.stack([jnp.sum(x, rest) for x in partial])


def _largest_divisor(length: int, most: int) -> int:
    """The largest number up to `most` that divides `length`."""
    return next(d for d in range(most, 0, -1) if length % d == 0)
