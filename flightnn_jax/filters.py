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


def other_axes(ndim: int, filter_axis: int) -> tuple[int, ...]:
    """All axes but the one that counts the filters.

    Example:
      >>> other_axes(4, -1), other_axes(4, 0)
      ((0, 1, 2), (1, 2, 3))
    """
    return tuple(i for i in range(ndim) if i != filter_axis % ndim)


def sums_over_filters(
    summands: Sequence[jax.Array], filter_axis: int, group: int = 8, at_once: int = 2
) -> jax.Array:
    """Sums each array over all axes but the filter axis.

    The sums fuse with the element-wise code behind the summands, so that none of these is ever
    written to memory. A CPU needs help for that: XLA hands a plain sum to a library, which first
    writes down whatever it cannot compute itself, but keeps a sum of several arrays at once; and
    it unrolls one over a few neighbours into vector code, but no longer one. So several arrays
    are summed together over small groups, and what is left of them by plain sums.

    Args:
      summands: arrays [...] of one shape and type.
      filter_axis: the axis that is kept.
      group: how many neighbours to sum at first.
      at_once: how many arrays to sum together. The compiler gives up on loops with more than
        about sixteen additions, fewer where a summand takes much computing:
        benchmarks/quantize.py shows it at once.

    Returns:
      [len(summands), filters].
    """
    sums: list[jax.Array] = []
    for i in range(0, len(summands), at_once):
        together = list(summands[i : i + at_once])
        if len(together) > 1:
            sums += _sums_at_once(together, filter_axis, group)
        else:
            twice = _sums_at_once(together * 2, filter_axis, group)
            sums.append((twice[0] + twice[1]) / 2)
    return jnp.stack(sums)


def _sums_at_once(arrays: list[jax.Array], filter_axis: int, group: int) -> list[jax.Array]:
    # Of the axis beside the filters' (in Flax's layout the input channels) groups of neighbours
    # are summed. It is split so that its groups stay where it is sharded, and none are merged.
    shape, axis = arrays[0].shape, filter_axis % arrays[0].ndim
    if arrays[0].ndim == 1:
        return arrays
    beside = axis - 1 if axis else 1
    length = shape[beside] // _shards(arrays[0], beside)
    group = next(divisor for divisor in range(group, 0, -1) if length % divisor == 0)
    split = (*shape[:beside], shape[beside] // group, group, *shape[beside + 1 :])
    zero = jnp.zeros((), arrays[0].dtype)
    partial = jax.lax.reduce(
        [x.reshape(split) for x in arrays], [zero] * len(arrays), _add_all, (beside + 1,)
    )
    return [jnp.sum(x, other_axes(x.ndim, filter_axis)) for x in partial]


def _add_all(a: list[jax.Array], b: list[jax.Array]) -> list[jax.Array]:
    return [p + q for p, q in zip(a, b, strict=True)]


def _shards(x: jax.Array, axis: int) -> int:
    """Over how many devices an axis is split, as far as its type says."""
    sharding = jax.typeof(x).sharding
    names = sharding.spec[axis] if axis < len(sharding.spec) else None
    if not isinstance(names, tuple):
        names = () if names is None else (names,)
    return math.prod(sharding.mesh.shape[name] for name in names)
