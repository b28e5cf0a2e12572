"""A budget of shifts: the user states the mean k of a network, and the filters share it out.

Not in the paper, where the seed and the length of training decide k. Here thresholds are not
trained but set before each step, and a filter gets its next term where that is worth most:

    spec = gates_for(params, spec, budget_at(step, steps, 1.5), importance=adam_state.nu)
    loss(quantize_params(params, spec), batch)

With importance, gates hardly change once the budget is reached; by relative error alone a few do
at every step, and what comes out is hardly better than with second terms drawn by lot.
"""

import dataclasses
import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from flightnn_jax import gates, numerics
from flightnn_jax import spec as specs
from flightnn_jax.formats import shards, shift

PyTree = Any
Cost = Literal["filter", "storage"] | PyTree

CLOSED = gates.CLOSED
_SLACK = 2.0**-21  # relative, so that 1.3 of 10 filters, which no float is, are 13 terms


def gates_for(
    params: PyTree,
    spec: PyTree,
    mean_k: ArrayLike,
    cost: Cost = "filter",
    *,
    importance: PyTree = None,
) -> PyTree:
    r"""Opens the gates that a budget pays for, those that are worth most for their cost first.

    .. math:: \frac{\sum_i c_i k_i}{\sum_i c_i} \le \bar k, \qquad \text{in the order of} \quad
       \frac{1}{c_i} \sum_{j \in i} v_j r_{j,l}^2

    Filters compete across the whole network; of equal ones the first in the tree goes first. Every
    filter gets its first term before any gets a second. A term that does not fit any more is
    passed over for cheaper ones, and a residual of exactly zero costs nothing and gets no term.

    Args:
      params: parameters.
      spec: a spec tree for them; thresholds that it may have do not matter.
      mean_k: the budget, from 0 to k; may be traced, and a new value compiles nothing anew.
      cost: c, of a term of each filter: 'filter', all the same; 'storage', its number of weights,
        so that the budget is storage in units of LightNN-1's; or a tree like `params` with
        [filters] numbers, or one for all of them, in place of every array in a shift format.
      importance: v, a tree like `params` of what an error of each weight does to the loss: best
        the running mean of squared gradients, which Adam has as `nu`. Without it errors count
        relative to their filter, v = 1 / ||w_i||^2. Finite numbers, 0 or more; traced ones are
        not looked at, and filters with a NaN come last.

    Returns:
      The spec with thresholds [k, filters] in its shift formats: 0 for an open gate, `CLOSED`
      for a closed one. They are constants for `jax.grad`, and masks for as long as they are kept:
      weights that move don't move the gates.

    Raises:
      ValueError: if a budget that is not traced lies outside of 0 to k, a tree does not fit, or
        a device of `shard_map` has parts of the weights: filters of the whole network compete.

    Example:
      >>> import jax.numpy as jnp
      >>> from flightnn_jax import Shift, count_shifts
      >>> w = jnp.array([[0.75, 0.5, 0.7], [0.3, -0.25, 0.1]])  # the second filter is nearly exact
      >>> spec = gates_for(w, Shift(k=2), 1.7)
      >>> count_shifts(w, spec).k.tolist(), round(float(mean_shifts(w, spec)), 4)
      ([2, 1, 2], 1.6667)
    """
    matched = specs.with_numbers(params, spec, "gates_for")
    costs = _costs(params, matched, cost)
    nothing = [None] * len(matched)
    given = nothing if importance is None else _alike(params, importance, "importance")
    weights: list[gates.Weights] = []
    for w, v in zip(matched, given, strict=True):
        if isinstance(w.format, shift.Shift):
            if importance is not None:
                v = _importance(w, v)
            weights.append((dataclasses.replace(w.format, thresholds=None), w.leaf, v))
    most = max(fmt.k for fmt, _, _ in weights)
    if not _is_within(mean_k, 0, most):
        raise ValueError(
            f"a budget of mean_k={mean_k!r}: filters of this spec take 0 to {most} terms, so give "
            f"a number from 0 to {most}, or make the spec with a larger k"
        )
    leaves = gates.respecified(matched, _thresholds(weights, costs, jnp.float32(mean_k)))
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
    matched = specs.with_numbers(params, spec, "mean_shifts")
    costs = jnp.concatenate(_costs(params, matched, cost))
    counts = [w.format.count_shifts(jnp.asarray(w.leaf)) for w in matched if w.format is not None]
    k = jnp.concatenate([count.k for count in counts if count is not None])
    return jnp.sum(costs * k) / jnp.sum(costs)


def budget_at(
    step: ArrayLike,
    steps: int,
    mean_k: ArrayLike,
    *,
    start: float = 2.0,
    begin: float = 0.1,
    end: float = 0.6,
) -> jax.Array:
    r"""The budget of a step: held at `start`, lowered evenly, and held at `mean_k`.

    .. math:: \bar k + (k_0 - \bar k)\, \mathrm{clip}\!\left(\frac{e - s / n}{e - b}, 0, 1\right)

    Args:
      step: s, from 0; may be traced.
      steps: n, of the whole training.
      mean_k: the budget that is asked for; may be traced.
      start: k_0, the budget at first; 2 is LightNN-2.
      begin: b, the part of the training after which the budget falls.
      end: e, the part after which it stays.

    Example:
      >>> [round(float(budget_at(step, 100, 1.5)), 2) for step in (0, 10, 35, 60, 99)]
      [2.0, 2.0, 1.75, 1.5, 1.5]
    """
    left = ramp(step, steps, begin=begin, end=end)
    if not _is_within(mean_k, 0, start):
        raise ValueError(
            f"mean_k={mean_k!r} and start={start!r}: the budget is lowered, so it needs "
            "0 <= mean_k <= start; start at the k of the spec"
        )
    return jnp.float32(mean_k) + jnp.float32(start - mean_k) * left


def ramp(step: ArrayLike, steps: int, *, begin: float = 0.1, end: float = 0.6) -> jax.Array:
    """The part of the way to the budget that is left: 1 at first, 0 at the end; see `budget_at`.

    Example:
      >>> [round(float(ramp(step, 100)), 2) for step in (0, 10, 35, 60, 99)]
      [1.0, 1.0, 0.5, 0.0, 0.0]
    """
    if not (_is_within(begin, 0, end) and begin < end <= 1 and _is_within(steps, 1, math.inf)):
        raise ValueError(
            f"begin={begin!r}, end={end!r}, steps={steps!r}: the budget falls between two parts of "
            "the training, 0 <= begin < end <= 1, of one step or more"
        )
    left = jnp.clip((end - numerics.numbers_of(step, "step") / steps) / (end - begin), 0, 1)
    return left.astype(jnp.float32)


def _is_within(value: Any, low: Any, high: Any) -> bool:
    """Whether a value is one real number from `low` to `high`; what is traced may be."""
    if isinstance(value, jax.core.Tracer):
        return value.ndim == 0
    try:
        return np.ndim(value) == 0 and bool(low <= value <= high)
    except (TypeError, ValueError):
        return False


def _alike(params: PyTree, tree: PyTree, name: str) -> list[Any]:
    """What `tree` has in place of each leaf of `params`."""
    try:
        structure = jax.tree.structure(params)
        return structure.flatten_up_to(tree)  # type: ignore[attr-defined]  # not in its stub
    except (ValueError, TypeError) as error:
        raise ValueError(f"the tree of {name} is not like the parameters: {error}") from None


def _importance(w: specs.Weights, given: Any) -> jax.Array:
    """[like the weights] what was given for them."""
    v = numerics.numbers_of(jnp.nan if given is None else given, f"the importance of {w.path}")
    if v.shape != w.leaf.shape:
        raise ValueError(
            f"importance of shape {v.shape} for weights of shape {w.leaf.shape} at {w.path}: give "
            "a number for each weight, such as Adam's nu"
        )
    known = not isinstance(v, jax.core.Tracer)
    if known and not np.all(np.isfinite(values := np.asarray(v)) & (values >= 0)):
        raise ValueError(
            f"the importance of {w.path} has NaN, infinite or negative numbers: give what an "
            "error of each weight does to the loss, such as Adam's nu, which diverges with the loss"
        )
    return v


def _costs(params: PyTree, matched: list[specs.Weights], cost: Cost) -> list[jax.Array]:
    """[filters] float32 for each array in a shift format."""
    if isinstance(cost, str) and cost not in ("filter", "storage"):
        raise ValueError(f"cost={cost!r} is unknown: choose 'filter', 'storage' or a tree of costs")
    named = isinstance(cost, str)
    given = [None] * len(matched) if named else _alike(params, cost, "costs")
    costs = []
    for w, each in zip(matched, given, strict=True):
        if not isinstance(w.format, shift.Shift):
            continue
        if axes := shards.axes_of(jnp.asarray(w.leaf)):
            raise ValueError(
                f"{w.path} may differ over the axes {axes} of shard_map, and a budget is one of "
                "the whole network: call this outside of shard_map, under jit; or, for weights "
                "that are alike on all devices, with check_vma=True"
            )
        filters = w.leaf.shape[w.format.filter_axis]
        if named:
            each = 1 if cost == "filter" else math.prod(w.leaf.shape) / max(filters, 1)
        cost_of_terms = numerics.numbers_of(
            jnp.nan if each is None else each, f"a cost for {w.path}"
        ).astype(jnp.float32)
        known = not isinstance(cost_of_terms, jax.core.Tracer)
        if cost_of_terms.shape not in ((), (filters,)) or (
            known and not np.all(np.isfinite(cost_of_terms) & (cost_of_terms > 0))
        ):
            raise ValueError(
                f"a cost of {each!r} for the filters of {w.path}: give {filters} finite numbers "
                "above 0, or one for all of them"
            )
        costs.append(jnp.broadcast_to(cost_of_terms, (filters,)))
    if not costs:
        raise ValueError(
            "the spec has no shift format, so there are no gates to open: make it with "
            "make_spec(params, Shift(k=2))"
        )
    return costs


@jax.jit
def _thresholds(
    weights: list[gates.Weights], costs: list[jax.Array], mean_k: jax.Array
) -> list[jax.Array]:
    """[k, filters] for each array."""
    most = max(fmt.k for fmt, _, _ in weights)
    worth, price = [], []
    for each, c in zip(weights, costs, strict=True):
        errors, norms = gates.errors(each)
        missing = [(0, most - each[0].k), (0, 0)]
        worth.append(jnp.pad(jax.lax.cummin(errors / c[None]), missing))
        price.append(jnp.pad(jnp.where(norms > 0, c[None], 0), missing, constant_values=jnp.inf))
    room = mean_k * jnp.sum(jnp.concatenate(costs)) * (1 + _SLACK)
    worths, prices = jnp.concatenate(worth, axis=1), jnp.concatenate(price, axis=1)
    later = jnp.broadcast_to(jnp.arange(most)[:, None] > 0, worths.shape)
    return gates.thresholds(gates.fill(worths, prices[None], room[None], later), weights)
