"""Budgets as a user writes them: "9000 nJ", or several at once, "9000 nJ and 40 kB"."""

import math
import re
from typing import NamedTuple


class Unit(NamedTuple):
    """A unit in which a network's cost is bounded.

    Attributes:
      name: as it is written.
      meaning: what is counted.
      at_least: whether more of it is better, so that a bound is the least.
      styles: of design, in which the number is known; () where it does not depend on the design.
    """

    name: str
    meaning: str
    at_least: bool = False
    styles: tuple[str, ...] = ()


STYLES = ("array", "engine", "hardwired")
"""The names of `styles.STYLES`, which this module does not import."""

UNITS = (
    Unit("k", "terms of a filter, on average"),
    Unit("kB", "storage of weights"),
    Unit("nJ", "arithmetic of an image on a 65-nm ASIC"),
    Unit("LUT", "tables of hard-wired weights", styles=("hardwired",)),
    Unit("images/s", "throughput", at_least=True, styles=("engine", "array", "hardwired")),
    Unit("cycles", "clock cycles of an image", styles=("engine", "array", "hardwired")),
)
_PART = re.compile(r"\s*([0-9.eE+-]+?)\s*([a-zA-Z/]+)\s*")
_JOIN = re.compile(r"\sand\s")


class Demand(NamedTuple):
    """A bound on what a network may cost, or on what it must reach.

    Attributes:
      bound: above 0.
      unit: of `UNITS`.
    """

    bound: float
    unit: Unit

    def __str__(self) -> str:
        """As it is written."""
        return f"{self.bound:.12g} {self.unit.name}"

    def is_met(self, value: float) -> bool:
        """Whether a network with this value, in the unit, keeps the bound."""
        return value >= self.bound if self.unit.at_least else value <= self.bound

    def share(self, value: float) -> float:
        """The part of the bound that is used: up to 1 where it is kept."""
        return self.bound / value if self.unit.at_least else value / self.bound


def parse(text: str) -> tuple[Demand, ...]:
    """The bounds in a text.

    Raises:
      ValueError: if it is none, or a unit stands there twice.

    Example:
      >>> [str(demand) for demand in parse("9000 nJ and 3400images/s")]
      ['9000 nJ', '3400 images/s']
    """
    demands = tuple(_demand(part, text) for part in _JOIN.split(text))
    names = [demand.unit.name for demand in demands]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise ValueError(f"budget={text!r:.80}: {twice} is bounded twice: give one bound of it")
    return demands


def _demand(part: str, text: str) -> Demand:
    match = _PART.fullmatch(part)
    unit = next((u for u in UNITS if match and u.name.lower() == match[2].lower()), None)
    try:
        bound = float(match[1]) if match else math.nan
    except ValueError:
        bound = math.nan
    if unit is None or not 0 < bound < 1e30:
        known = ", ".join(f"{unit.name} ({unit.meaning})" for unit in UNITS)
        raise ValueError(
            f"budget={text!r:.80}: give a mean k, such as 1.5; or a number above 0 and a unit, "
            f'such as "9000 nJ", and several with "and" between them; units are {known}'
        )
    return Demand(bound, unit)


def style_of(demands: tuple[Demand, ...], style: str | None) -> str:
    """The style of design in which they are costed: a given one, or the one that they need.

    Raises:
      ValueError: if there is no such style, or k does not decide a demand in it.

    Example:
      >>> style_of(parse("90000 LUT"), None), style_of(parse("9000 nJ and 300000 cycles"), None)
      ('hardwired', 'engine')
    """
    tables = any(demand.unit.name == "LUT" for demand in demands)
    chosen = style or ("hardwired" if tables else "engine")
    if chosen not in STYLES:
        raise ValueError(f"style {style!r} is unknown: choose one of {', '.join(STYLES)}")
    for demand in demands:
        if demand.unit.styles and chosen not in demand.unit.styles:
            raise ValueError(
                f"budget {demand} with style={chosen}: what a design of that style takes is "
                "decided by its lanes and its batch and not by k: look for one with "
                f"launch.designs, or choose the style {' or '.join(demand.unit.styles)}"
            )
    return chosen
