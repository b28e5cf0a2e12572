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


def sums_over_filters(summands: Sequence[jax.Array], filter_axis: int, group: int) -> jax.Array:
    """Sums each array over all axes but the filter axis.

    The sums fuse with the element-wise code behind the summands, so that none of these is ever
    written to memory. A CPU needs help for that: XLA hands a plain sum to a library, which first
    writes down whatever it cannot compute itself, but keeps a sum of two arrays at once; and it
    unrolls one over a few neighbours into vector code, but no longer one. So the arrays are
    summed in pairs over small groups, and what is left of them by plain sums.

    Args:
      summands: arrays [...] of one shape and type.
      filter_axis: the axis that is kept.
      group: how many neighbours to sum at first: 8, less where a summand takes much computing
        (the compiler gives up on large loops; benchmarks/quantize.py shows it at once).

    Returns:
      [len(summands), filters].
    """
    sums: list[jax.Array] = []
    for i in range(0, len(summands), 2):
        first, *second = summands[i : i + 2]
        if second:
            sums += _pair_of_sums(first, second[0], filter_axis, group)
        else:
            twice = _pair_of_sums(first, first, filter_axis, group)
            sums.append((twice[0] + twice[1]) / 2)
    return jnp.stack(sums)


def _pair_of_sums(
    first: jax.Array, second: jax.Array, filter_axis: int, group: int
) -> list[jax.Array]:
    # Of the axis beside the filters' (in Flax's layout the input channels) groups of neighbours
    # are summed. It is split so that its groups stay where it is sharded, and none are merged.
    shape, axis = first.shape, filter_axis % first.ndim
    if first.ndim == 1:
        return [first, second]
    beside = axis - 1 if axis else 1
    group = _largest_divisor(shape[beside] // _shards(first, beside), group)
    split = (*shape[:beside], shape[beside] // group, group, *shape[beside + 1 :])
    zero = jnp.zeros((), first.dtype)
    partial = jax.lax.reduce(
        [first.reshape(split), second.reshape(split)], [zero, zero], _add_both, (beside + 1,)
    )
    rest = tuple(i for i in range(first.ndim) if i != axis)
    return [jnp.sum(x, rest) for x in partial]


def _add_both(a: list[jax.Array], b: list[jax.Array]) -> list[jax.Array]:
    return [a[0] + b[0], a[1] + b[1]]


def _shards(x: jax.Array, axis: int) -> int:
    """Over how many devices an axis is split, as far as its type says."""
    sharding = jax.typeof(x).sharding
    names = sharding.spec[axis] if axis < len(sharding.spec) else None
    if not isinstance(names, tuple):
        names = () if names is None else (names,)
    return math.prod(sharding.mesh.shape[name] for name in names)


def _largest_divisor(length: int, most: int) -> int:
    """The largest number up to `most` that divides `length`."""
    return next(d for d in range(most, 0, -1) if length % d == 0)
