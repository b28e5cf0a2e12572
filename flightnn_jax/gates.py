"""Which gates of filters open: those that are worth most for what they cost, while there is room.

Thresholds are 0 for an open gate and `CLOSED` for a closed one, so they are masks for as long as
they are kept. `budget` has the room for a mean k, `limits` that for costs in hardware.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from flightnn_jax import filters
from flightnn_jax import spec as specs
from flightnn_jax.formats import base, shift

Weights = tuple[shift.Shift, jax.Array, jax.Array | None]  # format, array, importance

CLOSED = float(np.finfo(np.float32).max)
"""A threshold that no residual reaches; an open gate's is 0, which an exact residual keeps shut."""


def errors(weights: Weights) -> tuple[jax.Array, jax.Array]:
    """What is lost without each term, and whether there is anything to lose.

    Returns:
      [k, filters] the error that a term would save, weighted by importance, or relative to the
      filter without it; [k, filters] norms of the residuals, 0 where a term has nothing to store.
    """
    fmt, w, v = weights
    w = jax.lax.stop_gradient(jnp.asarray(w))
    norms = fmt.residual_norms(w)
    return (_relative(norms) if v is None else _weighted(fmt, w, v, norms)), norms


def _relative(norms: jax.Array) -> jax.Array:
    """[k, filters] squares, relative to the filter; of first terms to the layer's largest."""
    first = norms[:1]
    largest = jnp.max(first, initial=0)
    later = norms[1:] / jnp.where(first > 0, first, 1)
    return jnp.concatenate([first / jnp.where(largest > 0, largest, 1), later]) ** 2


def _weighted(fmt: shift.Shift, w: jax.Array, v: jax.Array, norms: jax.Array) -> jax.Array:
    """[k, filters] sums of v r^2."""
    others = filters.other_axes(w.ndim, fmt.filter_axis)
    sums = []
    for n in range(fmt.k):
        rest = w.astype(norms.dtype) - dataclasses.replace(fmt, k=n).quantize(w).astype(norms.dtype)
        sums.append(jnp.sum(v * rest**2, others))
    return jnp.array(sums, norms.dtype).reshape(norms.shape)


def fill(worth: jax.Array, price: jax.Array, room: jax.Array, later: jax.Array) -> jax.Array:
    """Buys terms in the order of their worth, each that still fits into all rooms.

    Args:
      worth: [k, filters] of a term for its cost; a filter's do not rise with k.
      price: [limits, k, filters], infinite for a term that there is not.
      room: [limits]
      later: [k, filters] whether a term waits for all others.

    Returns:
      [k, filters] which terms are bought; of equal ones the first comes first.
    """
    order = jnp.lexsort((-worth.ravel(), later.ravel()))
    price = price.reshape(len(price), -1)[:, order]

    def waiting(state: tuple[jax.Array, jax.Array]) -> jax.Array:
        taken, room = state
        return ~taken & jnp.all(price <= room[:, None], axis=0)

    def buy(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        taken, room = state
        spent = jnp.cumsum(jnp.where(waiting(state), price, 0), axis=1)
        # A limit that is used up stops those alone that it concerns.
        fits = jnp.all((spent <= room[:, None]) | (price == 0), axis=0)
        bought = waiting(state) & fits
        return taken | bought, room - jnp.sum(jnp.where(bought, price, 0), axis=1)

    start = (jnp.zeros(price.shape[1], bool), room)
    taken, _ = jax.lax.while_loop(lambda state: jnp.any(waiting(state)), buy, start)
    return jnp.zeros_like(taken).at[order].set(taken).reshape(worth.shape)


def respecified(matched: list[specs.Weights], new: list[jax.Array]) -> list[base.Format | None]:
    """The formats of a spec, those of shifts with new thresholds, in the order of the leaves."""
    given = iter(new)
    return [
        dataclasses.replace(w.format, thresholds=next(given))
        if isinstance(w.format, shift.Shift)
        else w.format
        for w in matched
    ]


def thresholds(taken: jax.Array, weights: list[Weights]) -> list[jax.Array]:
    """[k, filters] for each array, from [k_max, filters of all] bought terms."""
    is_open = jax.lax.cummin(taken.astype(jnp.int8)) > 0
    chosen = jnp.where(is_open, jnp.float32(0), jnp.float32(CLOSED))  # strong types
    counts = [w.shape[fmt.filter_axis] for fmt, w, _ in weights]
    parts = jnp.split(chosen, np.cumsum(counts)[:-1], axis=1)
    return [part[: fmt.k] for part, (fmt, _, _) in zip(parts, weights, strict=True)]
