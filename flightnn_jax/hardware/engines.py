"""How many second terms a pipeline of engines has room for at a speed, layer by layer.

Filters are sorted by k, and a pass takes as long as its largest k: within a packet of as many
filters as there are lanes, second terms cost nothing. What a layer has room for depends on its
lanes, and these on what the other layers leave of the device. So designs are searched: first with
the same share of second terms in all layers, then with one packet more wherever that still fits.
"""

import math
from collections.abc import Callable, Sequence

from flightnn_jax.hardware import estimate
from flightnn_jax.hardware.demands import Demand, Unit
from flightnn_jax.hardware.device import Device
from flightnn_jax.hardware.records import Design, Estimate
from flightnn_jax.hardware.workload import Workload

_HALVINGS = 7
_MAX_TRIES = 200  # searches of some 30 ms for network 1

Rows = list[tuple[int, ...]]


def room(
    work_of: Callable[[Rows], Workload], fewest: Rows, demand: Demand, device: Device
) -> list[list[int]]:
    """For each layer, how many of its filters may have a first and a second term.

    Args:
      work_of: the network with the k of each filter, layer by layer.
      fewest: k that keep the demand.
      demand: in images/s or cycles.
      device: on which the engines must fit.

    Returns:
      Numbers such that a network with no more of any, and sums no wider, keeps the demand in a
      design that fits.
    """
    filters = [len(k) for k in fewest]
    pruned = any(0 in k for k in fewest)

    def counts_at(share: float) -> list[list[int]]:
        if share < 0:
            return [[max(sum(k), math.floor((1 + share) * len(k))), 0] for k in fewest]
        return [[n, math.floor(share * n)] for n in filters]

    def found(counts: list[list[int]]) -> Design | None:
        return _design(work_of(_rows(counts, filters)), demand, device)

    if found(counts_at(1.0)) is not None:
        return counts_at(1.0)
    low, high = -1.0 if pruned and found(counts_at(0.0)) is None else 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if found(counts_at(middle)) is not None else (low, middle)
    counts = counts_at(low)
    if low >= 0:
        _grow(counts, filters, found)
    return counts


def _design(work: Workload, demand: Demand, device: Device) -> Design | None:
    """The fastest design, if there is one that keeps the demand."""
    try:
        made = estimate.estimate(work, device, "engine")
    except ValueError:  # none fits
        return None
    return made.design if demand.is_met(speed(made, demand.unit)) else None


def speed(made: Estimate, unit: Unit) -> float:
    """Of a design, in images/s or in cycles of an image."""
    return made.images_per_s.value if unit.at_least else made.cycles.value / made.design.batch


def _grow(
    counts: list[list[int]],
    filters: Sequence[int],
    found: Callable[[list[list[int]]], Design | None],
) -> None:
    """More second terms, a packet at a time, where the fewest of a layer's filters have some."""
    design = found(counts)
    waiting = [i for i, n in enumerate(filters) if counts[i][1] < n]
    for _ in range(_MAX_TRIES):
        if not waiting or design is None:
            return
        i = min(waiting, key=lambda j: counts[j][1] / filters[j])
        lanes = -(-filters[i] // design.folding[i])
        before = counts[i][1]
        counts[i][1] = min(filters[i], (before // lanes + 1) * lanes)
        larger = found(counts)
        if larger is None:
            counts[i][1] = before
            waiting.remove(i)
            continue
        design = larger
        if counts[i][1] == filters[i]:
            waiting.remove(i)


def _rows(counts: Sequence[Sequence[int]], filters: Sequence[int]) -> Rows:
    """The k of each filter, the largest first."""
    return [
        (2,) * two + (1,) * (one - two) + (0,) * (n - one)
        for (one, two), n in zip(counts, filters, strict=True)
    ]
