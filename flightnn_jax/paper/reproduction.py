"""The paper's accuracies beside those of trained networks.

An accuracy depends on the length of the training, which the paper does not give. So what is judged
is the gap to full precision, seed by seed. A printed gap is that of one training. It is compared
with where the gap of one more training would lie: within two standard deviations, which are pooled
over the schemes of a network, and widened by what the mean over seeds leaves open.
"""

import itertools
import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from flightnn_jax.explore import groups
from flightnn_jax.explore.fronts import Spread, spread
from flightnn_jax.explore.groups import Group
from flightnn_jax.hardware.report import table
from flightnn_jax.paper import tables as published

REPRODUCED, CONTRADICTED, UNDECIDED = "reproduced", "contradicted", "not decidable"

WIDEST = 1.0
"""Points to either side: with a wider interval a gap is not decidable."""

_IMAGES = {"cifar10": 50_000, "svhn_cropped": 73_257, "cifar100": 50_000}
_OF_NETWORK = {
    **dict.fromkeys((1, 2, 3), "cifar10"),
    **dict.fromkeys((4, 5), "svhn_cropped"),
    **dict.fromkeys((6, 7), "cifar100"),
}
_LEAST = 0.8  # of the images; some are kept for validation
_NEAR = 0.05  # of a row's mean k


class Trained(NamedTuple):
    """A row of tables 2 to 4 and the networks that were trained for it.

    Attributes:
      row: as printed.
      group: the networks.
      gap: points above full precision, over seeds; None for full precision itself.
      printed: the same in the paper.
      around: the gap of one more training lies that near to the mean; infinite if not known.
      verdict: one of the three.
      reason: why, if the numbers do not say it.
    """

    row: published.Row
    group: Group
    gap: Spread | None
    printed: float
    around: float
    verdict: str
    reason: str


class Order(NamedTuple):
    """Pairs of rows, by whether the more accurate one is so here.

    Attributes:
      same: it is, by two standard errors.
      other: the other one is, by two standard errors.
      open: neither.
    """

    same: int
    other: int
    open: int


def network_of(group: Group) -> int | None:
    """The paper's number of a network, with its data and its size; None of any other."""
    fields = group.fields
    for number, dataset in _OF_NETWORK.items():
        asked = (fields.get("network"), fields.get("dataset"))
        if asked == (f"net{number}", dataset):
            own = all(fields.get(name) is None for name in ("width", "image_size"))
            return number if own else None
    return None


def trained(some: Sequence[Group]) -> list[Trained]:
    """The rows for which there are networks, of one setting, in the paper's order."""
    numbers = {network_of(group) for group in some}
    if len(numbers) != 1 or None in numbers:
        return []
    rows = published.of_network(numbers.pop() or 0)
    chosen = [(row, group) for row in rows if (group := _group(row, some)) is not None]
    gaps = {row: _gap(group, some) for row, group in chosen}
    deviation = _pooled([gap for gap in gaps.values() if gap])
    return [_judged(row, group, gaps[row], deviation) for row, group in chosen]


def longest(some: Sequence[Group]) -> list[Trained]:
    """Of each network the rows of the setting with the most epochs, with full precision if any has.

    Rows are judged by their gaps to full precision, so without one no length decides anything.
    """
    settings: dict[str, list[Group]] = {}
    for group in some:
        settings.setdefault(group.setting, []).append(group)

    def rank(same: Sequence[Group]) -> tuple[bool, int]:
        whole = any(group.scheme == groups.FULL for group in same)
        return whole, same[0].fields.get("epochs") or 0

    found = {network_of(s[0]): trained(s) for s in sorted(settings.values(), key=rank)}
    return [row for number in sorted(n for n in found if n) for row in found[number]]


def _group(row: published.Row, some: Sequence[Group]) -> Group | None:
    """The networks of a row: of its scheme and, of FLightNNs, its mean k."""
    same = [group for group in some if group.scheme == row.scheme]
    if row.scheme != "flightnn":
        return same[0] if len(same) == 1 else None
    asked = published.BUDGETS[f"net{row.network}"]["ab".index(row.model[-1])]
    near = [g for g in same if g.mean_k is not None and abs(g.mean_k - asked) <= _NEAR]
    return min(near, key=lambda group: abs((group.mean_k or 0) - asked), default=None)


def _gap(group: Group, some: Sequence[Group]) -> list[float]:
    full = groups.full_precision(group, some)
    return [] if full is None or full is group else groups.differences(group, full)


def _pooled(samples: Sequence[Sequence[float]]) -> float:
    """The standard deviation within samples; infinite if none has two values.

    Example:
      >>> _pooled([[1.0, 3.0], [5.0, 5.0], [7.0]])
      1.0
    """
    many = [values for values in samples if len(values) > 1]
    freedom = sum(len(values) - 1 for values in many)
    if not freedom:
        return math.inf
    squares = sum(statistics.variance(values) * (len(values) - 1) for values in many)
    return math.sqrt(squares / freedom)


def _judged(row: published.Row, group: Group, gaps: Sequence[float], deviation: float) -> Trained:
    printed = -published.accuracy_loss(row)
    lacks = _lacks(group)
    if row == published.base_of(row):
        short = group.accuracy.mean < float(row.accuracy)
        verdict = UNDECIDED if short or lacks else REPRODUCED
        longer = "a longer training may reach it" if short and not lacks else ""
        return Trained(row, group, None, printed, math.inf, verdict, lacks or longer)
    if not gaps:
        return Trained(row, group, None, printed, math.inf, UNDECIDED, "no full precision")
    around, gap = 2 * deviation * math.sqrt(1 + 1 / len(gaps)), spread(gaps)
    if lacks:
        verdict, reason = UNDECIDED, lacks
    elif abs(gap.mean - printed) > around:
        verdict, reason = CONTRADICTED, ""
    elif around > WIDEST:
        verdict, reason = UNDECIDED, f"± {around:.1f} points" if around < math.inf else "one seed"
    else:
        verdict, reason = REPRODUCED, ""
    return Trained(row, group, gap, printed, around, verdict, reason)


def _lacks(group: Group) -> str:
    """What to tell where data is missing; empty if it is whole."""
    whole = _IMAGES[group.fields["dataset"]]
    for member in group.members:
        steps, epochs = member.run.curve("step"), member.run.config.get("batch_size", 0)
        seen = epochs * float(steps.values[0] / steps.epochs[0]) if len(steps.epochs) else whole
        if seen < _LEAST * whole:
            return f"trained on some {seen:,.0f} of {whole:,} images"
    return ""


def order(rows: Sequence[Trained]) -> Order:
    """Of all pairs of rows whose printed accuracies differ, seed by seed."""
    counts = [0, 0, 0]
    for one, two in itertools.combinations(rows, 2):
        better, worse = sorted((one, two), key=lambda r: -float(r.row.accuracy))
        if better.row.accuracy == worse.row.accuracy:
            continue
        values = groups.differences(better.group, worse.group)
        above = spread(values) if len(values) > 1 else None
        clear = above is not None and abs(above.mean) > 2 * (above.error or 0)
        counts[2 if not clear or above is None else 0 if above.mean > 0 else 1] += 1
    return Order(*counts)


def text(some: Sequence[Group]) -> str:
    """Tables for a terminal, of all settings that are the paper's; empty if none is."""
    parts = []
    for setting in dict.fromkeys(group.setting for group in some):
        rows = trained([group for group in some if group.setting == setting])
        if not rows:
            continue
        lines = [["row", "printed (%)", "here (%)", "printed gap", "gap here", "verdict"]]
        for r in rows:
            around = f" ± {r.around:.2f}" if r.around < math.inf else ""
            gap = "" if r.gap is None else f"{r.gap.mean:+.2f}{around}"
            here, told = f"{r.group.accuracy.mean:.2f}", f"{r.printed:+.2f}" if r.printed else ""
            lines.append([r.row.model, r.row.accuracy, here, told, gap, r.verdict])
        first, *rest = table(lines).split("\n")
        reasons = [f"  ({r.reason})" if r.reason else "" for r in rows]
        body = [line + reason for line, reason in zip(rest, reasons, strict=True)]
        pairs = order(rows)
        told = (
            f"pairs of rows in the printed order: {pairs.same}; in the other: {pairs.other}; "
            f"within two standard errors: {pairs.open}"
        )
        parts.append("\n".join([f"{setting}, beside the paper's", "", first, *body, told]))
    return "\n\n".join(parts)
