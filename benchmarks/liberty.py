"""Cells of a standard-cell library, read from its Liberty file: what they are, take and how long.

Combinational cells of one output and flip-flops without set and reset are kept; Yosys maps to no
others here. A table is linear between its points and constant beyond them.
"""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

_WORD = re.compile(r'"[^"]*"|[^\s(){}:;,"]+|[(){}:;,]')
_BLANK = re.compile(r"/\*.*?\*/|\\\r?\n", re.S)


class Group(NamedTuple):
    """`kind (name) { .. }` of a Liberty file.

    Attributes:
      kind: `cell`, `pin`, `timing` and so on.
      name: what stands in its brackets.
      values: of its attributes, as texts.
      groups: inside of it, in order.
    """

    kind: str
    name: str
    values: dict[str, list[str]]
    groups: list["Group"]

    def of(self, *kinds: str) -> list["Group"]:
        """The groups of some kinds inside of it."""
        return [group for group in self.groups if group.kind in kinds]

    def text(self, key: str, default: str = "") -> str:
        """An attribute of one value."""
        return self.values.get(key, [default])[0]


class Table(NamedTuple):
    """A number for each load in pF, and transition of an input in ns.

    Attributes:
      loads: ascending; one where the number does not depend on it.
      transitions: likewise.
      values: [loads, transitions].
    """

    loads: np.ndarray
    transitions: np.ndarray
    values: np.ndarray

    def at(self, load: float, transition: float) -> float:
        """The number there, or at the nearest edge of the table.

        Example:
          >>> table = Table(np.array([1, 3]), np.array([0, 1]), np.array([[0, 2], [4, 6]]))
          >>> table.at(2, 0.5), table.at(9, 0)
          (3.0, 4.0)
        """
        across = [np.interp(transition, self.transitions, row) for row in self.values]
        return float(np.interp(load, self.loads, across))


Edges = tuple[Table, Table]
"""Of a rise and of a fall."""


class Arc(NamedTuple):
    """From an input, or the clock, to the output.

    Attributes:
      delay: in ns.
      transition: of the output, in ns.
      power: pJ inside of the cell when the output changes, without what its load takes.
    """

    delay: Edges
    transition: Edges
    power: Edges


class Cell(NamedTuple):
    """A combinational cell, or a flip-flop.

    Attributes:
      name: of the cell.
      area: in the library's units.
      inputs: the capacitance of each, in pF.
      output: its name.
      function: the output in the inputs, as Verilog; of a flip-flop, what it keeps next.
      clock: of a flip-flop, which takes it at the rise; empty for others.
      arcs: by input.
      passive: by input, pJ inside of the cell when it rises and when it falls.
    """

    name: str
    area: float
    inputs: dict[str, float]
    output: str
    function: str
    clock: str
    arcs: dict[str, Arc]
    passive: dict[str, Edges]


class Library(NamedTuple):
    """Cells by name, and the voltage that they were characterized at."""

    voltage: float
    cells: dict[str, Cell]


def parse(text: str) -> Group:
    """The outermost group of a Liberty file.

    Example:
      >>> parse("library (a) { nom_voltage : 5; cell (INV) { area : 2; } }").of("cell")[0].values
      {'area': ['2']}
    """
    words = _WORD.findall(_BLANK.sub(" ", text))[::-1]
    outer = Group("", "", {}, [])
    try:
        _statement(outer, words)
        return outer.groups[0]
    except IndexError:
        raise ValueError("no `library (name) { .. }` was found: give a Liberty file") from None


def _statement(group: Group, words: list[str]) -> None:
    """Reads one attribute or group into `group`; `words` end with the next one."""
    key, mark = words.pop(), words.pop()
    if mark == ":":
        group.values[key] = [words.pop().strip('"')]
        while words[-1] not in (";", "}"):  # `1 ;` and units such as `1 ns`
            words.pop()
    else:
        given = []
        while (word := words.pop()) != ")":
            if word != ",":
                given.append(word.strip('"'))
        if words[-1] == "{":
            words.pop()
            inner = Group(key, ",".join(given), {}, [])
            group.groups.append(inner)
            while words[-1] != "}":
                _statement(inner, words)
            words.pop()
        else:
            group.values[key] = given
    if words and words[-1] == ";":
        words.pop()


def load(path: str | Path) -> Library:
    """The cells of a Liberty file.

    Raises:
      ValueError: if it is none, or units are not ns, V and pF.
    """
    top = parse(Path(path).read_text())
    unit = [float(top.values["capacitive_load_unit"][0]), top.values["capacitive_load_unit"][1]]
    units = top.text("time_unit"), top.text("voltage_unit"), unit[0], str(unit[1]).lower()
    if units != ("1ns", "1V", 1.0, "pf"):
        raise ValueError(f"{path}: units {units} are not ns, V and pF: give such a library")
    cells = (_cell(group) for group in top.of("cell"))
    named = {cell.name: cell for cell in cells if cell is not None}
    return Library(float(top.text("nom_voltage")), named)


def _cell(group: Group) -> Cell | None:
    pins = group.of("pin")
    outputs = [pin for pin in pins if pin.text("direction") == "output"]
    inputs = {
        pin.name: float(pin.text("capacitance")) for pin in pins if pin.text("direction") == "input"
    }
    flop = group.of("ff")
    if len(outputs) != 1 or len(inputs) + 1 != len(pins) or group.of("latch"):
        return None
    output = outputs[0]
    function, clock = output.text("function"), ""
    if flop:
        function, clock = flop[0].text("next_state"), flop[0].text("clocked_on")
        if set(inputs) != {function, clock}:
            return None
    if not function or "three_state" in output.values or "pad_cell" in group.values:
        return None
    return Cell(
        name=group.name,
        area=float(group.text("area", "0")),
        inputs=inputs,
        output=output.name,
        function=_verilog(function),
        clock=clock,
        arcs=_arcs(output),
        passive={
            pin.name: _edges(pin.of("internal_power"), "power")
            for pin in pins
            if pin.name in inputs
        },
    )


def _verilog(function: str) -> str:
    """A Liberty function, where a blank, `*` or `&` is an AND and `+` or `|` an OR.

    Example:
      >>> _verilog("(!((A B)+C))")
      '(!((A&B)|C))'
    """
    tight = re.sub(r"\s*([+*&|^])\s*", r"\1", function.strip())
    tight = re.sub(r"(?<=[\w)'])\s+(?=[\w(!])", "&", tight)
    return tight.replace("+", "|").replace("*", "&").replace(" ", "")


def _arcs(output: Group) -> dict[str, Arc]:
    timing = _by_pin(output.of("timing"))
    power = _by_pin(output.of("internal_power"))
    return {
        pin: Arc(
            _edges(groups, "cell"),
            _edges(groups, "transition"),
            _edges(power.get(pin, []), "power"),
        )
        for pin, groups in timing.items()
    }


def _by_pin(groups: list[Group]) -> dict[str, list[Group]]:
    found: dict[str, list[Group]] = {}
    for group in groups:
        for pin in group.text("related_pin").split():
            found.setdefault(pin, []).append(group)
    return found


def _edges(groups: list[Group], what: str) -> Edges:
    """Tables of the rise and the fall: `cell_rise`, `rise_transition`, `rise_power`."""
    rise, fall = (
        next((t for group in groups for t in group.of(f"{what}_{edge}", f"{edge}_{what}")), None)
        for edge in ("rise", "fall")
    )
    return _table(rise), _table(fall)


def _table(group: Group | None) -> Table:
    """A table, of one number where there is none."""
    if group is None:
        return Table(np.zeros(1), np.zeros(1), np.zeros((1, 1)))
    values = [_numbers(row) for row in group.values["values"]]
    first = _numbers(group.values["index_1"][0]) if "index_1" in group.values else np.zeros(1)
    if "index_2" in group.values:
        return Table(first, _numbers(group.values["index_2"][0]), np.array(values))
    return Table(np.zeros(1), first, np.array(values))


def _numbers(text: str) -> np.ndarray:
    return np.array([float(x) for x in text.replace(",", " ").split()])
