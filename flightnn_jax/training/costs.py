"""Budgets in units of hardware: what they are for the step, and what a trained network costs.

    config, network --bounds_of--> plans --limits_of--> `limits.Limits`, an argument of the step
    state --lower--> integers with certified widths --verdicts--> what it costs, in each unit

Prices are those of sums as wide as the worst weights need. Certified ones are narrower, so after
each epoch the room is corrected by the ratio of the two for the gates as they are, and engines are
planned again for the certified widths.
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
from flightnn_jax.training.state import TrainState

PyTree = Any

_CLIP = 1.2  # a factor changes by no more in an epoch
_NOTHING = hardware_limits.Limit("nothing", 0.0, 0.0, {})
_TRIES = 20
_BACK = 1e-3  # of the room that each try gives up
_OWN_WIDTHS = 5  # tries with certified widths; engines that are planned for the widest sums fit


class Room(NamedTuple):
    """What a network as it is says of the room of an epoch; empty before the first one ends.

    Attributes:
      factors: for each bound, by what its room is multiplied.
      widths: of each layer's sums, for which engines are planned; () for the widest.
    """

    factors: tuple[float, ...] = ()
    widths: tuple[int, ...] = ()

    @classmethod
    def parse(cls, record: dict[str, Any]) -> "Room":
        """Of a checkpoint's record; ValueError or TypeError if it is damaged."""
        factors, widths = (tuple(record.get(name, ())) for name in cls._fields)
        numbers = all(type(f) in (int, float) and math.isfinite(f) for f in factors)
        if not (numbers and all(type(width) is int and width > 0 for width in widths)):
            raise ValueError(f"factors {factors!r:.80} or widths {widths!r:.80} are no numbers")
        return cls(factors, widths)


class Costed(NamedTuple):
    """A network as it is.

    Attributes:
      work: what it computes.
      verdicts: whether it keeps each bound of its budget.
    """

    work: Workload
    verdicts: tuple[Verdict, ...]

    @property
    def is_kept(self) -> bool:
        """Whether it keeps all of them."""
        return all(verdict.is_kept for verdict in self.verdicts)

    def as_json(self) -> list[dict[str, Any]]:
        """The bounds, for the record of a run, each with a line for people."""
        return [{**verdict.as_json(), "line": str(verdict)} for verdict in self.verdicts]


class Bounds(NamedTuple):
    """A run's budgets in units of hardware.

    Attributes:
      plans: one for each bound.
      network: that is trained.
      target: where it is to run.
      pruned: the layers whose filters may lose all terms.
    """

    plans: tuple[Plan, ...]
    network: networks.Network
    target: Target
    pruned: tuple[str, ...] = ()

    def costed(self, work: Workload) -> Costed:
        """A workload and whether it keeps each of them."""
        demanded = [each.demand for each in self.plans]
        return Costed(work, hardware_limits.verdicts(work, demanded, self.target))


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
        return Bounds(tuple(plans), network, target, tuple(layers[:-1]) if target.prune else ())
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


def limits_of(bounds: Bounds, room: Room, params: PyTree) -> limits.Limits:
    """What the training step takes for the bounds.

    Args:
      bounds: of the run.
      room: of the epoch.
      params: of the model; only names and shapes matter.
    """
    plans = [
        hardware_limits.with_widths(each, bounds.network, bounds.target, room.widths)
        for each in bounds.plans
    ]
    pairs = zip(plans, _factors(bounds, room), strict=True)
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
        fold = scaling.folded(model, state)
        counts = quantize.count_shifts(fold.params, state.spec)
        steps = networks.walk_weights(model.network)
        rows = [np.asarray(counts[step.name]["kernel"].k_eff).tolist() for step in steps]
        return workload.from_network(model.network, "flightnn", k=rows)


def costed(bounds: Bounds, model: models.Model, state: TrainState) -> Costed:
    """What a state costs; the arguments are those of `work_of`."""
    return bounds.costed(work_of(model, state))


def corrected(bounds: Bounds, room: Room, found: Costed) -> Room:
    """The room of the next epoch: planned over real costs, of the network as it is."""
    pairs = zip(_ratios(bounds, found), _factors(bounds, room), strict=True)
    factors = tuple(min(max(ratio, old / _CLIP), old * _CLIP) for ratio, old in pairs)
    return Room(factors, _widths(found.work))


def _widths(work: Workload) -> tuple[int, ...]:
    return tuple(layer.accumulator_bits for layer in work.layers)


def _factors(bounds: Bounds, room: Room) -> tuple[float, ...]:
    return room.factors or (1.0,) * len(bounds.plans)


def _ratios(bounds: Bounds, found: Costed) -> tuple[float, ...]:
    """The planned cost over the real one; 1 where nothing was planned."""
    ratios = []
    for own, verdict in zip(bounds.plans, found.verdicts, strict=True):
        planned = [part.total(found.work) for part in own.limits if part.planned]
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
    found: Costed,
    gates: Callable[[TrainState, Room], TrainState],
) -> tuple[TrainState, Costed]:
    """The state at the end, without the terms by which it is beyond a bound, and what it costs.

    Widths may have grown since the room was last corrected. Without those terms, often a single
    one, the network is another, which was not trained; but it keeps its bounds.

    Args:
      bounds: of the run.
      model: whose state it is.
      state: after the last step.
      found: what that costs.
      gates: sets the gates of a state by the limits of a room.
    """
    for tried in range(1, _TRIES + 1):
        if found.is_kept:
            break
        factors = tuple(ratio * (1 - tried * _BACK) for ratio in _ratios(bounds, found))
        widths = _widths(found.work) if tried <= _OWN_WIDTHS else ()
        state = gates(state, Room(factors, widths))
        found = costed(bounds, model, state)
    return state, found
