"""Members that differ in the seed alone, and what they lose against full precision.

Differences are taken seed by seed, since seeds differ by more than schemes do.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from flightnn_jax.explore.fronts import Spread, settings, spread
from flightnn_jax.explore.members import Member
from flightnn_jax.hardware.records import Number
from flightnn_jax.hardware.report import short, table

FULL = "full"
_PLANNED = """
nJ and images/s of runs without integers are planned: sums are as wide as the worst weights need"""
_OF_A_ROW = ("scheme", "budget")


class Group(NamedTuple):
    """A recipe that was trained with some seeds.

    Attributes:
      title: its scheme and budget; and, where others of its setting have the same, the fields in
        which they differ.
      setting: network, data and length of the training.
      members: at least one, by seed.
      places: of the members in the sequence that they were taken from.
    """

    title: str
    setting: str
    members: tuple[Member, ...]
    places: tuple[int, ...]

    @property
    def scheme(self) -> str:
        """As `schemes.SCHEMES` calls it."""
        return self.members[0].scheme.name

    @property
    def accuracy(self) -> Spread:
        """On the test split, in per cent."""
        return spread([100 * member.run.top1 for member in self.members])

    @property
    def mean_k(self) -> float | None:
        """Over seeds; None where weights are no shifts."""
        known = [m.run.mean_k for m in self.members if m.run.mean_k is not None]
        return spread(known).mean if known else None

    @property
    def fields(self) -> dict[str, Any]:
        """Of the config, but for those of each run, such as the seed."""
        return dict(json.loads(self.members[0].group))


def groups(members: Sequence[Member]) -> list[Group]:
    """All of them, setting by setting, the most accurate first."""
    found = []
    for setting, places in settings(members).items():
        alike: dict[str, list[int]] = {}
        for i in sorted(places, key=lambda i: members[i].seed):
            alike.setdefault(members[i].group, []).append(i)
        some = [
            Group(members[own[0]].title, setting, tuple(members[i] for i in own), tuple(own))
            for own in alike.values()
        ]
        some = [group._replace(title=_title(group, some)) for group in some]
        found += sorted(some, key=lambda group: -group.accuracy.mean)
    return found


def _title(group: Group, others: Sequence[Group]) -> str:
    """Its title, with what tells it from those that have the same."""
    same = [other.fields for other in others if other.title == group.title]
    own, names = group.fields, {name: None for fields in same for name in fields}
    told = [
        f"{name}={own[name]}"
        for name in names
        if any(fields.get(name) != own.get(name) for fields in same) and own.get(name)
    ]
    return ", ".join([group.title, *told])


def full_precision(group: Group, others: Sequence[Group]) -> Group | None:
    """The group in full precision whose recipe is the most like this one's; None without."""
    own = group.fields

    def alike(other: Group) -> int:
        fields = other.fields
        return sum(fields.get(name) == own[name] for name in own if name not in _OF_A_ROW)

    same = [g for g in others if g.scheme == FULL and g.setting == group.setting]
    return max(same, key=alike, default=None)


def differences(group: Group, other: Group) -> list[float]:
    """Points of accuracy above another group, of each seed that both have."""
    theirs = {member.seed: member.run.top1 for member in other.members}
    return [100 * (m.run.top1 - theirs[m.seed]) for m in group.members if m.seed in theirs]


def rows(some: Sequence[Group], costs: Sequence[Mapping[str, Number]]) -> list[list[str]]:
    """A heading and a row for each group: accuracy, gap to full precision, mean k, and costs.

    Args:
      some: of one setting.
      costs: of each member that groups were made of, from `costs.of`.
    """
    lines = [["model", "seeds", "accuracy (%)", "to full", "mean k", "kB", "nJ", "images/s"]]
    for group in some:
        full, gap = full_precision(group, some), ""
        if full is not None and full is not group and differences(group, full):
            gap = _short(spread(differences(group, full)), "+")
        mean_k = "" if group.mean_k is None else f"{group.mean_k:.2f}"
        cells = [group.title, str(len(group.members)), _short(group.accuracy), gap, mean_k]
        for key in ("kb", "nj", "images_per_s"):
            known = [costs[i][key].value for i in group.places if key in costs[i]]
            cells.append(short(spread(known).mean) if known else "")
        lines.append(cells)
    return lines


def text(some: Sequence[Group], costs: Sequence[Mapping[str, Number]]) -> str:
    """The rows of each setting for a terminal."""
    parts = []
    for setting in dict.fromkeys(group.setting for group in some):
        theirs = [group for group in some if group.setting == setting]
        planned = not all(m.lowered for g in theirs for m in g.members if g.scheme != FULL)
        parts += [setting, table(rows(theirs, costs)) + _PLANNED * planned]
    return "\n\n".join(parts)


def _short(value: Spread, sign: str = "") -> str:
    error = "" if value.error is None else f" ± {value.error:.2f}"
    return f"{value.mean:{sign}.2f}{error}"
