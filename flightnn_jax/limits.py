"""Several budgets at once, each with a price for every term of every filter.

As `budget`, for what a mean k does not say: energy, tables, or the cycles of a layer's engine.

    spec = gates_within(params, spec, limits, ramp(step, steps), importance=adam_state.nu)

The numbers of `Limits` are arguments: other bounds compile nothing anew.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from flightnn_jax import gates
from flightnn_jax import spec as specs
from flightnn_jax.formats import shift

PyTree = Any

_LEAST = 1e-30  # a room, so that what has none is worth little and not NaN
_SLACK = 2.0**-21  # of float32 sums, relative


class Limits(NamedTuple):
    """What terms may cost in all, by several limits.

    Attributes:
      prices: a tree like the parameters, with [limits, k, filters] in place of each array in a
        shift format, and None elsewhere.
      room: [limits] what all terms may cost at the end.
      most: [limits] what all of them cost.
      prune: a tree like `prices` of [] bool, whether an array's first terms compete, too. One of
        each array stays, and a filter that has lost its first term has lost it for good: where
        nothing is computed, Adam's means say nothing of what it would be worth.
    """

    prices: PyTree
    room: Any
    most: Any
    prune: PyTree


def gates_within(
    params: PyTree, spec: PyTree, limits: Limits, left: Any, *, importance: PyTree
) -> PyTree:
    r"""Opens the gates that limits allow, those that are worth most for their cost first.

    .. math:: \sum_i \sum_{t < k_i} p_{l,t,i} \le R_l \;\forall l, \qquad \text{in the order of}
       \quad \sum_{j \in i} v_j r_{j,t}^2 \;/\; \max_l \frac{p_{l,t,i}}{R_l}

    Args:
      params: parameters.
      spec: a spec tree for them whose shift formats have thresholds [k, filters].
      limits: see there.
      left: the part of the way from all terms to the limits that is left, 1 to 0: the rooms are
        R = room + left (most - room), where that is more.
      importance: as in `budget.gates_for`.

    Returns:
      The spec with thresholds [k, filters] in its shift formats, as `budget.gates_for` gives them.

    Example:
      >>> from flightnn_jax import Shift, count_shifts, init_thresholds
      >>> w = jnp.array([[0.75, 0.5, 0.7], [0.3, -0.25, 0.1]])  # the second filter is nearly exact
      >>> spec = init_thresholds(w, Shift(k=2), "filter")
      >>> prices = jnp.array([[[1.0, 1.0, 1.0], [2.0, 2.0, 3.0]]])
      >>> limits = Limits(prices, jnp.array([5.0]), jnp.array([10.0]), jnp.array(False))
      >>> spec = gates_within(w, spec, limits, 0.0, importance=jnp.ones_like(w))
      >>> count_shifts(w, spec).k.tolist()
      [2, 1, 1]
    """
    matched = specs.with_numbers(params, spec, "gates_within")
    structure = jax.tree.structure(params)
    given = structure.flatten_up_to(importance)  # type: ignore[attr-defined]  # not in its stub
    priced = structure.flatten_up_to(limits.prices)  # type: ignore[attr-defined]
    pruned = structure.flatten_up_to(limits.prune)  # type: ignore[attr-defined]
    weights, layers = [], []
    for w, v, price, prune in zip(matched, given, priced, pruned, strict=True):
        if isinstance(w.format, shift.Shift):
            weights.append((dataclasses.replace(w.format, thresholds=None), w.leaf, v))
            layers.append(_Layer(jnp.asarray(price, jnp.float32), w.format.thresholds, prune))
    room = limits.room + jnp.maximum(limits.most - limits.room, 0) * left
    leaves = gates.respecified(matched, _thresholds(weights, layers, room.astype(jnp.float32)))
    return jax.tree.unflatten(structure, leaves)


class _Layer(NamedTuple):
    """An array's part of `Limits`, and the thresholds that it has."""

    prices: jax.Array
    before: jax.Array
    prune: jax.Array


@jax.jit
def _thresholds(
    weights: list[gates.Weights], layers: list[_Layer], room: jax.Array
) -> list[jax.Array]:
    """[k, filters] for each array."""
    most = max(fmt.k for fmt, _, _ in weights)
    worth, price, sure = [], [], []
    shares = jnp.maximum(room, _LEAST)[:, None, None]
    for each, (p, t, prune) in zip(weights, layers, strict=True):
        errors, norms = gates.errors(each)
        lost = prune & (t[:1] > 0)  # [1, filters]
        errors = jnp.where(lost, -1, errors)
        best = jnp.arange(errors.shape[1])[None] == jnp.argmax(errors[0])
        first = jnp.arange(len(errors))[:, None] == 0
        cost = jnp.max(p / shares, axis=0, initial=0)
        missing = [(0, most - each[0].k), (0, 0)]
        priced_at = errors / jnp.where(cost > 0, cost, 1)
        values = jnp.where(lost, -1, jnp.where(cost > 0, priced_at, jnp.inf))
        worth.append(jnp.pad(jax.lax.cummin(values), missing))
        sure.append(jnp.pad(first & (best | ~prune) & (norms > 0), missing))
        p = jnp.where(lost, jnp.inf, jnp.where(norms > 0, p, 0))
        price.append(jnp.pad(p, [(0, 0), *missing], constant_values=jnp.inf))
    worths, priced, sures = (jnp.concatenate(x, axis=-1) for x in (worth, price, sure))
    # What stays in any case is paid for at once, even if it is beyond the room.
    spent = jnp.sum(jnp.where(sures, priced, 0), axis=(1, 2))
    rest = jnp.maximum(room * (1 + _SLACK) - spent, 0)
    taken = gates.fill(worths, jnp.where(sures, 0, priced), rest, ~sures)
    return gates.thresholds(taken, weights)
