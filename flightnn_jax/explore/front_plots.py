"""Pictures of fronts: accuracy against storage, energy, tables and throughput.

A point is the mean over seeds, with its standard error where there are several. What tells schemes
apart is the marker, so that a picture can be read in grey.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from flightnn_jax import schemes
from flightnn_jax.explore import fronts, plots
from flightnn_jax.explore.attainment import Corners
from flightnn_jax.explore.costs import UNITS, Unit
from flightnn_jax.explore.fronts import Point, Spread
from flightnn_jax.explore.members import Member
from flightnn_jax.hardware.records import Number
from flightnn_jax.hardware.report import short

_LOOKS = {  # by scheme: marker, colour, whether it is filled
    "full": ("o", "#000000", True),
    "fp4": ("P", "#a05fb0", True),
    "lightnn2": ("s", "#b03a2e", True),
    "lightnn1": ("^", "#1b8a6b", True),
    "flightnn": ("D", "#20497f", False),
    "binaryconnect": ("v", "#8a6d1b", True),
    "bnn": ("<", "#c0661f", False),
    "bnn_dl": (">", "#c0661f", True),
    "codebook5": ("p", "#5b5b5b", False),
    "codebook10": ("p", "#5b5b5b", True),
    "table40": ("h", "#2f8fb5", False),
    "table320": ("h", "#2f8fb5", True),
}
_NAMES = {
    "kb": "accuracy_and_weights",
    "nj": "accuracy_and_energy",
    "lut": "accuracy_and_tables",
    "images_per_s": "accuracy_and_throughput",
}
# Up to which ratio of the ends of an axis, the ticks within a decade.
_STEPS = (
    (4, (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)),
    (20, (1, 2, 3, 5)),
    (300, (1, 2, 5)),
    (math.inf, (1,)),
)
_ENDS = ("lightnn1", "lightnn2")


class _Group(NamedTuple):
    """Members that differ in the seed alone; `value` is in the unit, `point.cost` to be small."""

    scheme: str
    value: float
    point: Point
    accuracy: Spread


def pictures(
    members: Sequence[Member], costs: Sequence[Mapping[str, Number]], device: str
) -> dict[str, Figure]:
    """By name, a picture for each unit; of several settings, one for each of both.

    Args:
      members: of a sweep.
      costs: of each, from `costs.of`.
      device: the name of the one whose throughput they have.
    """
    figures = {}
    places = fronts.settings(members)
    with matplotlib.style.context(["default", plots.STYLE]):
        for number, (setting, some) in enumerate(places.items(), 1):
            for unit in UNITS:
                own, theirs = [members[i] for i in some], [costs[i] for i in some]
                groups = _groups(own, theirs, unit)
                if groups:
                    halves = fronts.attained(own, theirs, unit)
                    bar = next(costs[i][unit.key].bar for i in some if unit.key in costs[i])
                    label = _label(unit, bar, device)
                    name = _NAMES[unit.key] + f"_{number}" * (len(places) > 1)
                    figures[name] = _picture(groups, halves, unit, label, setting)
    return figures


def _groups(
    members: Sequence[Member], costs: Sequence[Mapping[str, Number]], unit: Unit
) -> list[_Group]:
    by_group: dict[str, list[int]] = {}
    for i, (member, cost) in enumerate(zip(members, costs, strict=True)):
        if unit.key in cost and 0 < cost[unit.key].value < math.inf:  # else, all is pruned
            by_group.setdefault(member.group, []).append(i)
    groups = []
    for places in by_group.values():
        value = float(np.mean([costs[i][unit.key].value for i in places]))
        judged = float(np.mean([members[i].judged for i in places]))
        accuracy = fronts.spread([100 * members[i].run.top1 for i in places])
        point = Point(unit.cost(value), judged, accuracy.mean)
        groups.append(_Group(members[places[0]].scheme.name, value, point, accuracy))
    return groups


def _label(unit: Unit, bar: str, device: str) -> str:
    on = f" of engines on {device}" if unit.key == "images_per_s" else ""
    return f"{unit.label}{on}" + ("" if bar == "exact" else f", {bar}")


def _picture(
    groups: Sequence[_Group],
    halves: Mapping[tuple[str, ...], Corners],
    unit: Unit,
    label: str,
    setting: str,
) -> Figure:
    figure = Figure(figsize=(plots.WIDTH * 0.75, 3.1))
    axes = figure.add_subplot()
    _line(axes, groups, unit)
    _attained(axes, groups, halves, unit)
    front = [groups[i] for i in fronts.front([group.point for group in groups])]
    places = [group.value for group in front], [group.accuracy.mean for group in front]
    axes.plot(*places, color="0.45", linestyle="-", linewidth=1, label="front, by validation")
    for scheme in schemes.SCHEMES:
        own = [group for group in groups if group.scheme == scheme.name]
        if own:
            marker, colour, filled = _LOOKS[scheme.name]
            axes.errorbar(
                [group.value for group in own],
                [group.accuracy.mean for group in own],
                [group.accuracy.error or 0.0 for group in own],
                label=scheme.label,
                linestyle="",
                marker=marker,
                markersize=6,
                color=colour,
                markerfacecolor=colour if filled else "white",
                capsize=2.5,
                zorder=3,
            )
    axes.set_axisbelow(True)
    axes.set_xscale("log")
    values = [group.value for group in groups]
    ratio = max(values) / min(values)
    axes.margins(0.08)
    axes.xaxis.set_major_locator(LogLocator(subs=next(s for r, s in _STEPS if ratio < r)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(float(f"{value:.6g}"))))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(label)
    axes.set_ylabel("test accuracy (%)")
    axes.set_title(setting)
    plots.legend_above(figure)
    return figure


def _attained(
    axes: Axes,
    groups: Sequence[_Group],
    halves: Mapping[tuple[str, ...], Corners],
    unit: Unit,
) -> None:
    """What half of the seeds attain with all schemes of the front, up to the largest cost."""
    corners = halves[max(halves, key=len)] if halves else []
    if not corners:
        return
    costs = [cost for cost, _ in corners]
    costs.append(max(costs[-1], *(group.point.cost for group in groups)))
    accuracies = [100 * accuracy for _, accuracy in corners]
    axes.step(
        [1 / cost if unit.larger else cost for cost in costs],
        [*accuracies, accuracies[-1]],
        where="post",
        color="0.6",
        linestyle="--",
        linewidth=1,
        label="half of the seeds attain",
    )


def _line(axes: Axes, groups: Sequence[_Group], unit: Unit) -> None:
    """The line between LightNN-1 and LightNN-2, straight in the cost."""
    ends = [next((group for group in groups if group.scheme == name), None) for name in _ENDS]
    one, two = ends
    if one is None or two is None:
        return
    costs = np.linspace(one.point.cost, two.point.cost, 50)
    accuracies = np.linspace(one.accuracy.mean, two.accuracy.mean, 50)
    values = 1 / costs if unit.larger else costs
    axes.plot(values, accuracies, color="0.3", linestyle=":", label="line L-1 to L-2")
