"""What Yosys reads in a Verilog module: its cells on words, before anything is mapped.

A netlist is simulated here bit by bit, without a word of what the module is meant to compute.
"""

import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from flightnn_jax.rtl import tools

_OPERATIONS: dict[str, Callable[..., np.ndarray]] = {
    "$add": np.add,
    "$sub": np.subtract,
    "$neg": np.negative,
    "$not": np.invert,
}
REGISTERS = ("$dff", "$dffe")

Bit = int | str
"""A wire by its number, or one of the constants "0", "1", "x" and "z"."""

SCRIPT = "read_verilog -defer {source}; hierarchy -top {top}; proc; flatten; opt; opt_dff"
COUNT, OFFSET = "fl_count", "fl_offset"
"""Modules of the library that are cells of a netlist: Yosys is not given what they are made of."""

_OUTPUTS = {COUNT: "count", OFFSET: "value", **dict.fromkeys(REGISTERS, "Q")}


class Cell(NamedTuple):
    """An operation on words.

    Attributes:
      kind: as Yosys calls it: "$add".
      parameters: by name; numbers, where Yosys writes bits.
      ports: by name the bits, the lowest first.
    """

    kind: str
    parameters: Mapping[str, int]
    ports: Mapping[str, tuple[Bit, ...]]

    @property
    def outputs(self) -> tuple[Bit, ...]:
        """The bits that it drives."""
        return self.ports[_OUTPUTS.get(self.kind, "Y")]

    def operand(self, port: str, width: int) -> tuple[Bit, ...]:
        """The bits of an input, extended or cut as the operation does."""
        bits = self.ports[port]
        signs = [v for name, v in self.parameters.items() if name.endswith("_SIGNED")]
        top = bits[-1] if bits and all(signs) else "0"
        return (bits + (top,) * width)[:width]

    def looked_up(self) -> list[int]:
        """The constants of an `OFFSET` in two's complement, place by place."""
        width, table = len(self.outputs), self.parameters["TABLE"]
        words = (
            table >> width * i & ((1 << width) - 1) for i in range(1 << len(self.ports["place"]))
        )
        return [word - (word >> (width - 1) << width) for word in words]


class Netlist(NamedTuple):
    """A module.

    Attributes:
      ports: by name the bits, the lowest first.
      cells: in any order.
    """

    ports: Mapping[str, tuple[Bit, ...]]
    cells: tuple[Cell, ...]


def from_verilog(text: str, top: str) -> Netlist:
    """What Yosys makes of Verilog before it maps anything.

    Raises:
      ToolError: if there is no program `yosys`, or it refuses the text.
    """
    with tempfile.TemporaryDirectory() as directory:
        source, result = "source.v", "netlist.json"
        (Path(directory) / source).write_text(text)
        script = f"{SCRIPT.format(source=source, top=top)}; write_json {result}"
        tools.run(["yosys", "-q", "-p", script], directory)
        return from_json(json.loads((Path(directory) / result).read_text()), top)


def from_json(tree: Mapping[str, Any], top: str) -> Netlist:
    """A module of what Yosys's `write_json` writes."""
    module = tree["modules"][top]
    ports = {name: tuple(port["bits"]) for name, port in module["ports"].items()}
    cells = [
        Cell(
            cell["type"],
            {name: _number(value) for name, value in cell["parameters"].items()},
            {name: tuple(bits) for name, bits in cell["connections"].items()},
        )
        for cell in module["cells"].values()
    ]
    return Netlist(ports, tuple(cells))


def _number(value: str | int) -> int:
    return int(value, 2) if isinstance(value, str) and set(value) <= {"0", "1"} else hash(value)


def in_order(netlist: Netlist) -> list[Cell]:
    """The cells that the outputs need, each behind those that it reads, registers included.

    Raises:
      ValueError: if a wire is driven twice, or the cells form a loop.
    """
    driver: dict[Bit, Cell] = {}
    for cell in netlist.cells:
        for bit in cell.outputs:
            if bit in driver:
                raise ValueError(f"wire {bit} is driven twice: a wire has one source")
            driver[bit] = cell
    order: list[Cell] = []
    state: dict[int, bool] = {}  # by cell: whether it is done, while it is known
    stack = [
        (driver[bit], False) for bits in netlist.ports.values() for bit in bits if bit in driver
    ]
    while stack:
        cell, left = stack.pop()
        if left:
            state[id(cell)] = True
            order.append(cell)
        elif id(cell) not in state:
            state[id(cell)] = False
            stack.append((cell, True))
            read = {id(driver[bit]): driver[bit] for bit in _read(cell) if bit in driver}
            if any(state.get(number) is False for number in read):
                raise ValueError(f"a {cell.kind} reads what it drives: the cells form a loop")
            stack += [(before, False) for before in read.values()]
    return order


def _read(cell: Cell) -> set[Bit]:
    inputs = ("A", "B", "D", "bits", "place")
    return {bit for name in inputs for bit in cell.ports.get(name, ())}


def simulate(netlist: Netlist, x: np.ndarray, port: str = "x", result: str = "y") -> np.ndarray:
    """What a module without feedback gives, a step a cycle, with its registers enabled.

    Args:
      netlist: of additions, inversions and registers, which start as zeros.
      x: [cycles, bits of the port] of 0 and 1.
      port: whose values are given; others are 1.
      result: the port to read.

    Returns:
      [cycles, bits] uint8; those of a wire that nothing drives are 0.
    """
    cycles = len(x)
    values: dict[Bit, np.ndarray] = {}
    for name, bits in netlist.ports.items():
        columns = x.T if name == port else np.ones((len(bits), cycles))
        values.update(zip(bits, columns.astype(np.uint8), strict=True))
    values.update((name, np.full(cycles, int(name), np.uint8)) for name in ("0", "1"))

    def word(bits: tuple[Bit, ...]) -> np.ndarray:
        columns = [values.get(bit, values["0"]).astype(np.int64) << i for i, bit in enumerate(bits)]
        return np.sum(columns, axis=0)

    for cell in in_order(netlist):
        if cell.kind in REGISTERS:
            for bit, source in zip(cell.outputs, cell.ports["D"], strict=True):
                before = values.get(source, values["0"])
                values[bit] = np.concatenate([before[:1] * 0, before[:-1]])
            continue
        width = len(cell.outputs)
        if cell.kind == COUNT:
            total = np.sum([word((bit,)) for bit in cell.ports["bits"]], axis=0)
        elif cell.kind == OFFSET:
            places = cell.looked_up()
            total = np.array(places)[word(cell.ports["place"])]
        else:
            operands = [word(cell.operand(n, width)) for n in ("A", "B") if n in cell.ports]
            total = _OPERATIONS[cell.kind](*operands)
        for i, bit in enumerate(cell.outputs):
            values[bit] = (total >> i & 1).astype(np.uint8)
    return np.stack([values.get(bit, values["0"]) for bit in netlist.ports[result]], axis=1)
