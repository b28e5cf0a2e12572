"""Energies against the design's table, and activity against bits counted one by one."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flightnn_jax.hardware import activity, asic, report
from flightnn_jax.hardware.activity import Distances
from flightnn_jax.hardware.workload import from_network

check = settings(deadline=None, derandomize=True, database=None)


@pytest.mark.parametrize(("unit", "picojoules", "of_all"), [
    ("shift", 0.87, 1.61), ("two shifts", 1.88, 2.81), ("4x8", 1.75, 2.54),
    ("8x8", 3.28, 4.25), ("float32", 25.8, 30.0),
])  # fmt: skip
def test_energies_at_65_nm(unit, picojoules, of_all):
    energy = asic.operation(unit)
    assert energy.value == pytest.approx(picojoules, rel=0.01)
    assert energy.factor == 1.4
    assert asic.operation(unit, whole=True).value == pytest.approx(of_all, rel=0.01)


def test_energies_where_they_were_simulated():
    assert asic.operation("shift", whole=True, node=45, voltage=1.1).value == 1.23
    assert asic.operation("shift", whole=True, node=130, voltage=1.8).value == 5.53
    wide = {"shift": 1.54, "two shifts": 2.41, "4x8": 2.73}
    for unit, picojoules in wide.items():
        energy = asic.operation(unit, accumulator_bits=32, whole=True, node=45, voltage=1.1)
        assert energy.value == pytest.approx(picojoules)


def test_ratios_are_in_the_brackets_of_the_design():
    brackets = {"two shifts": (1.5, 2.2), "4x8": (1.0, 2.2), "8x8": (2.0, 4.3), "float32": (12, 32)}
    for unit, (low, high) in brackets.items():
        for whole in (True, False):
            ratio = asic.ratio(unit, whole=whole)
            assert low <= ratio.value <= high
            assert ratio.factor == 1.15
    assert asic.ratio("shift").value == 1


def test_published_arithmetic_is_cheaper_than_units_with_everything():
    multiply_add = asic.HOROWITZ["float32 add"] + asic.HOROWITZ["float32 multiply"]
    ours = asic.operation("float32", node=45, voltage=1.1).value
    assert 3 <= ours / multiply_add <= 10


def test_areas():
    assert [asic.area("shift", n).value for n in (45, 130)] == [411, 2018]
    low, high = 2018 / 4, 411 * (65 / 45) ** 2
    between = asic.area("shift")
    assert between.value == pytest.approx(math.sqrt(low * high))
    assert between.bar == "unverified"


@check
@given(st.sampled_from(list(asic.UNITS)), st.integers(1, 47), st.floats(20, 200))
def test_energy_grows_with_width_and_node(unit, bits, node):
    def energy(**changes):
        given = {"accumulator_bits": bits, "node": node, "voltage": 1.0} | changes
        return asic.operation(unit, **given).value

    assert 0 < energy() <= energy(accumulator_bits=bits + 1)
    assert energy() < energy(node=node * 1.1)
    assert energy(voltage=2.0) == pytest.approx(4 * energy())


def test_energy_of_a_network_is_the_sum_and_linear_in_k():
    one, two = (from_network("net1", s) for s in ("lightnn1", "lightnn2"))
    assert asic.energy(one).value == pytest.approx(
        sum(asic.layer_energy(x).value for x in one.layers)
    )
    for x, y in zip(one.layers, two.layers, strict=True):
        same_width = dataclasses.replace(y, accumulator_bits=x.accumulator_bits)
        assert asic.layer_energy(same_width).value == pytest.approx(2 * asic.layer_energy(x).value)
    layer = dataclasses.replace(one.layers[5], accumulator_bits=24)
    assert asic.layer_energy(layer).value == pytest.approx(64 * 64 * 9 * 64 * 0.876e-3, rel=1e-3)
    pruned = dataclasses.replace(layer, k=(0,) * 64)
    assert asic.layer_energy(pruned).value == 0
    full, fixed = (from_network("net1", s) for s in ("full", "fp4"))
    assert asic.energy(full).value > 10 * asic.energy(fixed).value
    assert asic.energy(fixed).value > asic.energy(one).value


def test_units_known_beside_a_shift():
    for name, beside in asic.BESIDE.items():
        for node, voltage in ((45, 1.1), (65, 1.2), (130, 1.8)):
            ours, shift = (
                [
                    asic.operation(unit, whole=whole, node=node, voltage=voltage)
                    for whole in (False, True)
                ]
                for unit in (name, "shift")
            )
            assert ours[0].value == pytest.approx(beside.combinational * shift[0].value)
            assert ours[1].value == pytest.approx(beside.whole * shift[1].value)
            assert {number.factor for number in ours} == {1.4 * 1.23}
        assert asic.area(name, 45).value == pytest.approx(411 * beside.area)
        assert asic.area(name, 45).factor == pytest.approx(1.15 * 1.35)
    # Less is done from one to the next.
    ascending = ("signs", "one bit", "table 3x3", "table 3x5", "table 3x8", "table 4x8")
    energies = [asic.operation(unit, whole=True).value for unit in ascending]
    assert energies[0] < energies[1]
    assert energies[2:] == sorted(energies[2:])
    assert asic.ratio("one bit", to="4x8").factor == pytest.approx(1.15 * 1.23)


def test_each_layer_has_the_unit_of_its_engine():
    def units(scheme):
        return [asic.unit_of(layer) for layer in from_network("net4", scheme).layers]

    assert units("binaryconnect") == ["one bit"] * 4
    assert units("bnn") == ["4x8", "one bit", "signs", "4x8"]
    assert units("table40") == ["table 3x8", "table 3x3", "table 3x3", "table 3x3"]
    assert units("table320") == ["table 4x8", "table 4x5", "table 4x5", "table 4x5"]
    assert units("codebook10") == ["table 4x8"] * 4
    signs = from_network("net4", "bnn").layers[2]
    grouped = dataclasses.replace(signs, kernel_shape=(3, 3, 1, signs.filters))
    assert asic.unit_of(grouped) == "one bit"
    many = dataclasses.replace(from_network("net4", "codebook10").layers[1], bits=5)
    assert asic.unit_of(many) == "8x8"
    assert asic.layer_energy(many).bar == "unverified"
    assert asic.ratio_error(from_network("net4", "lightnn1")) == 1.15
    assert asic.ratio_error(from_network("net4", "bnn")) == pytest.approx(1.15 * 1.23)


def test_activity_of_one_bit_is_a_part_of_a_shift():
    one, bit = (from_network("net4", s).layers[1] for s in ("lightnn1", "binaryconnect"))
    shift, ours = (activity.layer_energy(layer, TYPICAL) for layer in (one, bit))
    assert ours.value == pytest.approx(asic.BESIDE["one bit"].whole * shift.value)
    assert ours.factor == pytest.approx(1.4 * 1.23)
    mixed = from_network("net4", "bnn")
    text = report.activity_text(mixed, {layer.name: TYPICAL for layer in mixed.layers})
    assert text.splitlines()[3].split()[1:] == ["exact"] * 4 + ["±72", "%"] * 3


def test_bad_energies():
    with pytest.raises(ValueError, match="unit 'abacus' is unknown: choose one of shift"):
        asic.operation("abacus")
    with pytest.raises(ValueError, match="accumulator_bits=0"):
        asic.operation("shift", accumulator_bits=0)
    with pytest.raises(ValueError, match="node=0 nm"):
        asic.operation("shift", node=0)
    for unit, node in (("abacus", 65), ("shift", -1)):
        with pytest.raises(ValueError, match="choose one of shift"):
            asic.area(unit, node)


# The mean of 29 network-like traces is about here (docs/measurements/energy.md).
TYPICAL = Distances(3.0, 1.5, 5.0, 6.0)


def test_activity_with_a_pencil():
    energy = activity.operation("shift", TYPICAL, node=45, voltage=1.1)
    assert energy.value == pytest.approx(0.439 + 3 * 0.055 + 1.5 * 0.127 + 5 * 0.032 + 6 * 0.044)
    assert energy.factor == 1.18
    energy = activity.operation("4x8", TYPICAL, node=130, voltage=1.8)
    assert energy.value == pytest.approx(3 * 0.239 + 1.5 * 0.045 + 5 * 0.712 + 6 * 0.358)


def test_activity_between_the_libraries():
    low = activity.operation("shift", TYPICAL, node=130, voltage=1.8).value * 0.2222
    high = activity.operation("shift", TYPICAL, node=45, voltage=1.1).value * 1.719
    energy = activity.operation("shift", TYPICAL)
    assert energy.value == pytest.approx(math.sqrt(low * high), rel=1e-3)
    assert energy.factor == 1.4
    # Of the size of the constant that needs no trace.
    assert 0.6 < energy.value / asic.operation("shift", whole=True).value < 1.4


@check
@given(
    st.sampled_from(["shift", "two shifts", "4x8"]),
    st.lists(st.floats(0, 8), min_size=4, max_size=4),
    st.integers(0, 3),
)
def test_more_activity_takes_no_less(unit, bits, i):
    more = [b + (j == i) for j, b in enumerate(bits)]
    less, greater = (activity.operation(unit, Distances(*d)).value for d in (bits, more))
    assert 0 <= less <= greater


def counted(values, bits):
    """Bits that change between neighbours, counted one by one in strings."""
    changes = []
    for row in values:
        codes = [format(int(v) & ((1 << bits) - 1), f"0{bits}b") for v in row]
        pairs = itertools.pairwise(codes)
        changes += [sum(a != b for a, b in zip(x, y, strict=True)) for x, y in pairs]
    return sum(changes) / len(changes)


@pytest.mark.parametrize("bits", [4, 8, 16, 24])
def test_mean_distances(bits):
    rng = np.random.default_rng(bits)
    values = rng.integers(-(2**23), 2**23, size=(7, 9), dtype=np.int32)
    assert activity.mean_distance(values, bits) == pytest.approx(counted(values, bits))
    assert activity.mean_distance(values[:, :1], bits) == 0


def test_the_trace_of_a_layer_is_that_of_a_loop():
    rng = np.random.default_rng(0)
    windows = rng.integers(-128, 128, (5, 18))
    negative, exponents = rng.random((18, 3)) < 0.5, rng.integers(0, 8, (18, 3))
    traces = [[], [], [], []]
    for window in windows:
        for f in range(3):
            total, rows = 0, [[], [], [], []]
            for a, n, e in zip(window, negative[:, f], exponents[:, f], strict=True):
                product = (-1 if n else 1) * int(a) * 2 ** int(e)
                total += product
                for row, value in zip(rows, (a, 8 * n + e, product, total), strict=True):
                    row.append(value)
            for trace, row in zip(traces, rows, strict=True):
                trace.append(row)
    trace = activity.shift_trace(windows, negative, exponents)
    expected = [counted(t, bits) for t, bits in zip(traces, (8, 4, 16, 24), strict=True)]
    assert trace == pytest.approx(expected)


def test_energy_from_a_layers_own_trace():
    layer = from_network("net1", "lightnn1").layers[5]
    one = activity.operation("shift", TYPICAL)
    moving = activity.layer_energy(layer, TYPICAL)
    assert moving.value == pytest.approx(one.value * 64 * 64 * 9 * 64 / 1e3)
    still = activity.layer_energy(layer, Distances(0, 0, 0, 0))
    assert 0 < still.value < moving.value
    four = from_network("net1", "fp4").layers[5]
    assert activity.layer_energy(four, TYPICAL).value != moving.value
    with pytest.raises(ValueError, match="of the format 'full' was not modelled"):
        activity.layer_energy(from_network("net1", "full").layers[0], TYPICAL)


def test_bad_traces():
    with pytest.raises(ValueError, match="integers, not float64"):
        activity.mean_distance([0.5, 1.0], 8)
    with pytest.raises(ValueError, match="bits=0"):
        activity.mean_distance([1, 2], 0)
    with pytest.raises(ValueError, match="must be \\(positions, taps\\)"):
        activity.shift_trace([[1, 2]], [[True]], [[0]])
    with pytest.raises(ValueError, match="activations of 1 to 128 are outside"):
        activity.shift_trace([[1, 128]], [[True], [False]], [[0], [1]])
    with pytest.raises(ValueError, match="exponents of 0 to 8 are outside 0 to 7"):
        activity.shift_trace([[1, 2]], [[True], [False]], [[0], [8]])
    with pytest.raises(ValueError, match="unit 'float32' was not simulated"):
        activity.operation("float32", TYPICAL)
    with pytest.raises(ValueError, match=r"weight=-1.0 bits change"):
        activity.operation("shift", Distances(1.0, -1.0, 1.0, 1.0))
    with pytest.raises(ValueError, match=r"fitted at 45 nm and 1.1 V only"):
        activity.operation("8x8", TYPICAL)
    assert activity.operation("8x8", TYPICAL, node=45, voltage=1.1).value > 0
