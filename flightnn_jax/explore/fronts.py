"""Fronts of accuracy against a cost, what they dominate, and FLightNNs against LightNNs.

Points are chosen by their validation accuracy, and what is reported of those that were chosen is
their test accuracy; so a front may step down. Seeds are kept apart: a figure is computed for each
seed, and its standard error is that of the mean over seeds.
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from flightnn_jax import pareto
from flightnn_jax.explore import attainment
from flightnn_jax.explore.costs import UNITS, Unit
from flightnn_jax.explore.members import Member
from flightnn_jax.hardware.records import Number
from flightnn_jax.hardware.report import table

REFERENCE = 1.05
"""The reference point's cost, in those of LightNN-2; its accuracy is 0 %."""

Costs = dict[str, Number]


class Point(NamedTuple):
    """A member in one unit.

    Attributes:
      cost: to be small and above 0.
      judged: the accuracy by which it is chosen, 0 to 1.
      reported: its accuracy on the test split, 0 to 1.
    """

    cost: float
    judged: float
    reported: float


def front(points: Sequence[Point]) -> list[int]:
    """Those that no other beats in cost and in the accuracy by which points are chosen.

    Returns:
      Their places, the cheapest first.

    Example:
      >>> front([Point(3, 0.9, 0.8), Point(2, 0.9, 0.7), Point(1, 0.5, 0.6), Point(4, 0.4, 0.9)])
      [2, 1]
    """
    return pareto.undominated([(point.cost, -point.judged) for point in points])


def hypervolume(points: Iterable[tuple[float, float]], reference: float) -> float:
    """The area between points and the corner (reference, 0 %), over the logarithm of the cost.

    Args:
      points: cost, above 0, and accuracy, 0 to 1. Beyond `reference` they add nothing.
      reference: the cost of the corner.

    Returns:
      Percentage points of accuracy times decades of cost.

    Example:
      >>> hypervolume([(10.0, 0.9), (1.0, 0.5), (2.0, 0.4)], reference=100.0)
      140.0
    """
    area, right = 0.0, math.log10(reference)
    # From the most accurate on, each adds a strip to the left of all before it.
    for cost, accuracy in sorted(points, key=lambda point: (-point[1], point[0])):
        left = min(right, math.log10(cost))
        area, right = area + 100 * accuracy * (right - left), left
    return area


class Spread(NamedTuple):
    """A mean over seeds.

    Attributes:
      mean: of them.
      error: the standard error of the mean; None of a single seed.
      seeds: how many.
    """

    mean: float
    error: float | None
    seeds: int

    def text(self, digits: int = 2, sign: str = "") -> str:
        """For people, such as "+0.40 ± 0.12 (3 seeds)"."""
        error = "" if self.error is None else f" ± {self.error:.{digits}f}"
        plural = "s" * (self.seeds > 1)
        return f"{self.mean:{sign}.{digits}f}{error} ({self.seeds} seed{plural})"


def spread(values: Sequence[float]) -> Spread:
    """The mean and its standard error.

    Example:
      >>> spread([1.0, 3.0]), spread([2.0]).error
      (Spread(mean=2.0, error=1.0, seeds=2), None)
    """
    error = None
    if len(values) > 1:
        error = statistics.stdev(values) / math.sqrt(len(values))
    return Spread(statistics.fmean(values), error, len(values))


class Volume(NamedTuple):
    """The hypervolume of a set of schemes in one unit.

    Attributes:
      schemes: the names of the set.
      unit: of the cost.
      volume: over seeds.
    """

    schemes: tuple[str, ...]
    unit: Unit
    volume: Spread


class Gain(NamedTuple):
    """A FLightNN against the line between LightNN-1 and LightNN-2 at equal cost.

    Attributes:
      title: of the FLightNN.
      unit: of the cost.
      place: where its cost lies, 0 at LightNN-1's and 1 at LightNN-2's, on average.
      gain: percentage points of test accuracy above the line, over seeds.
    """

    title: str
    unit: Unit
    place: float
    gain: Spread


_ENDS = ("lightnn1", "lightnn2")
_SETS = (_ENDS, ("flightnn",), (*_ENDS, "flightnn"))
_PLACES = (0, 0.25, 0.5, 0.75, 1)  # at LightNN-1's cost, to LightNN-2's


def points(
    members: Sequence[Member], costs: Sequence[Mapping[str, Number]], unit: Unit
) -> dict[int, Point]:
    """By a member's place, its point; members without a cost in the unit have none."""
    return {
        i: Point(unit.cost(cost[unit.key].value), member.judged, member.run.top1)
        for i, (member, cost) in enumerate(zip(members, costs, strict=True))
        if unit.key in cost and 0 < cost[unit.key].value < math.inf  # else, all is pruned
    }


def volumes(members: Sequence[Member], costs: Sequence[Costs], unit: Unit) -> list[Volume]:
    """Of LightNN-1 with LightNN-2, of FLightNNs, and of all of these; of one setting's members.

    The reference is the same for all seeds. Empty where no LightNN-2 has a cost in the unit.
    """
    known = points(members, costs, unit)
    ends = [known[i].cost for i in known if members[i].scheme.name == "lightnn2"]
    if not ends:
        return []
    reference = REFERENCE * statistics.fmean(ends)
    rows = []
    for names in _SETS:
        of_seeds = _of_seeds(members, known, names)
        values = [hypervolume(pairs, reference) for pairs in of_seeds]
        if values:
            rows.append(Volume(names, unit, spread(values)))
    return rows


def _of_seeds(
    members: Sequence[Member], known: dict[int, Point], names: Sequence[str]
) -> list[list[tuple[float, float]]]:
    """The front of each seed, of members of some schemes: costs and accuracies on the test."""
    by_seed: dict[int, list[Point]] = {}
    for i, point in known.items():
        if members[i].scheme.name in names:
            by_seed.setdefault(members[i].seed, []).append(point)
    return [
        [(some[i].cost, some[i].reported) for i in front(some)]
        for _, some in sorted(by_seed.items())
    ]


def attained(
    members: Sequence[Member], costs: Sequence[Mapping[str, Number]], unit: Unit
) -> dict[tuple[str, ...], attainment.Corners]:
    """By set of schemes, what at least half of the seeds attain on the test split; of one setting.

    Sets with fewer than `attainment.LEAST_SEEDS` seeds are left out.
    """
    known = points(members, costs, unit)
    of_sets = {names: _of_seeds(members, known, names) for names in _SETS}
    return {
        names: attainment.surface(of_seeds)
        for names, of_seeds in of_sets.items()
        if len(of_seeds) >= attainment.LEAST_SEEDS
    }


def _attained_at(members: Sequence[Member], costs: Sequence[Costs], unit: Unit) -> list[list[str]]:
    """A row for each set of schemes: accuracies at places between the LightNNs' costs."""
    known = points(members, costs, unit)
    ends = [[known[i].cost for i in known if members[i].scheme.name == name] for name in _ENDS]
    if not all(ends):
        return []
    one, two = map(max, ends)  # so that every seed has its LightNNs there
    rows = []
    for names, corners in attained(members, costs, unit).items():
        if len(names) == 1:
            continue  # by themselves FLightNNs say little
        found = [attainment.at(corners, one + place * (two - one)) for place in _PLACES]
        cells = ["" if accuracy is None else f"{100 * accuracy:.2f}" for accuracy in found]
        rows.append([f"{' + '.join(names)}: {unit.label}", *cells])
    return rows


def gains(members: Sequence[Member], costs: Sequence[Costs], unit: Unit) -> list[Gain]:
    """Of each FLightNN of one setting, where its seed has both LightNNs and its cost lies between.

    The line is straight in the cost: that of seconds, not of images a second.
    """
    known = points(members, costs, unit)
    lines: dict[int, dict[str, Point]] = {}
    for i, point in known.items():
        if members[i].scheme.name in _ENDS:
            lines.setdefault(members[i].seed, {})[members[i].scheme.name] = point
    found: dict[str, list[tuple[float, float]]] = {}
    titles = {}
    for i, point in known.items():
        line = lines.get(members[i].seed, {})
        if members[i].scheme.name != "flightnn" or len(line) < len(_ENDS):
            continue
        one, two = (line[name] for name in _ENDS)
        if not one.cost <= point.cost <= two.cost or one.cost == two.cost:
            continue
        place = (point.cost - one.cost) / (two.cost - one.cost)
        there = one.reported + place * (two.reported - one.reported)
        titles[members[i].group] = members[i].title
        found.setdefault(members[i].group, []).append((place, 100 * (point.reported - there)))
    rows = []
    for group, pairs in found.items():
        places, differences = zip(*pairs, strict=True)
        rows.append(Gain(titles[group], unit, statistics.fmean(places), spread(differences)))
    return sorted(rows, key=lambda row: row.place)


def settings(members: Sequence[Member]) -> dict[str, list[int]]:
    """The places of members that are compared with each other, by `Member.setting`."""
    places: dict[str, list[int]] = {}
    for i, member in enumerate(members):
        places.setdefault(member.setting, []).append(i)
    return places


Rows = list[list[str]]


def tables(members: Sequence[Member], costs: Sequence[Costs]) -> list[tuple[str, list[Rows]]]:
    """Of each setting hypervolumes, gains, and what half of the seeds attain, as text."""
    parts = []
    for setting, places in settings(members).items():
        some, theirs = [members[i] for i in places], [costs[i] for i in places]
        sizes = [["hypervolume (% x decades)", *(" + ".join(names) for names in _SETS)]]
        lines = [["above the line LightNN-1 to LightNN-2", "at", "points of accuracy"]]
        halves = [["attained by half of the seeds (%)", *(f"{100 * x:.0f} %" for x in _PLACES)]]
        for unit in UNITS:
            row = {v.schemes: v.volume.text() for v in volumes(some, theirs, unit)}
            if row:
                sizes.append([unit.label, *(row.get(names, "") for names in _SETS)])
            for gain in gains(some, theirs, unit):
                at = f"{100 * gain.place:.0f} %"
                lines.append([f"{gain.title}: {unit.label}", at, gain.gain.text(sign="+")])
            halves += _attained_at(some, theirs, unit)
        parts.append((setting, [rows for rows in (sizes, lines, halves) if len(rows) > 1]))
    return parts


NOTE = (
    "Hypervolume: the area over the logarithm of the cost down from 1.05 of LightNN-2's, of points "
    "chosen by validation, with their test accuracy. At, and the headings in percent: where the "
    "cost lies, LightNN-1's being 0 % and LightNN-2's 100 %, in seconds for throughput. Attained: "
    "test accuracy that the fronts of at least half of the seeds have at that cost or below. ± is "
    "the standard error of the mean over seeds."
)


def text(members: Sequence[Member], costs: Sequence[Costs]) -> str:
    """The tables for a terminal."""
    parts = []
    for setting, every in tables(members, costs):
        parts += [setting, *(table(rows) for rows in every)]
    return "\n\n".join(parts)
