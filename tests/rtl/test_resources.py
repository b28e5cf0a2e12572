"""What stages take by formula, against what Yosys 0.23 made of them once, and makes now."""

import shutil

import numpy as np
import pytest

from benchmarks import rtl_drawn, rtl_resources
from flightnn_jax.fpga import Resources
from flightnn_jax.rtl import parts, resources, synthesize, verilog
from flightnn_jax.rtl.architecture import Stream
from tests.rtl.layers import needs

# By Yosys 0.23 (docs/measurements/rtl.md): the text, LUT, FF, BRAM18, DSP.
MEASURED = {
    "conv 5x5/1 5-8 at 4, k=2, fold 4,1,1,2": (606, 482, 1, 0),
    "conv 3x3/1 5-9 at 8, k=1, fold 3,3,1,1": (749, 526, 0, 0),
    "conv 1x1/1 14-14 at 16, k=2, fold 2,2,2,2": (733, 491, 0, 0),
    "conv 1x1/2 20-12 at 8, 4-bit, fold 4,1,1,1": (662, 346, 0, 0),
    "conv 3x3/1 25-16 at 16, 4-bit, fold 8,4,1,2": (2511, 987, 5, 0),
    "conv 3x3/1 21-10 at 16, k=2, fold 8,2,2,2": (1716, 1157, 4, 0),  # of three lanes k=1
    "conv 3x3/1 33-21 at 16, signs of signs, fold 4,16,1,1": (524, 305, 3, 0),
    "conv 5x5/1 43-30 at 4, signs, fold 7,4,1,1": (1079, 781, 4, 0),
    "conv 1x1/2 27-35 at 8, signs of signs, fold 6,21,1,2": (803, 441, 0, 0),
    "conv 3x3/2 7-17 at 8, 5 levels of 0 to 7, fold 3,4,1,1": (762, 477, 0, 0),
    "conv 1x1/1 6-18 at 8, 10 levels of -128 to 127, fold 4,3,1,2": (1559, 1107, 0, 0),
    "wires 3x3/1 2-4 at 4, 1 sums at once": (942, 756, 0, 0),
    "wires 1x1/2 9-3 at 8, 3 sums at once": (435, 640, 0, 0),
    "counted wires 3x3/2 8-11 at 4, 1 sums at once": (722, 697, 0, 0),
    "counted wires 1x1/1 69-19 at 4, 1 sums at once": (1057, 1076, 0, 0),
}


@pytest.fixture(scope="module")
def stages():
    first, second = rtl_drawn.SEEN_LATER
    drawn = [*rtl_drawn.drawn(first, {"convolve": 7})]
    drawn += rtl_drawn.drawn(second, {"convolve": 13, "wired": 4})
    place = list(rtl_drawn.DRAW).index("signs")
    drawn += [rtl_drawn.signs(np.random.default_rng((second, place, i))) for i in range(11)]
    place, held_out = list(rtl_drawn.DRAW).index("levels"), rtl_drawn.HELD_OUT
    drawn += [rtl_drawn.levels(np.random.default_rng((held_out, place, i))) for i in (1, 5)]
    place = list(rtl_drawn.DRAW).index("counted")
    drawn += [rtl_drawn.counted(np.random.default_rng((held_out, place, i))) for i in (6, 7)]
    return {x.text: x.stage for x in drawn}


@pytest.mark.parametrize("text", MEASURED)
def test_stages_take_what_yosys_made_of_them(stages, text):
    lut, ff, bram, dsp = MEASURED[text]
    stage = stages[text]
    said, errors = resources.of(stage), resources.ERRORS[resources.kind(stage)]
    assert (said.bram, said.dsp) == (bram, dsp)
    assert said.ff == pytest.approx(ff, rel=errors.ff - 1)
    assert said.lut == pytest.approx(lut, rel=errors.lut - 1)


def registers(source):
    """Of fl_pool without block memory, counted by hand in its Verilog."""
    _, width, channels = source.shape
    values = source.values
    beats = -(-channels // values)
    address = max(1, (width // 2 * beats - 1).bit_length())
    beat = (beats - 1).bit_length() if beats > 1 else 0
    own = beat + 2 * address + 2  # beat, start and address, right and below
    inside = 4 + 8 * values + address + 8 * values + 8 * values  # fl_reduce, its memory's output
    return own + inside + 2 * 8 * values + 2  # fl_buffer


@pytest.mark.parametrize("seed", range(6))
def test_registers_of_pools(seed):
    drawn = rtl_drawn.pool(np.random.default_rng(seed))
    if not verilog.instance(drawn.stage).parameters["BLOCK"]:
        assert resources.of(drawn.stage).ff == registers(drawn.stage.source)


def test_constant_and_equal_columns_of_a_table_take_nothing():
    p = parts.Parameters(verilog.Instance("fl_rom", {}, {}), parts.CONSTANTS)
    columns = np.array([[0, 1, 0, 1], [1, 0, 0, 1], [0, 1, 0, 1], [1, 0, 0, 0]])
    assert p.rom(4, 4, columns).ff == 3  # the third one is constant
    assert p.rom(4, 4, np.repeat(columns[:, :1], 4, axis=1)) == Resources(ff=1)  # an address bit
    assert p.rom(1, 4, columns[:1]) == Resources()
    assert p.rom(128, 4, None) == Resources(lut=8, ff=4)
    assert p.rom(4097, 9, None, block=1) == Resources(bram=3, lut=9, ff=2)  # three slices


# Of fl_rom with BLOCK=1 by Yosys 0.23: bits and words, blocks of 18 kb.
BLOCKS = {
    (20, 1100): 2,
    (32, 1300): 3,
    (64, 1500): 6,
    (20, 2100): 3,
    (36, 2500): 5,
    (8, 3000): 2,
    (20, 4200): 5,
    (12, 5000): 4,
    (80, 600): 5,
}


@pytest.mark.parametrize(("bits", "words"), BLOCKS)
def test_blocks_as_yosys_packs_them(bits, words):
    assert parts.packed(bits, words)[0] == BLOCKS[bits, words]


def test_words_that_are_written_lie_in_lanes_of_nine_bits():
    assert parts.packed(8, 959) == (1, 1)
    assert parts.packed(32, 1249, lane=9) == (3, 3)  # 36 bits a slice


def test_half_a_column_that_is_constant_is_a_reset():
    columns = {
        (0, 1, 1, 0, 1, 0, 0, 1): 1,  # a table
        (0, 1, 1, 0, 1, 1, 1, 1): 2,  # a table, and set by the highest bit
        (0, 1, 0, 1, 0, 0, 0, 0): 1,  # reset by the highest bit, else the lowest one
        (0, 1, 0, 1, 0, 1, 0, 1): 0,  # the lowest bit
        (0, 0, 1, 1, 0): 1,  # the word that is alone resets; the rest is a bit
        (0, 1, 1, 0, 1): 2,
    }
    for words, tables in columns.items():
        assert parts.tables(np.array([words]).T) == tables, words
    alike = np.array([(0, 1, 1, 0, 1, 1, 1, 1), (0, 1, 1, 0, 0, 0, 0, 0)]).T
    assert parts.tables(alike) == 3  # a table for both, and a reset for each


def test_tables_are_read_as_they_are_written():
    made = verilog.Instance("x", {"FILE": '"a.hex"'}, {"a.hex": b"1f\na0\n"})
    table = parts.Parameters(made, parts.CONSTANTS).table("FILE", 7)
    np.testing.assert_array_equal(table, [[1, 1, 1, 1, 1, 0, 0], [0, 0, 0, 0, 0, 1, 0]])


@pytest.mark.exhaustive
@pytest.mark.slow
@needs("yosys")
def test_yosys_still_says_so():
    some = list(rtl_drawn.drawn(rtl_drawn.SEEN, {"requantize": 2, "pool": 1}))
    for one in rtl_resources.measured(some):
        assert one.said.ff == pytest.approx(one.found.ff, rel=0.03)
        assert one.said.lut == pytest.approx(one.found.lut, rel=0.25)
        assert (one.said.bram, one.said.dsp) == (one.found.bram, one.found.dsp)


def test_all_columns_of_a_table_that_is_not_given():
    stage = rtl_drawn.requantize(np.random.default_rng(3)).stage
    made = verilog.instance(stage)
    whole, bare = resources.of(stage), resources.of_instance(made._replace(files={}))
    assert bare.ff >= whole.ff
    assert bare.lut >= whole.lut
    assert isinstance(stage.source, Stream)


def test_devices_and_programs(monkeypatch):
    assert synthesize.device("ecp5-45").place[1] == "--45k"
    assert not synthesize.device("XC7Z020").place
    with pytest.raises(synthesize.SynthesisError, match="choose one of ECP5-45"):
        synthesize.device("Z80")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    why_not = synthesize.unavailable("iCE40UP5K")
    assert why_not.startswith("yosys, nextpnr-ice40, icepack is not installed")
    with pytest.raises(synthesize.SynthesisError, match="yosys is not installed"):
        synthesize.count(".", "top", "XC7")
