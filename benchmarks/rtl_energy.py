"""Energy of multiply-accumulate units, by simulation of their gates.

    python -m benchmarks.rtl_energy
    python -m benchmarks.rtl_energy --library=/usr/share/qflow/tech/osu050/osu05_stdcells.lib

Yosys maps each unit to the cells of a library (`apt-get install qflow-tech-osu018`), Icarus
simulates them with their delays, and `gates` says what the changes take: for independent draws
(Gaussian weights, activations behind a leaky ReLU) and for layers of trained networks of the zoo. A
line for each unit: its cells and area, pJ of an operation in logic and in all with registers and
clock, for draws; ratios to one shift, for draws and for networks; what a bit more of the sum adds;
and the ratios that `asic.SIMULATED` has from two other libraries.
"""

import argparse
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks import energy_data, energy_units, gates, liberty
from benchmarks.energy_units import Unit
from flightnn_jax.hardware import asic
from flightnn_jax.rtl import tools

LIBRARY = "/usr/share/qflow/tech/osu018/osu018_stdcells.lib"
WIRE = 0.0035
"""pF for each input that is driven: 2.5 fF at 130 nm, longer as the cells are."""
WIDTH, WIDER = 24, 32
"""Bits of a sum."""
LEVELS = {3: 5, 4: 10}
"""How many levels codes of so many bits number, as in `table40` and `table320`."""
HEADINGS = (
    *("unit", "cells", "area", "pJ of logic", "of all", "draws: logic / all", "networks", "a bit"),
    *("area, ratio", "at 45, 130 nm: logic / all"),
)
SETTLED = 8
"""Cycles at the beginning that do not count."""


class Found(NamedTuple):
    """What a unit takes.

    Attributes:
      cells: how many.
      area: in the library's units, for an operation.
      draws: pJ of an operation.
      network: likewise, in layers of a trained network.
      per_bit: what a bit more of the sum adds to the whole of `draws`, as a part of it.
    """

    cells: int
    area: float
    draws: gates.Energy
    network: gates.Energy
    per_bit: float


def units() -> list[Unit]:
    """One shift, to which all are compared, and the others."""
    numbers = np.random.default_rng(2).normal(size=(1000, 1))
    tables = []
    for (code, count), kept in itertools.product(LEVELS.items(), (3, 5, 8)):
        first = energy_units.table(tuple(range(count)), code, kept)
        tables.append(energy_units.table(energy_data.levels_of(first, numbers), code, kept))
    return [
        energy_units.shifts("shift", 1),
        energy_units.shifts("two shifts", 2),
        energy_units.multiplier(4),
        energy_units.multiplier(8),
        energy_units.one_bit(),
        *(energy_units.signs(values) for values in (4, 8, 16)),
        *tables,
    ]


def measure(unit: Unit, path: Path, library: liberty.Library, wire: float) -> Found:
    """Simulates a unit, and checks its sums.

    Raises:
      ArithmeticError: if a sum is wrong.
      tools.ToolError: if Yosys or Icarus is not there, or fails.
    """
    drawn, trained = energy_data.draws(unit), energy_data.network(unit)
    found = []
    for width in (WIDTH, WIDER):
        circuit = gates.synthesize(unit.verilog(width), "unit", path, library)
        driven = gates.timing(circuit, wire)
        for rows in (drawn, trained)[: 2 if width == WIDTH else 1]:
            energy = run(unit, circuit, driven, rows, library.voltage)
            found.append((circuit, gates.Energy(*(part / unit.values for part in energy))))
    (circuit, ours), (_, real), (_, wider) = found
    per_bit = (wider.whole / ours.whole - 1) / (WIDER - WIDTH)
    return Found(len(circuit.instances), circuit.area / unit.values, ours, real, per_bit)


def run(
    unit: Unit,
    circuit: gates.Circuit,
    driven: gates.Timing,
    rows: list[energy_data.Row],
    voltage: float,
) -> gates.Energy:
    """The energy of a cycle of some sums, each of which is checked."""
    given, sums = energy_data.stimulus(unit, rows)
    simulated = gates.simulate(circuit, driven, given, SETTLED)
    check(unit, simulated, sums, len(circuit.ports["sum"]))
    return gates.energy(circuit, driven, simulated.changes, len(given) - SETTLED, voltage)


def check(unit: Unit, simulated: gates.Simulated, sums: np.ndarray, width: int) -> None:
    """Compares the sums of a simulation, of so many bits, with those of `energy_data.stimulus`.

    Raises:
      ArithmeticError: if one is wrong.
    """
    late = 1 + unit.late
    wrong = np.flatnonzero((simulated.outputs["sum"][late:] ^ sums[:-late]) & ((1 << width) - 1))
    if wrong.size:
        raise ArithmeticError(
            f"{unit.name}: the sum of cycle {wrong[0]} is not that of its products; the Verilog "
            "or the delays of its cells are wrong"
        )


def report(path: Path, wire: float) -> Iterator[str]:
    """The lines that `main` prints."""
    library = liberty.load(path)
    yield f"{path.name}, {library.voltage} V, {1000 * wire:g} fF of wire for each input"
    yield "| " + " | ".join(HEADINGS) + " |"
    yield "|---" * len(HEADINGS) + "|"
    every = units()
    one = measure(every[0], path, library, wire)
    worst = [1.0, 1.0]
    for unit in every:
        now = one if unit is every[0] else measure(unit, path, library, wire)
        drawn, trained = ratios(now.draws, one.draws), ratios(now.network, one.network)
        known = published(unit.name)
        for i, pair in enumerate(known):
            worst[i] = max(worst[i], *(max(drawn[i] / x, x / drawn[i]) for x in pair))
        cells = [
            *(unit.name, str(now.cells), f"{now.area:.0f}"),
            *(f"{now.draws.logic:.2f}", f"{now.draws.whole:.2f}"),
            *(" / ".join(f"{x:.3g}" for x in pair) for pair in (drawn, trained)),
            *(f"{100 * now.per_bit:.1f} %", f"{now.area / one.area:.2f}"),
            " / ".join(", ".join(f"{x:.2f}" for x in pair) for pair in known),
        ]
        yield "| " + " | ".join(cells) + " |"
    yield f"draws are within {worst[0]:.2f}x of known ratios in logic, {worst[1]:.2f}x in all"


def ratios(energy: gates.Energy, to: gates.Energy) -> tuple[float, float]:
    """Of the logic, and of all."""
    return energy.logic / to.logic, energy.whole / to.whole


def published(name: str) -> list[tuple[float, ...]]:
    """Ratios to one shift in the logic, and in all, at 45 and at 130 nm; none of new units."""
    if name not in asic.SIMULATED:
        return []
    return [
        tuple(a / b for a, b in zip(ours, shift, strict=True))
        for ours, shift in zip(asic.SIMULATED[name][:2], asic.SIMULATED["shift"][:2], strict=True)
    ]


def main() -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--library", type=Path, default=Path(LIBRARY), help="a Liberty file")
    parser.add_argument("--wire", type=float, default=WIRE, help="pF for each input")
    given = parser.parse_args()
    missing = tools.unavailable(["yosys", "iverilog", "vvp"])
    if missing or not given.library.is_file():
        print(missing or f"{given.library} is not there: apt-get install qflow-tech-osu018")
        return 1
    for line in report(given.library, given.wire):
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
