"""A circuit of standard cells: made by Yosys, simulated in Icarus with their delays, its energy.

The circuit has a `clk` and no other clock. A cell's delay is its library's at the load that it has
and the transition that comes in, mean over its inputs, and inertial: what is shorter is no pulse.
Every change of a net takes C V**2 / 2 of the pins and the wire that are driven, and what the
library says of the inside of the cell that drives it; a flip-flop takes more at each edge of the
clock, which is ideal, and where its input changes.
"""

import json
import re
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.liberty import Cell, Library
from flightnn_jax.rtl import tools

PERIOD = 1000
"""ns of a cycle: all is still when it ends. No energy depends on it, for none leaks."""
ROUNDS = 30
"""Until transitions have gone through; no path has so many cells with slow inputs."""
SHARP = 0.1
"""ns: the transition of the clock and of what comes from outside."""

Bit = int | str  # a net, or the constant '0', '1' or 'x'


class Instance(NamedTuple):
    """A cell of a circuit, and the net at each of its pins."""

    cell: Cell
    nets: dict[str, Bit]

    @property
    def output(self) -> Bit:
        """The net that it drives."""
        return self.nets[self.cell.output]


class Circuit(NamedTuple):
    """What Yosys made.

    Attributes:
      instances: of cells.
      ports: by name, but `clk`, the nets of each, the lowest first.
      inputs: names of those that come in.
      clock: the net of `clk`.
    """

    instances: list[Instance]
    ports: dict[str, list[Bit]]
    inputs: list[str]
    clock: Bit

    @property
    def area(self) -> float:
        """Of all cells."""
        return sum(instance.cell.area for instance in self.instances)


class Timing(NamedTuple):
    """By net that a cell drives.

    Attributes:
      load: pF of pins and wire.
      delay: ns of a rise and of a fall of the cell that drives it.
      inside: pJ of a change inside of that cell.
      transition: ns, also of nets from outside.
    """

    load: dict[Bit, float]
    delay: dict[Bit, tuple[float, float]]
    inside: dict[Bit, float]
    transition: dict[Bit, float]


class Energy(NamedTuple):
    """pJ of a cycle.

    Attributes:
      logic: of combinational cells and what they drive.
      registers: of flip-flops, what they drive, the inputs of the circuit and the clock.
    """

    logic: float
    registers: float

    @property
    def whole(self) -> float:
        """Of everything."""
        return self.logic + self.registers


class Simulated(NamedTuple):
    """What a simulation gave.

    Attributes:
      changes: of each net, in the cycles that count.
      outputs: by port, [cycles] what it is at the end of each cycle, without a sign.
    """

    changes: dict[Bit, int]
    outputs: dict[str, np.ndarray]


def synthesize(text: str, top: str, liberty: Path, library: Library) -> Circuit:
    """Maps a module to cells.

    Args:
      text: Verilog of all modules.
      top: the module, whose clock is `clk`.
      liberty: the library's file.
      library: what was read of it.

    Raises:
      tools.ToolError: if Yosys is not there, or fails.
    """
    script = (
        f"read_verilog unit.v; synth -flatten -top {top}; dfflibmap -liberty {liberty}; "
        f"abc -liberty {liberty}; opt_clean -purge; write_json unit.json"
    )
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "unit.v").write_text(text)
        tools.run(["yosys", "-q", "-p", script], folder)
        module = json.loads((Path(folder) / "unit.json").read_text())["modules"][top]
    instances = []
    for cell in module["cells"].values():
        if cell["type"] not in library.cells:
            raise ValueError(f"{top}: cell {cell['type']} is not one that {liberty} describes")
        nets = {pin: bits[0] for pin, bits in cell["connections"].items()}
        instances.append(Instance(library.cells[cell["type"]], nets))
    ports = {name: port["bits"] for name, port in module["ports"].items()}
    inputs = [n for n, port in module["ports"].items() if port["direction"] == "input"]
    clock = ports.pop("clk")[0]
    return Circuit(instances, ports, [n for n in inputs if n != "clk"], clock)


def timing(circuit: Circuit, wire: float) -> Timing:
    """Loads, delays and energies of the nets of a circuit.

    Args:
      circuit: of cells.
      wire: pF for each input that is driven.
    """
    load: dict[Bit, float] = {}
    for instance in circuit.instances:
        load.setdefault(instance.output, 0.0)
        for pin, capacitance in instance.cell.inputs.items():
            net = instance.nets[pin]
            load[net] = load.get(net, 0.0) + capacitance + wire
    transition = dict.fromkeys(load, SHARP)
    driven = Timing(load, {}, {}, transition)
    for _ in range(ROUNDS):
        before = dict(transition)
        for instance in circuit.instances:
            _drive(instance, driven)
        if before == transition:
            break
    return driven


def _drive(instance: Instance, driven: Timing) -> None:
    """Sets what is known of the net that a cell drives from the transitions of its inputs."""
    net, arcs = instance.output, instance.cell.arcs
    # No path goes through an input that is constant.
    places = [
        (arc, driven.load[net], driven.transition[instance.nets[pin]])
        for pin, arc in arcs.items()
        if isinstance(instance.nets[pin], int)
    ]
    if not places:
        driven.delay[net], driven.inside[net] = (0.0, 0.0), 0.0
        return
    delays = [[edge.at(*at) for edge in arc.delay] for arc, *at in places]
    rise, fall = np.maximum(np.mean(delays, axis=0), 0.0).tolist()
    driven.delay[net] = rise, fall
    driven.inside[net] = _mean(edge.at(*at) for arc, *at in places for edge in arc.power)
    driven.transition[net] = _mean(edge.at(*at) for arc, *at in places for edge in arc.transition)


def _mean(numbers: Iterable[float]) -> float:
    return float(np.mean(list(numbers)))


def bench(circuit: Circuit, driven: Timing, cycles: int, skip: int) -> str:
    """Verilog that simulates a circuit with `stimulus.hex` and prints what `simulate` reads."""
    nets = sorted(net for net in driven.load if isinstance(net, int))
    width = sum(len(circuit.ports[name]) for name in circuit.inputs)
    lines = [
        "`timescale 1ns/1ps",
        "module bench;",
        f"  reg [{width - 1}:0] stimulus [0:{cycles - 1}];",
        "  reg clk = 0;",
        f"  reg [{width - 1}:0] in = 0;",
        "  integer cycle;",
    ]
    lines += [f"  wire n{net}; integer k{net} = 0;" for net in nets]
    place = 0
    for name in circuit.inputs:
        for net in circuit.ports[name]:
            if net in driven.load:
                lines.append(f"  assign n{net} = in[{place}];")
            place += 1
    lines.append(f"  assign n{circuit.clock} = clk;")
    lines += [line for i, x in enumerate(circuit.instances) for line in _instance(i, x, driven)]
    lines += [f"  always @(n{net}) k{net} = k{net} + 1;" for net in nets]
    outputs = [n for n in circuit.ports if n not in circuit.inputs]
    shown = ", ".join(
        f"{{{', '.join(_net(net) for net in reversed(circuit.ports[name]))}}}" for name in outputs
    )
    form = " ".join(["%b"] * len(outputs))
    lines += [
        "  initial begin",
        '    $readmemh("stimulus.hex", stimulus);',
        f"    for (cycle = 0; cycle < {cycles}; cycle = cycle + 1) begin",
        f"      if (cycle == {skip}) begin",
        *(f"        k{net} = 0;" for net in nets),
        "      end",
        "      in = stimulus[cycle];",
        f"      #{PERIOD // 2} clk = 1; #{PERIOD // 2 - 1} clk = 0; #1;",
        f'      $display("{form}", {shown});',
        "    end",
        *(f'    $display("n{net} %0d", k{net});' for net in nets),
        "  end",
        "endmodule",
    ]
    return "\n".join(lines) + "\n"


def _net(net: Bit) -> str:
    return f"n{net}" if isinstance(net, int) else f"1'b{net}"


def _instance(number: int, instance: Instance, driven: Timing) -> list[str]:
    """A cell as an assignment with its delay."""
    cell, net = instance.cell, instance.output
    rise, fall = driven.delay[net]
    pins = {pin: _net(instance.nets[pin]) for pin in cell.inputs}
    delayed = f"  assign #({rise:.3f}, {fall:.3f}) {_net(net)} ="
    if not cell.clock:
        return [f"{delayed} {re.sub(r'[A-Za-z_]+', lambda m: pins[m.group()], cell.function)};"]
    return [
        f"  reg q{number} = 0;",
        f"  always @(posedge {pins[cell.clock]}) q{number} <= {pins[cell.function]};",
        f"{delayed} q{number};",
    ]


def simulate(circuit: Circuit, driven: Timing, stimulus: np.ndarray, skip: int = 2) -> Simulated:
    """Runs a circuit.

    Args:
      circuit: of cells.
      driven: its `timing`.
      stimulus: [cycles, inputs] what comes in before each edge, in the order of `circuit.inputs`;
        of a negative number the lowest bits are taken.
      skip: cycles at the beginning in which changes do not count.

    Raises:
      tools.ToolError: if Icarus is not there, or fails.
    """
    words = []
    widths = [len(circuit.ports[name]) for name in circuit.inputs]
    for row in stimulus.tolist():
        word, place = 0, 0
        for value, width in zip(row, widths, strict=True):
            word |= (value & ((1 << width) - 1)) << place
            place += width
        words.append(f"{word:x}")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "stimulus.hex").write_text("\n".join(words) + "\n")
        (Path(folder) / "bench.v").write_text(bench(circuit, driven, len(words), skip))
        tools.run(["iverilog", "-o", "bench.vvp", "bench.v"], folder)
        said = tools.run(["vvp", "-n", "bench.vvp"], folder).split("\n")
    outputs = [name for name in circuit.ports if name not in circuit.inputs]
    rows = [[int(word, 2) for word in line.split()] for line in said[: len(words)]]
    counted = (line[1:].split() for line in said[len(words) :] if line)
    return Simulated(
        {int(net): int(count) for net, count in counted},
        dict(zip(outputs, np.array(rows).T, strict=True)),
    )


def energy(
    circuit: Circuit, driven: Timing, changes: Mapping[Bit, int], cycles: int, voltage: float
) -> Energy:
    """What the changes of `cycles` cycles take in one of them.

    Args:
      circuit: of cells.
      driven: its `timing`.
      changes: of each net, the clock's included.
      cycles: in which they were counted.
      voltage: of the library, in V.
    """

    def switching(net: Bit) -> float:
        return changes[net] * (driven.load[net] * voltage**2 / 2 + driven.inside.get(net, 0.0))

    logic = registers = 0.0
    ours = {instance.output for instance in circuit.instances}
    for net in driven.load:
        if isinstance(net, int) and net not in ours:
            registers += switching(net)
    for instance in circuit.instances:
        if not instance.cell.clock:
            logic += switching(instance.output)
            continue
        registers += switching(instance.output)
        for pin, edges in instance.cell.passive.items():
            net = instance.nets[pin]
            if isinstance(net, int):
                registers += changes[net] * _mean(e.at(0.0, driven.transition[net]) for e in edges)
    return Energy(logic / cycles, registers / cycles)
