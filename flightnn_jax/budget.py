"""A budget of shifts: the user states the mean k of a network, and the filters share it out.

Not in the paper, where the seed and the length of training decide k. Here thresholds are not
trained but set, before each step, from the parameters alone:

    spec = gates_for(params, spec, budget_at(step, steps, 1.5))
    loss(quantize_params(params, spec), batch)
"""

import dataclasses
import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from flightnn_jax import spec as specs
from flightnn_jax.formats import shift

PyTree = Any
Cost = Literal["filter", "storage"] | PyTree

CLOSED = float(np.finfo(np.float32).max)
"""A threshold that no residual reaches; an open gate's is 0, which an exact residual keeps shut."""

_SLACK = 2.0**-21  # relative, so that 1.3 of 10 filters, which no float is, are 13 terms


def gates_for(params: PyTree, spec: PyTree, mean_k: ArrayLike, cost: Cost = "filter") -> PyTree:
    r"""Opens the gates that a budget pays for, those of the worst filters first.

    .. math:: \frac{\sum_i c_i k_i}{\sum_i c_i} \le \bar k, \qquad
       \text{in the order of} \quad \|r_{i,l}\|_2 / \|w_i\|_2

    The error that a filter would be left with is taken relative to the filter, so filters compete
    across the whole network; of equal ones the first in the tree goes first. Every filter gets
    its first term before any gets a second; a budget below 1 prunes those whose norms are
    smallest beside the largest of their layer. A term that does not fit any more is passed over
    for smaller ones. A residual of exactly zero costs nothing and gets no term.

    Args:
      params: parameters.
      spec: a spec tree for them; thresholds that it may have do not matter.
      mean_k: the budget, from 0 to k; may be traced, and a new value compiles nothing anew.
      cost: what a term of each filter costs: 'filter', all the same; 'storage', its number of
        weights, so that the budget is storage in units of LightNN-1's; or a tree like `params`
        with [filters] numbers, or one for all of them, in place of every array in a shift format
        (anything in place of the others).

    Returns:
      The spec with thresholds [k, filters] in its shift formats, 0 for an open gate and `CLOSED`
      for a closed one. They are constants for `jax.grad`, and stay masks for as long as they are
      kept: weights that move don't move the gates.

    Raises:
      ValueError: if a budget that is not traced lies outside of 0 to k, or a cost does not fit.

    Example:
      >>> import jax.numpy as jnp
      >>> from flightnn_jax import Shift, count_shifts
      >>> w = jnp.array([[0.75, 0.5, 0.7], [0.3, -0.25, 0.1]])  # the second filter is nearly exact
      >>> spec = gates_for(w, Shift(k=2), 1.7)
      >>> count_shifts(w, spec).k.tolist(), round(float(mean_shifts(w, spec)), 4)
      ([2, 1, 2], 1.6667)
    """
    matched, pairs, costs = _filters(params, spec, cost)
    most = max(fmt.k for fmt, _ in pairs)
    if not isinstance(mean_k, jax.core.Tracer) and not 0 <= np.asarray(mean_k) <= most:
        raise ValueError(
            f"a budget of mean_k={mean_k}: filters of this spec take 0 to {most} terms, so give a "
            f"number from 0 to {most}, or make the spec with a larger k"
        )
    found = iter(_thresholds(pairs, costs, jnp.float32(mean_k)))
    leaves = [
        dataclasses.replace(w.format, thresholds=next(found))
        if isinstance(w.format, shift.Shift)
        else w.format
        for w in matched
    ]
    return jax.tree.unflatten(jax.tree.structure(params), leaves)


def mean_shifts(params: PyTree, spec: PyTree, cost: Cost = "filter") -> jax.Array:
    r"""The mean number of open gates, :math:`\sum_i c_i k_i / \sum_i c_i`.

    Args:
      params: parameters.
      spec: a spec tree for them, with any thresholds or none.
      cost: as in `gates_for`.

    Returns:
      A float32 scalar. Works under jit.
    """
    matched, _, costs = _filters(params, spec, cost)
    k = [
        w.format.count_shifts(jnp.asarray(w.leaf)).k
        for w in matched
        if isinstance(w.format, shift.Shift)
    ]
    terms = jnp.concatenate([c * n for c, n in zip(costs, k, strict=True)])
    return jnp.sum(terms) / jnp.sum(jnp.concatenate(costs))


def budget_at(
    step: ArrayLike,
    steps: int,
    mean_k: float,
    *,
    start: float = 2.0,
    begin: float = 0.1,
    end: float = 0.6,
) -> jax.Array:
    r"""The budget of a step: held at `start`, lowered evenly, and held at `mean_k`.

    .. math:: \bar k + (k_0 - \bar k)\,
       \mathrm{clip}\!\left(\frac{e - s / n}{e - b},\ 0,\ 1\right)

    Args:
      step: s, from 0; may be traced.
      steps: n, of the whole training.
      mean_k: the budget that is asked for.
      start: k_0, the budget at first; 2 is LightNN-2.
      begin: b, the part of the training after which the budget falls.
      end: e, the part after which it stays.

    Returns:
      A float32 scalar.

    Example:
      >>> [round(float(budget_at(step, 100, 1.5)), 2) for step in (0, 10, 35, 60, 99)]
      [2.0, 2.0, 1.75, 1.5, 1.5]
    """
    if not 0 <= begin < end <= 1 or steps < 1:
        raise ValueError(
            f"begin={begin}, end={end}, steps={steps}: the budget falls between two parts of the "
            "training, 0 <= begin < end <= 1, of one step or more"
        )
    if not 0 <= mean_k <= start:
        raise ValueError(
            f"mean_k={mean_k} and start={start}: the budget is lowered, so it needs "
            "0 <= mean_k <= start; start at the k of the spec"
        )
    left = jnp.clip((end - jnp.asarray(step) / steps) / (end - begin), 0, 1)
    return jnp.float32(mean_k) + jnp.float32(start - mean_k) * left.astype(jnp.float32)


def _filters(
    params: PyTree, spec: PyTree, cost: Cost
) -> tuple[list[specs.Weights], list[tuple[shift.Shift, jax.Array]], list[jax.Array]]:
    """All leaves; the arrays in a shift format, without thresholds; and [filters] costs of each."""
    matched = specs.match(params, spec)
    specs.raise_problems(matched)
    pairs = [
        (dataclasses.replace(w.format, thresholds=None), jnp.asarray(w.leaf))
        for w in matched
        if isinstance(w.format, shift.Shift)
    ]
    if not any(fmt.k for fmt, _ in pairs):
        raise ValueError(
            "the spec has no shift format with k above 0, so there are no gates to open: make it "
            "with make_spec(params, Shift(k=2))"
        )
    if isinstance(cost, str) and cost not in ("filter", "storage"):
        raise ValueError(f"cost={cost!r} is unknown: choose 'filter', 'storage' or a tree of costs")
    given = [cost] * len(matched)
    if not isinstance(cost, str):
        try:
            structure = jax.tree.structure(params)
            given = structure.flatten_up_to(cost)  # type: ignore[attr-defined]  # not in its stub
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"the tree of costs is not like the parameters; give every array its own: {error}"
            ) from None
    costs = [
        _costs(w.path, w.leaf.shape, w.format.filter_axis, each)
        for w, each in zip(matched, given, strict=True)
        if isinstance(w.format, shift.Shift)
    ]
    known = not any(isinstance(c, jax.core.Tracer) for c in costs)
    if known and not any(np.any(c > 0) for c in costs):
        raise ValueError("all costs are 0: a budget is shared out by what filters cost")
    return matched, pairs, costs


def _costs(path: str, shape: tuple[int, ...], filter_axis: int, given: Any) -> jax.Array:
    """[filters] float32."""
    filters = shape[filter_axis]
    if isinstance(given, str):
        given = 1 if given == "filter" else math.prod(shape) / max(filters, 1)
    try:
        found = jnp.broadcast_to(jnp.asarray(given, jnp.float32), (filters,))
    except (ValueError, TypeError):
        found = jnp.full(filters, jnp.nan)
    if not isinstance(found, jax.core.Tracer) and not np.all(np.isfinite(found) & (found >= 0)):
        raise ValueError(
            f"a cost of {given!r} for the filters of {path}: give {filters} finite numbers "
            "that are not negative, or one for all of them"
        )
    return found


@jax.jit
def _thresholds(
    pairs: list[tuple[shift.Shift, jax.Array]], costs: list[jax.Array], mean_k: jax.Array
) -> list[jax.Array]:
    """[k, filters] for each array."""
    norms = [fmt.residual_norms(jax.lax.stop_gradient(jnp.asarray(w))) for fmt, w in pairs]
    # One list of all terms of the network: first terms, then second ones, layer by layer.
    places = [(n, layer) for n in range(3) for layer, r in enumerate(norms) if n < len(r)]
    priority = [_priorities(r) for r in norms]
    price = [jnp.where(r > 0, c[None], 0) for r, c in zip(norms, costs, strict=True)]
    room = mean_k * sum(jnp.sum(c) for c in costs) * (1 + _SLACK)
    taken = _fill(
        jnp.concatenate([priority[layer][n] for n, layer in places]),
        jnp.concatenate([price[layer][n] for n, layer in places]),
        room,
    )
    ends = np.cumsum([norms[layer].shape[1] for _, layer in places])
    parts = dict(zip(places, jnp.split(taken, ends[:-1]), strict=True))
    thresholds = []
    for layer, r in enumerate(norms):
        bought = [parts[n, layer] for n in range(len(r))]
        is_open = jnp.array(bought, bool).reshape(r.shape).astype(jnp.int8)
        thresholds.append(jnp.where(jax.lax.cummin(is_open) > 0, 0.0, CLOSED))
    return thresholds


def _priorities(norms: jax.Array) -> jax.Array:
    """[k, filters]: of the first terms 2 or more, of the others at most 1 and never rising."""
    first = norms[:1]
    largest = jnp.max(first, initial=0)
    beside_layer = 2 + first / jnp.where(largest > 0, largest, 1)
    relative = jnp.minimum(norms[1:] / jnp.where(first > 0, first, 1), 1)
    return jnp.concatenate([beside_layer, jax.lax.cummin(relative)])


def _fill(priority: jax.Array, price: jax.Array, room: jax.Array) -> jax.Array:
    """Which of the terms are bought, in the order of priority, each that still fits."""
    order = jnp.argsort(-priority, stable=True)
    price = price[order]

    def waiting(state: tuple[jax.Array, jax.Array]) -> jax.Array:
        taken, room = state
        return ~taken & (price <= room)

    def buy(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        taken, room = state
        spent = jnp.cumsum(jnp.where(waiting(state), price, 0))
        bought = waiting(state) & (spent <= room)
        return taken | bought, room - jnp.sum(jnp.where(bought, price, 0))

    start = (jnp.zeros(len(price), bool), room)
    taken, _ = jax.lax.while_loop(lambda state: jnp.any(waiting(state)), buy, start)
    return jnp.zeros_like(taken).at[order].set(taken)
