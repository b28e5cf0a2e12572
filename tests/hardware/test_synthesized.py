"""Units and engines against the synthesis results of the design's tables, typed in once more."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flightnn_jax.hardware import device, synthesized
from flightnn_jax.hardware.styles import engine, hardwired
from flightnn_jax.hardware.workload import LayerWork, from_network
from flightnn_jax.integer.certificate import Range
from flightnn_jax.integer.codebook import CodebookWeights
from flightnn_jax.integer.network import Affine, Convolution
from flightnn_jax.integer.weights import BinaryWeights, IntegerWeights, ShiftWeights
from flightnn_jax.rtl import constants, verilog
from flightnn_jax.rtl import folding as rtl_folding
from flightnn_jax.rtl.architecture import Fold, Stream

check = settings(deadline=None, derandomize=True, database=None)

BOARD = device.named("XC7Z045")

# unit, accumulator, LUT with Yosys 0.23 and 0.70, FF, DSP.
SYNTHESIZED = [
    ("shift", 20, 52, 54, 33, 0),
    ("shift", 24, 56, 58, 37, 0),
    ("shift", 32, 64, 66, 45, 0),
    ("two shifts", 24, 103, 88, 41, 0),
    ("two shifts", 32, 111, 96, 49, 0),
    ("4x8 in LUTs", 24, 141, 97, 37, 0),
    ("4x8 in LUTs", 32, 173, 114, 45, 0),
    ("8x8 in LUTs", 24, 265, 240, 41, 0),
    ("8x8 in LUTs", 32, 329, 293, 49, 0),
    ("4x8 in a DSP", 24, 0, 0, 1, 1),
    ("8x8 in a DSP", 32, 0, 0, 1, 1),
    ("float32", 32, 697, 540, 113, 2),
    ("float32 in LUTs", 32, 1823, 1811, 130, 0),
]


@pytest.mark.parametrize(("name", "bits", "old", "new", "ff", "dsp"), SYNTHESIZED)
def test_units(name, bits, old, new, ff, dsp):
    for version, lut in (("0.23", old), ("0.70", new)):
        unit = synthesized.unit(name, bits, version)
        assert unit.lut == pytest.approx(lut, rel=0.1)
        assert unit.ff == pytest.approx(ff, abs=0.5)
        assert unit.dsp == dsp


@check
@given(
    st.sampled_from(synthesized.UNITS), st.integers(1, 64), st.sampled_from(synthesized.VERSIONS)
)
def test_units_grow_with_their_accumulator(name, bits, version):
    narrow, wide = (synthesized.unit(name, b, version) for b in (bits, bits + 1))
    assert 0 <= narrow.lut <= wide.lut
    assert 0 <= narrow.ff <= wide.ff
    assert narrow.dsp == wide.dsp


def test_a_new_measurement_moves_the_line(monkeypatch):
    before = synthesized.unit("shift", 40).lut
    point = synthesized.Point("shift", 40, (90, 90), 60, 0)
    monkeypatch.setattr(synthesized, "POINTS", (*synthesized.POINTS, point))
    synthesized._lines.cache_clear()
    assert before < synthesized.unit("shift", 40).lut < 90
    monkeypatch.undo()
    synthesized._lines.cache_clear()
    assert synthesized.unit("shift", 40).lut == before


def test_bad_units():
    with pytest.raises(ValueError, match="unit 'divider' was not measured: choose one of shift"):
        synthesized.unit("divider", 24)
    with pytest.raises(ValueError, match=r"Yosys '0.5' was not measured"):
        synthesized.unit("shift", 24, "0.5")
    with pytest.raises(ValueError, match="accumulator_bits=0"):
        synthesized.unit("shift", 0)


@pytest.mark.parametrize(("name", "old", "new"), [
    ("L-1", 923, 875), ("L-2", 1866, 1770), ("FP 4-bit", 1171, 1055), ("FP 8-bit", 2838, 2393),
])  # fmt: skip
def test_dot_products(name, old, new):
    assert synthesized.dot_product(name, 16).lut == old
    assert synthesized.dot_product(name, 16, "0.70").lut == new
    assert synthesized.dot_product(name, 32).lut == pytest.approx(2.02 * old)
    assert synthesized.dot_product(name, 16).dsp == 0


def test_dot_products_that_are_special():
    assert synthesized.dot_product("FP 4-bit in DSPs", 16)[::2] == (0, 16)
    assert synthesized.dot_product("L-1, one flat sum", 16).lut == 1456
    with pytest.raises(ValueError, match=r"not measured with Yosys 0.70"):
        synthesized.dot_product("L-1, one flat sum", 16, "0.70")
    with pytest.raises(ValueError, match="choose one of L-1"):
        synthesized.dot_product("L-9", 16)
    with pytest.raises(ValueError, match="taps=0"):
        synthesized.dot_product("L-1", 0)


def layer(inputs, filters, side, kind="shift", k=1):
    shapes = (side, side, inputs), (side, side, filters)
    return LayerWork("x", (3, 3, inputs, filters), 1, *shapes, kind, (k,) * filters, 24, 4)


def generated(k, lanes, side=6, inputs=4, kind="shift"):
    """The record of `rtl` of a 3x3 engine with one activation and one term a cycle."""
    filters = len(k)
    order = np.argsort(-np.array(k, int), kind="stable")
    if kind == "fp4":
        weights = IntegerWeights(np.ones((3, 3, inputs, filters), np.int8))
    else:
        there = np.arange(max(k))[:, None, None, None, None] < np.array(k)
        sign = np.broadcast_to(there, (max(k), 3, 3, inputs, filters)).astype(np.int8)
        weights = ShiftWeights(sign, np.zeros(sign.shape, np.uint8), np.array(k, np.uint8))
    return engine_of(weights, lanes, order, side)


def engine_of(weights, lanes, order, side=6, reach=(-128, 127)):
    """With one activation and one term a cycle."""
    *_, inputs, filters = weights.shape
    source = Stream("x", (side, side, inputs), 8, 1, np.arange(inputs))
    output = Stream("y", (side, side, filters), 24, 1, order)
    none = np.zeros(filters, np.int32)
    affine = Affine(none, none, none, none)
    layer = Convolution("y", "x", 1, weights, 0, affine, none, 0, none)
    return constants.convolution(
        layer, source, output, Fold(lanes), Range(*np.tile(reach, (inputs, 1)).T)
    )


@check
@given(st.lists(st.integers(0, 3), min_size=1, max_size=12).filter(any), st.data())
def test_an_engine_is_the_generated_one(k, data):
    work = with_k(k)
    lanes = engine.lanes(work, data.draw(st.integers(1, len(k))))
    folding = next(r for r in engine.foldings(work) if engine.lanes(work, r) == lanes)
    stage = generated(k, lanes)
    streams = max(stage.source.total, stage.output.total)
    assert engine.cycles(work, folding) == max(rtl_folding.engine(stage), streams)
    whole = verilog.instance(stage)
    made = engine.engine(work, lanes, in_dsp=False)
    names = set(whole.parameters) - {"EMPTY", "CODES", "TURN_FILE"}
    assert {name: made.parameters[name] for name in names} == {
        name: whole.parameters[name] for name in names
    }


def test_an_engine_of_signs_is_the_generated_one():
    shapes = (6, 6, 4), (6, 6, 5)
    work = LayerWork("x", (3, 3, 4, 5), 1, *shapes, "binary", (1,) * 5, 7, 1, signs=True)
    weights = BinaryWeights(np.zeros((3, 3, 4, 5), np.uint8))
    whole = verilog.instance(engine_of(weights, 2, np.arange(5), reach=(-1, 1)))
    made = engine.engine(work, 2, in_dsp=False)
    names = set(whole.parameters) - {"EMPTY", "CODES", "TURN_FILE", "SUM"}
    assert {"CODE", "SIGNS"} < names
    for name in names:
        assert made.parameters[name] == whole.parameters[name], name


@pytest.mark.parametrize("reach", [(0, 31), (-128, 127)])
def test_an_engine_of_levels_is_the_generated_one(reach):
    shapes = (6, 6, 4), (6, 6, 5)
    more = {"shared_bits": 80, "activations": reach}
    work = LayerWork("x", (3, 3, 4, 5), 1, *shapes, "codebook", (1,) * 5, 20, 4, **more)
    levels = np.arange(-127, 127, 26, dtype=np.int8)
    weights = CodebookWeights(levels, np.zeros((3, 3, 4, 5), np.uint8))
    stage = engine_of(weights, 2, np.arange(5), reach=reach)
    whole = verilog.instance(stage)
    made = engine.engine(work, 2, in_dsp=False)
    names = set(whole.parameters) - {"EMPTY", "CODES", "TURN_FILE", "SUM", "TABLE"}
    assert {"LOOKUP", "KEPT", "PARTS"} < names
    for name in names:
        assert made.parameters[name] == whole.parameters[name], name


def test_multipliers_in_blocks_or_tables():
    work = layer(16, 64, 8, "fp4")
    in_blocks, in_tables = (
        engine.parts(work, 4, BOARD, multiplier=name).of(1) for name in ("dsp", "lut")
    )
    assert in_blocks.dsp == 16 + 1  # and that of the affine map
    assert in_tables.dsp == 1
    assert in_blocks.lut < in_tables.lut


def brute_force_passes(k, lanes):
    """Rounds of `lanes` filters, by falling k; each lasts as long as its longest filter."""
    waiting, passes = sorted((x for x in k if x), reverse=True), 0
    while waiting:
        now, waiting = waiting[:lanes], waiting[lanes:]
        passes += max(now)
    return passes


K = st.lists(st.integers(0, 3), min_size=1, max_size=12)


def with_k(k):
    shapes = (6, 6, 4), (6, 6, len(k))
    return LayerWork("x", (3, 3, 4, len(k)), 1, *shapes, "shift", tuple(k), 24, 4)


@check
@given(K, st.data())
def test_passes(k, data):
    work = with_k(k)
    folding = data.draw(st.integers(1, len(k)))
    lanes = engine.lanes(work, folding)
    assert lanes <= work.active_filters
    assert engine.passes(work, folding) == brute_force_passes(k, lanes)
    assert engine.cycles(work, folding) >= 36 * 36 * engine.passes(work, folding)


@check
@given(K, st.data())
def test_every_folding_is_like_one_that_is_listed(k, data):
    work = with_k(k)
    folding = data.draw(st.integers(1, len(k)))

    def what(rounds):
        return engine.cycles(work, rounds), engine.parts(work, rounds, BOARD)

    assert what(folding) in [what(rounds) for rounds in engine.foldings(work)]


@check
@given(K, st.data(), st.integers(1, 5))
@pytest.mark.slow
def test_engines_grow_with_k_width_and_batch(k, data, batch):
    folding = data.draw(st.integers(1, len(k)))
    i = data.draw(st.integers(0, len(k) - 1))
    more = [x + (j == i and x < 3) for j, x in enumerate(k)]
    less, greater = with_k(k), with_k(more)
    wider = dataclasses.replace(less, accumulator_bits=25)
    if engine.lanes(less, folding) == engine.lanes(greater, folding):
        assert engine.cycles(less, folding) <= engine.cycles(greater, folding)
    small = engine.parts(less, folding, BOARD).of(batch)
    for other in (
        engine.parts(wider, folding, BOARD).of(batch),
        engine.parts(less, folding, BOARD).of(batch + 1),
    ):
        assert all(a <= b for a, b in zip(small, other, strict=True))
    assert hardwired.luts(less) <= hardwired.luts(greater)


def test_a_pruned_layer_takes_a_lane():
    work = with_k([0, 0, 0])
    assert engine.foldings(work) == [1]
    assert engine.passes(work, 1) == 0
    one = with_k([1, 0, 0])
    least, more = (engine.parts(x, 1, BOARD).each for x in (work, one))
    assert least.ff == more.ff - 2 * 4  # two registers of an address of 36 steps, not of 3
    assert 0 < least.lut < more.lut
    assert engine.cycles(work, 1) == 36 * 4  # the values that come in; filters take a step each
    assert hardwired.luts(work) == 0


def test_bad_engines():
    for folding in (0, 3):
        with pytest.raises(ValueError, match=f"folding={folding} is outside 1"):
            engine.lanes(with_k([1, 2]), folding)
    with pytest.raises(ValueError, match="multiplier='abacus': choose one of dsp, lut"):
        engine.parts(layer(4, 4, 4, "fp4"), 1, BOARD, multiplier="abacus")


def test_floats_take_two_dsps_or_none():
    work = from_network("net4", "full").layers[0]
    assert engine.parts(work, 1, BOARD).of(1).dsp == 2 * 16
    assert engine.parts(work, 1, BOARD, multiplier="lut").of(1).dsp == 0


def test_small_tables_count_double():
    four = device.from_json(
        json.dumps({"name": "x", "bram": 99, "dsp": 9, "ff": 9, "lut": 9, "clock_mhz": 1})
    )
    half = dataclasses.replace(four, lut_inputs=4)
    work = layer(16, 64, 8)
    assert hardwired.resources(work, half).lut == pytest.approx(
        2 * hardwired.resources(work, four).lut, abs=2
    )
    one, two = (engine.parts(work, 1, d).of(1).lut for d in (four, half))
    assert two == pytest.approx(2 * one, abs=2)
