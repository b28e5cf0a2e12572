"""What filters' terms may cost so that a network keeps its budgets, as prices for the trainer.

    demands, network --plan--> limits: constant + sum of prices of terms <= bound
    integer network --cost--> whether they are kept

Prices are differences of what `styles` and `asic` say of a layer with one term more, with sums as
wide as the worst weights need. What a trained network costs is said by the same functions for its
own k and its certified widths; the trainer corrects the room by the ratio.

A pipeline of engines is as slow as its slowest layer, and second terms come in packets: of filters
sorted by k, each lane takes one at a time. So here the design is chosen before the training, and
a limit is the number of filters of a layer that may have two terms: `engines`.
"""

import contextlib
import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from flightnn_jax import networks, schemes
from flightnn_jax.hardware import asic, engines, estimate, layer_costs, workload
from flightnn_jax.hardware.demands import Demand, Unit
from flightnn_jax.hardware.device import Device
from flightnn_jax.hardware.workload import Workload

_MAX_KEPT = 64  # plans of engines; widths are often those of the epoch before
_SCHEME = "flightnn"


class Target(NamedTuple):
    """Where a network is to run.

    Attributes:
      style: of `styles.STYLES`.
      device: for its clock, its tables, and engines that fit.
      prune: whether filters may have no term at all; one of a layer stays, and all of the last
        layer, which are classes.
    """

    style: str
    device: Device
    prune: bool = False


@dataclasses.dataclass(frozen=True)
class Limit:
    """What the terms of filters may cost in all.

        constant + sum over layers, filters i and terms t < k_i of prices[layer][t, i] <= bound

    Attributes:
      name: of what is bounded.
      bound: on the sum.
      constant: what costs whatever k is.
      prices: {layer: [k_max, filters]}, 0 or more; a layer that is missing costs nothing.
      planned: whether widths of sums that training decides are in the prices, so that a trained
        network costs something else.
    """

    name: str
    bound: float
    constant: float
    prices: dict[str, np.ndarray]
    planned: bool = False

    def total(self, work: Workload) -> float:
        """The sum for the k of a workload."""
        parts = [self.constant]
        for layer in work.layers:
            if (prices := self.prices.get(layer.name)) is not None:
                bought = np.arange(len(prices))[:, None] < np.array(layer.k)
                parts.append(float(prices[bought].sum()))
        return math.fsum(parts)


@dataclasses.dataclass(frozen=True)
class Plan:
    """A demand and the limits that keep it.

    Attributes:
      demand: what the user asks for.
      limits: none where k does not decide.
      least: what the network takes, in the demand's unit, with one term a filter, or pruned as far
        as may be; sums are as wide as the worst weights need.
      most: likewise with all terms; 0 images/s, or infinitely many cycles, where that does not fit
        on the device.
    """

    demand: Demand
    limits: tuple[Limit, ...]
    least: float
    most: float

    @property
    def binds(self) -> bool:
        """Whether not every filter can have all its terms."""
        return not self.demand.is_met(self.most)


def cost(work: Workload, unit: Unit, target: Target) -> float:
    """What a workload costs, in the unit.

    Raises:
      ValueError: if it does not fit on the device, for throughput and cycles.

    Example:
      >>> from flightnn_jax.hardware import demands, device
      >>> work = workload.from_network("net4", "lightnn1")
      >>> where = Target("engine", device.named("XC7Z045"))
      >>> for demand in demands.parse("1 nJ and 1 kB and 1 images/s"):
      ...     print(f"{cost(work, demand.unit, where):,.0f} {demand.unit.name}")
      2,705 nJ
      15 kB
      59,679 images/s
    """
    if unit.name == "k":
        return work.mean_k
    if unit.name == "kB":
        return sum(layer.weight_bits for layer in work.layers) / 8e3
    if unit.name == "nJ":
        return asic.energy(work).value
    if unit.name == "LUT":
        return layer_costs.wired(work, target.device).resources["LUT"].value
    return engines.speed(estimate.estimate(work, target.device, target.style), unit)


class Verdict(NamedTuple):
    """Whether a network keeps a bound.

    Attributes:
      demand: the bound.
      value: what the network costs, or reaches, in the demand's unit.
      reason: why there is no value, where a design does not fit; empty otherwise.
    """

    demand: Demand
    value: float
    reason: str = ""

    @property
    def is_kept(self) -> bool:
        """Whether the bound is kept."""
        return not self.reason and self.demand.is_met(self.value)

    def __str__(self) -> str:
        """A line for people.

        Example:
          >>> from flightnn_jax.hardware import demands
          >>> print(Verdict(demands.parse("9000 nJ")[0], 8955.0))
          budget 9000 nJ: 8,955 nJ, 99.5 % of the bound
        """
        if self.reason:
            return f"budget {self.demand}: {self.reason}"
        unit, share = self.demand.unit.name, 100 * self.demand.share(self.value)
        return f"budget {self.demand}: {self.value:,.6g} {unit}, {share:.1f} % of the bound"

    def as_json(self) -> dict[str, Any]:
        """For the record of a run."""
        value = self.value if math.isfinite(self.value) else None
        return {"bound": str(self.demand), "value": value, "kept": self.is_kept}


def verdicts(work: Workload, demands: Sequence[Demand], target: Target) -> tuple[Verdict, ...]:
    """Whether a workload keeps each of the bounds."""
    found = []
    for demand in demands:
        try:
            found.append(Verdict(demand, cost(work, demand.unit, target)))
        except ValueError as error:  # it does not fit on the device
            worst = 0.0 if demand.unit.at_least else math.inf
            found.append(Verdict(demand, worst, str(error)))
    return tuple(found)


def plan(network: networks.Network, demand: Demand, target: Target) -> Plan:
    """The limits of a network that is to be trained.

    Raises:
      ValueError: if no k keeps the bound; the message says what can be reached.
    """
    name, fewest = demand.unit.name, _fewest(network, target.prune)
    least = cost(_work(network, fewest), demand.unit, target)
    most = _of_all_terms(network, demand, target)
    if not demand.is_met(least):
        raise UnreachableError(demand, least, most, target)
    if name in ("images/s", "cycles") and target.style == "hardwired":
        limits: tuple[Limit, ...] = ()
    elif _is_by_engines(demand, target):
        limits = _of_engines(network, demand, target, ())
    else:
        limits = (_additive(network, demand, target),)
    return Plan(demand, limits, least, most)


def with_widths(
    plan: Plan, network: networks.Network, target: Target, widths: tuple[int, ...]
) -> Plan:
    """A plan of engines for narrower sums, with which more lanes fit; any other as it is.

    Args:
      plan: of the network.
      network: that is to be trained.
      target: where it is to run.
      widths: of each layer's sums, in the order of computation; () for the widest. The limits keep
        the demand for as long as no sums are wider.
    """
    if not widths or not plan.binds or not plan.limits or not _is_by_engines(plan.demand, target):
        return plan
    return dataclasses.replace(plan, limits=_of_engines(network, plan.demand, target, widths))


def _is_by_engines(demand: Demand, target: Target) -> bool:
    """Whether k decides through packets of lanes."""
    return demand.unit.name in ("images/s", "cycles") and target.style == "engine"


def _of_all_terms(network: networks.Network, demand: Demand, target: Target) -> float:
    """The cost with all terms; the worst there is where that does not fit on the device."""
    work = _work(network, [(terms(),) * n for n in _of_each(network)])
    try:
        return cost(work, demand.unit, target)
    except ValueError:
        return 0.0 if demand.unit.at_least else math.inf


class UnreachableError(ValueError):
    """A bound that no choice of k keeps.

    Attributes:
      demand: what was asked for.
    """

    def __init__(self, demand: Demand, least: float, most: float, target: Target) -> None:
        lowest = "with a filter a layer" if target.prune else "at k = 1"
        where = f" as {target.style} on {target.device.name}" * bool(demand.unit.styles)
        verb = "reaches" if demand.unit.at_least else "takes"
        full = f"{most:,.6g} at k = {terms()}"
        if most in (0, math.inf):
            full = f"does not fit at k = {terms()}"
        counted = demand.unit.name in ("k", "kB")
        planned = "" if counted else ", with sums as wide as the worst weights need"
        super().__init__(
            f"budget {demand} cannot be kept: the network{where} {verb} {least:,.6g} "
            f"{demand.unit.name} {lowest} and {full}{planned}; ask for {least:,.6g} "
            f"{demand.unit.name} or {'less' if demand.unit.at_least else 'more'}"
        )
        self.demand = demand


def remedies(
    demand: Demand,
    target: Target,
    network: networks.Network,
    narrower: Callable[[int], networks.Network] | None = None,
) -> list[str]:
    """What would reach a bound that the network does not reach.

    Args:
      demand: the bound.
      target: where it is not reached.
      network: that does not reach it.
      narrower: the same network of a smaller width, of its widest layer; None where it has one
        width.

    Returns:
      Flags of `launch.train`; none where nothing was found.
    """
    found = []
    if not target.prune and _reaches(network, demand, target._replace(prune=True)):
        found.append("--config.prune=true")
    others = [target._replace(style=style) for style in demand.unit.styles if style != target.style]
    found += [f"--config.style={x.style}" for x in others if _reaches(network, demand, x)]
    if narrower is not None:
        width = _width(demand, target, max(_of_each(network)), narrower)
        found += [f"--config.width={width}"] * (width > 0)
    return found


def _width(
    demand: Demand, target: Target, width: int, narrower: Callable[[int], networks.Network]
) -> int:
    """The largest width below this one that keeps the bound; 0 if there is none."""
    smaller = {}
    for tried in range(1, width):
        with contextlib.suppress(ValueError):  # not every width is one of the network's
            smaller[tried] = narrower(tried)
    widths = [0, *smaller]
    low, high = 0, len(widths)  # a smaller network costs less
    while high - low > 1:
        middle = (low + high) // 2
        kept = _reaches(smaller[widths[middle]], demand, target)
        low, high = (middle, high) if kept else (low, middle)
    return widths[low]


def _reaches(network: networks.Network, demand: Demand, target: Target) -> bool:
    work = _work(network, _fewest(network, target.prune))
    try:
        return demand.is_met(cost(work, demand.unit, target))
    except ValueError:  # it does not fit on the device
        return False


def terms() -> int:
    """Those that a filter may have."""
    weights = schemes.find(_SCHEME).weights
    assert weights is not None
    return weights.k


def _of_each(network: networks.Network) -> list[int]:
    """The filters of each layer."""
    return [(step.kernel_shape or ())[-1] for step in networks.walk_weights(network)]


def _fewest(network: networks.Network, prune: bool) -> list[tuple[int, ...]]:
    """The least k of each filter, layer by layer."""
    rows = _of_each(network)
    if not prune:
        return [(1,) * n for n in rows]
    return [*((1, *(0,) * (n - 1)) for n in rows[:-1]), (1,) * rows[-1]]


def _work(network: networks.Network, k: Sequence[Sequence[int]]) -> Workload:
    return workload.from_network(network, _SCHEME, k=k)


def _additive(network: networks.Network, demand: Demand, target: Target) -> Limit:
    """The limit of a cost that is a sum over filters."""
    rows = _of_each(network)
    works = [_work(network, [(k,) * n for n in rows]) for k in range(terms() + 1)]
    costs = [
        layer_costs.of(demand.unit, work, works[-1], target.style, target.device) for work in works
    ]
    prices = {}
    for i, layer in enumerate(works[0].layers):
        of_terms = np.diff([of_k[i] for of_k in costs]) / layer.filters
        prices[layer.name] = np.repeat(np.maximum(of_terms, 0)[:, None], layer.filters, axis=1)
    bound = demand.bound
    if demand.unit.at_least:
        bound = 1e6 * target.device.clock_mhz / bound
    planned = demand.unit.name not in ("k", "kB")
    return Limit(str(demand), bound, sum(costs[0]), prices, planned)


@functools.lru_cache(maxsize=_MAX_KEPT)
def _of_engines(
    network: networks.Network, demand: Demand, target: Target, widths: tuple[int, ...]
) -> tuple[Limit, ...]:
    """For each layer and term, how many filters may have it; their number is that of layers."""
    room = engines.room(
        lambda k: _narrowed(_work(network, k), widths),
        _fewest(network, target.prune),
        demand,
        target.device,
    )
    limits = []
    for step, counts in zip(networks.walk_weights(network), room, strict=True):
        for term, most in enumerate(counts):
            if term or target.prune:
                prices = np.zeros((terms(), (step.kernel_shape or ())[-1]))
                prices[term] = 1
                name = f"{step.name}: filters with {term + 1} terms"
                limits.append(Limit(name, most, 0.0, {step.name: prices}))
    return tuple(limits)


def _narrowed(work: Workload, widths: tuple[int, ...]) -> Workload:
    """With sums no wider than these."""
    if not widths:
        return work
    layers = (
        dataclasses.replace(layer, accumulator_bits=min(layer.accumulator_bits, width))
        for layer, width in zip(work.layers, widths, strict=True)
    )
    return dataclasses.replace(work, layers=tuple(layers))
