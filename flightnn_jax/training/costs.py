"""Budgets in units of hardware: what they are for the step, and what a trained network costs.

    config, network --bounds_of--> plans --limits_of--> `limits.Limits`, an argument of the step
    state --lower--> integers with certified widths --verdicts--> what it costs, in each unit

Prices are those of sums as wide as the worst weights need. Certified ones are narrower, so after
each epoch the room is corrected by the ratio of the two for the gates as they are.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from flightnn_jax import limits, networks, quantize
from flightnn_jax.hardware import demands, device, workload
from flightnn_jax.hardware import limits as hardware_limits
from flightnn_jax.hardware.limits import Plan, Target, UnreachableError, Verdict
from flightnn_jax.hardware.workload import Workload
from flightnn_jax.integer import IntegerNetworkError, LoweringError
from flightnn_jax.training import evaluation, models, scaling
from flightnn_jax.training.config import Config
from flightnn_jax.training.step import TrainState

PyTree = Any
Factors = tuple[float, ...]  # for each bound, by what the room is corrected

_CLIP = 1.2  # a factor changes by no more in an epoch
_NOTHING = hardware_limits.Limit("nothing", 0.0, 0.0, {})
_TRIES = 20
_BACK = 1e-3  # of the room that each try gives up


class Bounds(NamedTuple):
    """A run's budgets in units of hardware.

    Attributes:
      plans: one for each bound.
      target: where the network is to run.
      pruned: the layers whose filters may lose all terms.
    """

    plans: tuple[Plan, ...]
    target: Target
    pruned: tuple[str, ...] = ()

    def verdicts(self, work: Workload) -> tuple[Verdict, ...]:
        """Whether a workload keeps each of them."""
        return hardware_limits.verdicts(work, [each.demand for each in self.plans], self.target)


def bounds_of(config: Config, network: networks.Network) -> Bounds | None:
    """The bounds of a run and how they are kept; None if its config has none.

    Raises:
      ValueError: if one cannot be kept; the message says what can, and how.
    """
    if not config.bounds:
        return None
    style = demands.style_of(config.bounds, config.style)
    target = Target(style, device.named(config.device), config.prune)
    try:
        plans = (hardware_limits.plan(network, each, target) for each in config.bounds)
        layers = [step.name for step in networks.walk_weights(network)]
        # A filter of the last layer is a class.
        return Bounds(tuple(plans), target, tuple(layers[:-1]) if target.prune else ())
    except UnreachableError as error:
        narrower = None
        if isinstance(config.network, str):
            narrower = functools.partial(_of_width, config.network, network)
        flags = hardware_limits.remedies(error.demand, target, network, narrower)
        others = f"; or train with {' or '.join(flags)}" * bool(flags)
        raise ValueError(f"{error}{others}") from None


def _of_width(name: str, network: networks.Network, width: int) -> networks.Network:
    return networks.network(
        name, width=width, classes=network.classes, input_shape=network.input_shape
    )


def limits_of(bounds: Bounds, factors: Factors, params: PyTree) -> limits.Limits:
    """What the training step takes for the bounds.

    Args:
      bounds: of the run.
      factors: one for each bound; () for 1.
      params: of the model; only names and shapes matter.
    """
    pairs = zip(bounds.plans, _all(bounds, factors), strict=True)
    parts = [(part, factor if part.planned else 1.0) for p, factor in pairs for part in p.limits]
    parts = parts or [(_NOTHING, 1.0)]  # where no bound depends on k

    def of_layer(name: str, arrays: PyTree) -> PyTree:
        filters = arrays["kernel"].shape[-1]
        none = np.zeros((hardware_limits.terms(), filters))
        prices = [part.prices.get(name, none) for part, _ in parts]
        return _in_kernel(arrays, np.array(prices, np.float32))

    most = [sum(p.sum() for p in part.prices.values()) for part, _ in parts]
    prune = {name: np.bool_(name in bounds.pruned) for name in params}
    return limits.Limits(
        {name: of_layer(name, arrays) for name, arrays in params.items()},
        np.array([part.bound * factor - part.constant for part, factor in parts], np.float32),
        np.array(most, np.float32),
        {name: _in_kernel(arrays, prune[name]) for name, arrays in params.items()},
    )


def _in_kernel(arrays: PyTree, value: Any) -> PyTree:
    """A layer's parameters with a value in place of its kernel, and None elsewhere."""
    return {name: value if name == "kernel" else None for name in arrays}


def work_of(model: models.Model, state: TrainState) -> Workload:
    """What a state computes: its integers' k and certified widths, or the worst widths without.

    Args:
      model: whose state it is.
      state: replicated, or on the host.
    """
    try:
        return workload.from_integers(evaluation.lowered(model, state))
    except (LoweringError, IntegerNetworkError):
        fold = scaling.folded(model, state.params, state.batch_stats)
        counts = quantize.count_shifts(fold.params, state.spec)
        steps = networks.walk_weights(model.network)
        rows = [np.asarray(counts[step.name]["kernel"].k_eff).tolist() for step in steps]
        return workload.from_network(model.network, "flightnn", k=rows)


def corrected(bounds: Bounds, factors: Factors, work: Workload) -> Factors:
    """The factors for the next epoch: planned over real costs, of the network as it is."""
    pairs = zip(_ratios(bounds, work), _all(bounds, factors), strict=True)
    return tuple(min(max(ratio, old / _CLIP), old * _CLIP) for ratio, old in pairs)


def _all(bounds: Bounds, factors: Factors) -> Factors:
    return factors or (1.0,) * len(bounds.plans)


def _ratios(bounds: Bounds, work: Workload) -> Factors:
    """The planned cost over the real one; 1 where nothing was planned."""
    ratios = []
    for own, verdict in zip(bounds.plans, bounds.verdicts(work), strict=True):
        planned = [part.total(work) for part in own.limits if part.planned]
        real = verdict.value
        if verdict.demand.unit.at_least:
            real = 1e6 * bounds.target.device.clock_mhz / real if real else math.inf
        known = planned and 0 < real < math.inf
        ratios.append(planned[0] / real if known else 1.0)
    return tuple(ratios)


def settled(
    bounds: Bounds,
    model: models.Model,
    state: TrainState,
    gates: Callable[[TrainState, Factors], TrainState],
) -> TrainState:
    """The state at the end, without the terms by which it is beyond a bound, if it is.

    Widths may have grown since the room was last corrected. Without those terms, often a single
    one, the network is another, which was not trained; but it keeps its bounds.

    Args:
      bounds: of the run.
      model: whose state it is.
      state: after the last step.
      gates: sets the gates of a state by limits with these factors.
    """
    for tried in range(1, _TRIES + 1):
        work = work_of(model, state)
        if all(verdict.is_kept for verdict in bounds.verdicts(work)):
            break
        factors = tuple(ratio * (1 - tried * _BACK) for ratio in _ratios(bounds, work))
        state = gates(state, factors)
    return state
