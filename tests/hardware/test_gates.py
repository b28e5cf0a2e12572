"""Energy of gates: against pencil and paper, and changes counted without delays in Python."""

import itertools
import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks import energy_data, energy_units, gates, liberty, rtl_energy
from benchmarks.gates import Circuit, Instance
from flightnn_jax.hardware import asic
from flightnn_jax.rtl import tools

icarus = pytest.mark.skipif(
    tools.unavailable(["iverilog", "vvp"]) is not None, reason="needs Icarus"
)
yosys = pytest.mark.skipif(
    tools.unavailable(["yosys", "iverilog", "vvp"]) is not None, reason="needs Yosys and Icarus"
)
WIRE, VOLTAGE = 0.5, 2.0
TABLE = '(t) {{ index_1 ("1, 3"); index_2 ("0, 1"); values ("{0}, {0}", "{1}, {1}"); }}'


def _edges(what, rise, fall):
    return "".join(
        f"{name} {TABLE.format(*value)}" for name, value in zip(what, (rise, fall), strict=True)
    )


def _arc(pin, kind, delay):
    """Delays that do not depend on the load, and 0.25 pJ for a rise and 0.75 pJ for a fall."""
    return (
        f'timing () {{ related_pin : "{pin}"; {kind}'
        + _edges(("cell_rise", "cell_fall"), (delay, delay), (delay, delay))
        + _edges(("rise_transition", "fall_transition"), (0.5, 0.5), (0.5, 0.5))
        + f'}} internal_power () {{ related_pin : "{pin}";'
        + _edges(("rise_power", "fall_power"), (0.25, 0.25), (0.75, 0.75))
        + "}"
    )


def _gate(name, function, delay):
    pins = sorted(set(re.findall("[AB]", function)))
    inputs = "".join(f"pin ({p}) {{ direction : input; capacitance : 1; }}" for p in pins)
    arcs = "".join(_arc(pin, "timing_sense : negative_unate;", delay) for pin in pins)
    return (
        f"cell ({name}) {{ area : 2; {inputs} "
        f'pin (Y) {{ direction : output; capacitance : 0; function : "{function}"; {arcs} }} }}'
    )


FLOP = (
    'cell (FLOP) { area : 8; ff (IQ, IQN) { next_state : "D"; clocked_on : "CLK"; }'
    "pin (CLK) { direction : input; capacitance : 1.5; clock : true; internal_power () {"
    'rise_power (p) { index_1 ("0, 1"); values ("2, 2"); }'
    'fall_power (p) { index_1 ("0, 1"); values ("4, 4"); } } }'
    "pin (D) { direction : input; capacitance : 1; internal_power () {"
    'rise_power (p) { index_1 ("0, 1"); values ("1, 1"); }'
    'fall_power (p) { index_1 ("0, 1"); values ("1, 1"); } } }'
    f'pin (Q) {{ direction : output; function : "IQ"; {_arc("CLK", "", 0.2)} }} }}'
)
TEXT = (
    '/* one */ library (small) { time_unit : "1ns"; voltage_unit : "1V"; '
    f"capacitive_load_unit (1,pf); nom_voltage : {VOLTAGE}; "
    "lu_table_template (t) { variable_1 : total_output_net_capacitance; "
    'variable_2 : input_net_transition; index_1 ("1, 3"); index_2 ("0, 1"); }\n'
    + _gate("INV", "(!A)", 1.0)
    + _gate("NAND", "(!(A B))", 0.4)
    + _gate("SLOW", "(!(A B))", 1.6)
    + FLOP
    + "cell (PAD) { pad_cell : true; pin (A) { direction : input; capacitance : 9; }"
    'pin (Y) { direction : output; function : "A"; } } }'
)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A library of three gates and a flip-flop, and its file."""
    path = tmp_path_factory.mktemp("liberty") / "small.lib"
    path.write_text(TEXT)
    return path, liberty.load(path)


def test_a_library_is_read(small, tmp_path):
    library = small[1]
    assert library.voltage == VOLTAGE
    assert sorted(library.cells) == ["FLOP", "INV", "NAND", "SLOW"]
    nand, flop = library.cells["NAND"], library.cells["FLOP"]
    assert (nand.function, nand.inputs, nand.area) == ("(!(A&B))", {"A": 1.0, "B": 1.0}, 2.0)
    assert (flop.function, flop.clock) == ("D", "CLK")
    assert [edge.at(5.0, 0.3) for edge in flop.passive["CLK"]] == [2.0, 4.0]
    (tmp_path / "none.lib").write_text("nothing")
    with pytest.raises(ValueError, match="give a Liberty file"):
        liberty.load(tmp_path / "none.lib")
    (tmp_path / "other.lib").write_text(TEXT.replace("1ns", "1ps"))
    with pytest.raises(ValueError, match="not ns, V and pF"):
        liberty.load(tmp_path / "other.lib")


def _divider(library, second):
    """A flip-flop, an inverter behind it, and a gate of both, which without delays is always 1."""
    cells = library.cells
    wired = [
        Instance(cells["FLOP"], {"CLK": 2, "D": 3, "Q": 4}),
        Instance(cells["INV"], {"A": 4, "Y": 5}),
        Instance(cells[second], {"A": 4, "B": 5, "Y": 6}),
    ]
    return Circuit(wired, {"d": [3], "out": [6]}, ["d"], 2)


@icarus
@pytest.mark.parametrize(("second", "pulses"), [("NAND", 1), ("SLOW", 0)])
def test_energy_with_a_pencil(small, second, pulses):
    circuit = _divider(small[1], second)
    driven = gates.timing(circuit, WIRE)
    assert driven.load == {2: 2.0, 3: 1.5, 4: 3.0, 5: 1.5, 6: 0.0}
    cycles, skip = 12, 2
    given = (np.arange(cycles) % 2)[:, None]  # a change in each cycle
    simulated = gates.simulate(circuit, driven, given, skip)
    counted = cycles - skip
    # Where q rises, both inputs of the gate are 1 for the 1 ns of the inverter: a pulse, two
    # changes, if the gate takes less than that.
    assert simulated.changes == {
        2: 2 * counted, 3: counted, 4: counted, 5: counted, 6: pulses * counted
    }  # fmt: skip
    assert set(simulated.outputs["out"]) == {1}
    energy = gates.energy(circuit, driven, simulated.changes, counted, VOLTAGE)
    half = VOLTAGE**2 / 2
    inside = (0.25 + 0.75) / 2
    assert energy.logic == pytest.approx((1.5 * half + inside) + pulses * inside)
    clock = 2 * 2.0 * half + (2 + 4)
    assert energy.registers == pytest.approx((3.0 * half + inside) + (1.5 * half + 1) + clock)


def _settled(circuit, rows):
    """Every net at the end of each cycle, with no delay, by evaluating cells in Python."""
    state = dict.fromkeys((x.output for x in circuit.instances), 0)
    state |= {"0": 0, "1": 1, circuit.clock: 0}
    flops = [x for x in circuit.instances if x.cell.clock]
    logic = [x for x in circuit.instances if not x.cell.clock]
    found = []

    def settle():
        for _ in range(len(logic)):
            before = dict(state)
            for x in logic:
                a, b = (state[x.nets.get(pin, "0")] for pin in "AB")
                state[x.output] = {"INV": 1 - a}.get(x.cell.name, 1 - (a & b))
            if before == state:
                return

    for row in rows:
        for name, value in zip(circuit.inputs, row.tolist(), strict=True):
            state |= {net: value >> i & 1 for i, net in enumerate(circuit.ports[name])}
        settle()
        state |= {flop.output: state[flop.nets["D"]] for flop in flops}
        settle()
        found.append(dict(state))
    return found


@yosys
def test_changes_against_cells_in_python(small):
    text = (
        "module unit (input clk, input [2:0] x, output reg [4:0] sum);"
        "always @(posedge clk) sum <= sum + {2'b0, x}; initial sum = 0; endmodule"
    )
    circuit = gates.synthesize(text, "unit", *small)
    driven = gates.timing(circuit, WIRE)
    rows = np.random.default_rng(5).integers(0, 8, (40, 1))
    skip = 4
    simulated = gates.simulate(circuit, driven, rows, skip)
    np.testing.assert_array_equal(simulated.outputs["sum"], np.cumsum(rows) % 32)
    settled = _settled(circuit, rows)
    glitches = 0
    for instance in circuit.instances:
        net = instance.output
        least = sum(a[net] != b[net] for a, b in itertools.pairwise(settled[skip - 1 :]))
        more = simulated.changes[net] - least
        assert more >= 0
        if instance.cell.clock:
            assert more == 0  # a flip-flop changes once
        glitches += more
    assert glitches > 0


LEVELS = (-60, -20, 0, 20, 60)
UNITS = [
    energy_units.signs(8),
    *(
        pytest.param(unit, marks=pytest.mark.slow)
        for unit in (
            energy_units.shifts("two shifts", 2),
            energy_units.multiplier(4),
            energy_units.one_bit(),
            energy_units.signs(16),
            energy_units.table(LEVELS, 3, 5),
            energy_units.table(LEVELS, 3, 8),
        )
    ),
]


@pytest.mark.whole(4)
@yosys
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_units_sum_up_products(small, unit):
    rows = energy_data.draws(unit)[:2]
    circuit = gates.synthesize(unit.verilog(24), "unit", *small)
    driven = gates.timing(circuit, WIRE)
    energy = rtl_energy.run(unit, circuit, driven, rows, VOLTAGE)
    assert energy.logic > 0
    assert energy.registers > 0
    given, _ = energy_data.stimulus(unit, rows)
    given[:, 2] ^= 1
    simulated = gates.simulate(circuit, driven, given)
    with pytest.raises(ArithmeticError, match=f"{unit.name}: the sum of cycle"):
        rtl_energy.check(unit, simulated, energy_data.stimulus(unit, rows)[1], 24)


@pytest.mark.exhaustive
@yosys
@pytest.mark.slow
@pytest.mark.skipif(not Path(rtl_energy.LIBRARY).is_file(), reason="needs qflow-tech-osu018")
def test_the_model_has_what_is_measured():
    library = liberty.load(rtl_energy.LIBRARY)
    shift, one_bit = (
        rtl_energy.measure(unit, Path(rtl_energy.LIBRARY), library, rtl_energy.WIRE)
        for unit in (energy_units.shifts("shift", 1), energy_units.one_bit())
    )
    beside = asic.BESIDE["one bit"]
    logic, whole = rtl_energy.ratios(one_bit.draws, shift.draws)
    assert logic == pytest.approx(beside.combinational, rel=0.05)  # other Yosys, other cells
    assert whole == pytest.approx(beside.whole, rel=0.05)
    assert one_bit.area / shift.area == pytest.approx(beside.area, rel=0.05)


def test_what_is_absent_is_said_in_one_line(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["rtl_energy", "--library=/none.lib"])
    assert rtl_energy.main() == 1
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 1
    assert "install" in said[0]


def test_what_units_read():
    values = np.array([[[-3, 8], [1, -1], [5, 2]]])  # a map of 1 x 3 pixels of two channels
    signs = energy_data.adapted(energy_units.signs(8), values)
    np.testing.assert_array_equal(signs, [[[1, 0], [1, 1], [0, 1]]])
    three = energy_data.adapted(energy_units.table((0, 1), 3, 3), values)
    deviation = np.sqrt((64 + 1 + 25 + 4) / 4)
    expected = [[round(max(0, x) * 2 / deviation) for x in pixel] for pixel in values[0]]
    np.testing.assert_array_equal(three, [expected])
    codes, weights = energy_data.coded(
        energy_units.shifts("shift", 1), np.array([[4.0, 1.0], [-0.5, 8.0]])
    )
    signed = np.where(codes & 1, -1, 1) << (codes >> 1)
    np.testing.assert_array_equal(signed[:, 0], weights)
    np.testing.assert_array_equal(weights * 16, [[4 * 256, -0.5 * 256], [256, 8 * 256]])
