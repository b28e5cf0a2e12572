"""Devices: the known ones, a user's, and memories of blocks."""

import itertools
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flightnn_jax.hardware import device

check = settings(deadline=None, derandomize=True, database=None)

# BRAM, DSP, FF, LUT.
TABLE = {
    "XC7Z045": (1090, 900, 437_200, 218_600),
    "XC7Z020": (280, 220, 106_400, 53_200),
    "XCZU7EV": (624, 1728, 460_800, 230_400),
    "ECP5-45": (108, 72, 43_848, 43_848),
    "ECP5-85": (208, 156, 83_640, 83_640),
    "iCE40UP5K": (30, 8, 5_280, 5_280),
}
OWN = {"name": "mine", "bram": 7, "dsp": 0, "ff": 100, "lut": 50, "clock_mhz": 12.5}


def test_known_devices():
    assert [d.name for d in device.DEVICES] == list(TABLE)
    for name, resources in TABLE.items():
        board = device.named(name.lower())
        assert tuple(board.available().values()) == resources
        assert board.origin
        assert board.origin != "given by the user"
    assert device.named("XC7Z045").clock_mhz == 100


def test_an_unknown_device_lists_the_known_ones():
    with pytest.raises(ValueError, match="'xc7z' is unknown") as error:
        device.named("xc7z")
    assert all(name in str(error.value) for name in TABLE)


def test_a_users_device(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({**OWN, "lut_inputs": 4, "block_shapes": [[256, 16]]}))
    board = device.named(str(path))
    assert board.available() == {"BRAM": 7, "DSP": 0, "FF": 100, "LUT": 50}
    assert (board.block_bits, board.lut_factor, board.clock_mhz) == (4096, 2, 12.5)


@pytest.mark.parametrize(("change", "message"), [
    ({"bram": -1}, "which is not negative"),
    ({"clock_mhz": 0}, "clock_mhz=0 must be a number above 0"),
    ({"clock_mhz": "fast"}, "clock_mhz='fast' must be a number"),
    ({"lut": 1.5}, "lut=1.5 must be a whole number"),
    ({"lut": True}, "lut=True must be a whole number"),
    ({"lut_inputs": 5}, "lut_inputs=5"),
    ({"block_shapes": []}, "block_shapes"),
    ({"block_shapes": [[1]]}, "must list 1 to 100 pairs"),
    ({"block_shapes": 3}, "must list 1 to 100 pairs"),
    ({"colour": "red"}, r"unknown fields \['colour'\]"),
])  # fmt: skip
def test_bad_devices(change, message):
    with pytest.raises(ValueError, match=message):
        device.from_json(json.dumps({**OWN, **change}))


def test_what_is_no_device():
    with pytest.raises(ValueError, match=r"missing fields \['lut'\]"):
        device.from_json(json.dumps({k: v for k, v in OWN.items() if k != "lut"}))
    with pytest.raises(ValueError, match="list instead of an object"):
        device.from_json("[]")
    with pytest.raises(ValueError, match=r"mine.json is no JSON"):
        device.from_json("{", "mine.json")


@check
@given(st.sampled_from(device.DEVICES), st.integers(1, 3000), st.integers(1, 9000))
def test_blocks_hold_the_memory_and_grow_with_it(board, bits, words):
    blocks = board.blocks(bits, words)
    assert blocks >= math.ceil(bits * words / board.block_bits)
    assert any(
        blocks == -(-bits // width) * -(-words // depth) for depth, width in board.block_shapes
    )
    assert board.blocks(bits + 1, words) >= blocks
    assert board.blocks(bits, words + 1) >= blocks
    assert board.blocks(0, words) == board.blocks(bits, 0) == 0


def test_shares():
    ice = device.named("iCE40UP5K")
    assert ice.share([15, 2, 0, 0]) == 0.5
    assert ice.shortage([30, 8, 5280, 5280]) == {}
    assert list(ice.shortage([31, 9, 5281, 0])) == ["BRAM", "DSP", "FF"]
    none = device.from_json(json.dumps(OWN))
    assert none.share([0, 1, 0, 0]) == math.inf
    assert none.share([0, 0, 0, 0]) == 0
    for a, b in itertools.pairwise([0, 3, 7, 8]):
        assert none.share([a, 0, 0, 0]) < none.share([b, 0, 0, 0])
