"""Packed codes: round trips, every bit of the payload, and files that are damaged or hostile.

Files are read and built here with `struct`, `zlib` and Python integers alone:

    magic 4 | version 1 | kind 1 | body length 8 | body | CRC-32 of all before it 4
    body: type 1 | axes 1 | filter axis 1 | 8 for the length of each axis | header | integers
    header of shift codes: terms 1 | window kind 1 | width 2 | low 2; integers: k, terms
    header of fixed-point codes: bits 1 | exponent 2; integers: values
"""

import struct
import tracemalloc
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from flightnn_jax import Binary, Codebook, FixedPoint, FixedPointCodes, Shift, ShiftCodes, Window
from flightnn_jax.formats import packing

CLAMP, FLUSH = Window(), Window(below="flush")
FLOAT16, BFLOAT16, FLOAT32, FLOAT64 = range(4)
NO_WINDOW, CLAMPING, FLUSHING = range(3)


def framed(kind, body, version=1, magic=b"FLNN"):
    data = magic + struct.pack("<BBQ", version, kind, len(body)) + body
    return data + struct.pack("<I", zlib.crc32(data))


def array_header(shape, axis, dtype):
    return struct.pack(f"<BBb{len(shape)}Q", dtype, len(shape), axis, *shape)


def shift_file(
    shape=(1, 2), axis=0, dtype=FLOAT32, terms=1, window=CLAMPING, width=8, low=-7, rest=b"\1\x3e"
):
    """By default one filter of two weights in one term: 2**0 and -2**-6."""
    header = struct.pack("<BBHh", terms, window, width, low)
    return framed(1, array_header(shape, axis, dtype) + header + rest)


def fixed_file(shape=(1, 2), axis=0, dtype=FLOAT32, bits=4, exponent=-3, rest=b"\xf7"):
    """By default the two weights 7/8 and -1/8."""
    header = struct.pack("<Bh", bits, exponent)
    return framed(2, array_header(shape, axis, dtype) + header + rest)


def integers(data, bits, count):
    """`count` integers of `bits` bits each, lowest bit first; what is left over must be zero."""
    number = int.from_bytes(data, "little")
    assert number >> (count * bits) == 0
    return [number >> (i * bits) & ((1 << bits) - 1) for i in range(count)]


def weights(shape, dtype="float32"):
    rng = np.random.default_rng(0)
    w = rng.normal(size=shape) * rng.choice([1, 0, 2.0**-9], size=shape, p=[0.7, 0.15, 0.15])
    return jnp.asarray(w, dtype)


def assert_same_codes(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(x, y, strict=True)


SHIFTS = [
    pytest.param(Shift(k=0), "float32", 1, id="pruned"),
    pytest.param(Shift(k=1), "float32", 4, id="k1"),
    pytest.param(Shift(k=3, thresholds=jnp.array([0.1, 0.9, 0.3])), "float32", 4, id="flexible"),
    pytest.param(Shift(k=2, window=FLUSH), "float32", 5, id="flush"),
    pytest.param(Shift(k=2, window=Window(7, below="flush")), "float32", 4, id="flush7"),
    pytest.param(Shift(k=2, window=Window(width=20, top=3)), "float32", 6, id="wide"),
    pytest.param(Shift(k=2, window=None), "float32", 9, id="none"),
    pytest.param(Shift(k=1, window=None), "float16", 7, id="none16"),
    pytest.param(Shift(k=2, filter_axis=0), "bfloat16", 4, id="first"),
    pytest.param(Shift(k=2, filter_axis=1, window=FLUSH), "float16", 5, id="middle"),
]


@pytest.mark.parametrize(("fmt", "dtype", "term_bits"), SHIFTS)
def test_shift_payload_bit_by_bit(fmt, dtype, term_bits):
    """A code is 2 (exponent - low) + (1 for minus), + 1 where 0 is the code for zero."""
    codes = fmt.encode(weights((3, 5, 2), dtype))
    data = codes.to_bytes()
    size = 30 // len(codes.k)
    stored = int(sum(codes.k)) * size
    assert codes.storage_bits() == stored * term_bits

    payload = (stored * term_bits + 7) // 8
    table = (2 * len(codes.k) + 7) // 8
    body = data[14:-4]
    assert integers(body[len(body) - payload - table : len(body) - payload], 2, len(codes.k)) == (
        codes.k.tolist()
    )
    stored_codes = iter(integers(body[len(body) - payload :], term_bits, stored))
    zero = codes.window is None or codes.window.below == "flush"
    for i, k in enumerate(codes.k):
        for j in range(k):
            sign = np.take(codes.sign[j], i, codes.filter_axis).ravel().tolist()
            exponent = np.take(codes.exponent[j], i, codes.filter_axis).ravel().tolist()
            for s, e in zip(sign, exponent, strict=True):
                expected = 2 * (e - int(codes.low)) + (s < 0) + zero if s else 0
                assert next(stored_codes) == expected
    assert_same_codes(ShiftCodes.from_bytes(data), codes)


@pytest.mark.parametrize("bits", [2, 4, 7, 16])
def test_fixed_point_payload_bit_by_bit(bits):
    codes = FixedPoint(bits, filter_axis=1).encode(weights((3, 5, 2)))
    data = codes.to_bytes()
    values = integers(data[-4 - (30 * bits + 7) // 8 : -4], bits, 30)
    half = 1 << (bits - 1)
    assert [v - 2 * half if v >= half else v for v in values] == codes.value.ravel().tolist()
    assert_same_codes(FixedPointCodes.from_bytes(data), codes)


def test_files_as_documented():
    """The two files above, byte by byte, and what they stand for."""
    shift = ShiftCodes.from_bytes(shift_file())
    assert shift.decode().tolist() == [[1.0, -0.015625]]
    assert shift.to_bytes() == shift_file()
    fixed = FixedPointCodes.from_bytes(fixed_file())
    assert fixed.decode().tolist() == [[0.875, -0.125]]
    assert fixed.to_bytes() == fixed_file()


FLOATS = arrays.arrays(
    np.float32, (4, 3), elements=st.floats(-(2**100), 2**100, width=32, allow_subnormal=False)
)


@pytest.mark.quick(0)
@settings(deadline=None, derandomize=True, database=None, max_examples=25)
@given(FLOATS)
@pytest.mark.parametrize(
    "fmt",
    [
        Shift(k=2, thresholds=jnp.array([0.5, 0.01])),
        Shift(k=3, window=FLUSH, filter_axis=0),
        Shift(k=2, window=None),
        FixedPoint(bits=5),
        Binary(),
    ],
    ids=["clamp", "flush", "none", "fixed", "binary"],
)
def test_round_trip(fmt, w):
    codes = fmt.encode(jnp.asarray(w))
    assert_same_codes(type(codes).from_bytes(codes.to_bytes()), codes)


@pytest.mark.quick(0)
@pytest.mark.whole(7)
@pytest.mark.parametrize(
    "fmt",
    [Shift(k=2), FixedPoint(), Binary(), Codebook()],
    ids=["shift", "fixed", "binary", "codebook"],
)
@pytest.mark.parametrize(("shape", "axis"), [((1,), 0), ((0, 3), 1), ((2, 0), 0), ((1,) * 32, 5)])
def test_round_trip_of_odd_shapes(shape, axis, fmt):
    codes = type(fmt)(filter_axis=axis).encode(jnp.ones(shape))
    assert_same_codes(type(codes).from_bytes(codes.to_bytes()), codes)


def test_round_trip_of_float64():
    with jax.enable_x64(True):
        for fmt in (Shift(k=2, window=None), FixedPoint(bits=16)):
            codes = fmt.encode(weights((3, 2), "float64") * 2.0**-700)
            assert_same_codes(type(codes).from_bytes(codes.to_bytes()), codes)


SMALL = [
    pytest.param(ShiftCodes, shift_file(), id="shift"),
    pytest.param(FixedPointCodes, fixed_file(), id="fixed"),
]


@pytest.mark.parametrize(("kind", "data"), SMALL)
def test_every_truncation_is_found(kind, data):
    for length in range(len(data)):
        with pytest.raises(ValueError, match="truncated"):
            kind.from_bytes(data[:length])


@pytest.mark.parametrize(("kind", "data"), SMALL)
def test_every_flipped_bit_is_found(kind, data):
    for place in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[place // 8] ^= 1 << place % 8
        with pytest.raises(ValueError, match="packed codes"):
            kind.from_bytes(bytes(flipped))


@pytest.mark.parametrize(("kind", "data"), SMALL)
def test_other_files_are_refused(kind, data):
    other = fixed_file() if kind is ShiftCodes else shift_file()
    body = data[14:-4]
    number = data[5]
    for wrong, message in (
        (data + b"\0", "followed by something else"),
        (other, "kind .* unpack them with the class that packed them"),
        (framed(7, body), "kind 7"),
        (framed(number, body, version=2), "version 2: .* reads version 1; use the release"),
        (framed(number, body, version=0), "version 0"),
        (framed(number, body, magic=b"PK\3\4"), "start with b'FLNN'.*other data"),
        (framed(number, body + b"\0"), "1 bytes more than they describe"),
        (framed(number, body[:-1]), "end too soon: . more bytes are needed, . are left"),
        (framed(number, b""), "end too soon"),
        (b"", "truncated"),
    ):
        with pytest.raises(ValueError, match=message):
            kind.from_bytes(wrong)


HUGE = 1 << 50
AXES = "there are 4 types, 1 to 32 axes"
ANY = "."


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"shape": (HUGE, 2)}, "end too soon"),
        ({"shape": (2**64 - 1, 2**64 - 1)}, "end too soon"),
        ({"shape": (1, HUGE)}, "end too soon"),
        ({"shape": (1, HUGE), "rest": b"\0"}, ANY),  # a pruned filter takes no bits
        ({"shape": (0, 2**64 - 1), "rest": b""}, ANY),
        ({"shape": (1, 0, 2**64 - 1), "rest": b"\0"}, ANY),
        ({"shape": ()}, AXES),
        ({"shape": (1,) * 33}, AXES),
        ({"axis": 2}, AXES),
        ({"axis": -1}, AXES),
        ({"dtype": 4}, AXES),
        ({"dtype": 255}, AXES),
        ({"terms": 4}, "4 terms .* at most 3 terms"),
        ({"terms": 255}, "255 terms"),
        ({"window": 3}, "window kind 3"),
        ({"width": 0}, "width 0"),
        ({"width": 1}, "width 1"),
        ({"width": 0, "window": FLUSHING, "rest": b"\1\0"}, "width 0"),
        ({"terms": 1, "rest": b"\2\0\0"}, "k from 2 to 2: .*0 to the 1 terms"),
        ({"terms": 2}, "2 terms are stored, but the largest k is 1"),
        ({"terms": 0}, "k from 1 to 1: .*0 to the 0 terms"),
        ({"low": -127}, "smallest exponent -127"),
        ({"low": -32768}, "smallest exponent -32768"),
        ({"low": 32767}, "smallest exponent 32767"),
        ({"low": 127}, "exponents .* window 127..127"),
        ({"dtype": FLOAT16, "low": -25}, "smallest exponent -25: .* for float16"),
        ({"width": 9, "rest": b"\1\x52\2"}, "exponents from .* to 2: .* window -7..1"),
        ({"window": FLUSHING, "rest": b"\1\xff\3"}, "exponents from .* window -7..0"),
        ({"width": 65535, "rest": b"\1" + b"\xff" * 4 + b"\3"}, "exponents"),
        ({"rest": b"\5\x3e"}, "end in the byte 5, of which 2 bits are used"),  # of k
        ({"shape": (1, 1), "rest": b"\1\x1e"}, "end in the byte 30, of which 4 bits are used"),
        ({"window": NO_WINDOW, "rest": b"\1\2\2\0"}, "a width of 8 without a window"),
    ],
)
def test_hostile_shift_files(header, message):
    assert_refused(ShiftCodes, shift_file(**header), message)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"shape": (HUGE, 2)}, "end too soon"),
        ({"shape": (2**64 - 1,) * 32}, "end too soon"),
        ({"shape": (0, 2**64 - 1), "rest": b""}, ANY),
        ({"shape": ()}, AXES),
        ({"shape": (1,) * 255}, AXES),
        ({"axis": 2}, AXES),
        ({"axis": -1}, AXES),
        ({"dtype": 9}, AXES),
        ({"bits": 0}, "bits=0"),
        ({"bits": 1}, "bits=1"),
        ({"bits": 17}, "bits=17"),
        ({"bits": 255}, "bits=255"),
        ({"shape": (1, 1), "rest": b"\x17"}, "end in the byte 23, of which 4 bits are used"),
        ({"exponent": -127}, "exponent -127"),
        ({"exponent": 32767}, "exponent 32767"),
        ({"dtype": FLOAT16, "exponent": 16}, "exponent 16: for float16"),
    ],
)
def test_hostile_fixed_point_files(header, message):
    assert_refused(FixedPointCodes, fixed_file(**header), message)


def assert_refused(kind, data, message):
    """ValueError and nothing else, in little memory; the checksum is right."""
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=message):
            kind.from_bytes(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20


LENGTHS = st.sampled_from([0, 1, 2, 3, HUGE, 2**63, 2**64 - 1])
SHORTS = st.sampled_from([-32768, -127, -126, -7, 0, 15, 120, 127, 128, 32767])


@pytest.mark.quick(0)
@settings(deadline=None, derandomize=True, database=None, max_examples=300)
@given(st.data())
@pytest.mark.parametrize("kind", [ShiftCodes, FixedPointCodes])
def test_any_body_is_refused_or_valid(kind, data):
    shape = data.draw(st.lists(LENGTHS, min_size=1, max_size=3))
    axis = data.draw(st.integers(0, len(shape) - 1))
    array = array_header(shape, axis, data.draw(st.integers(0, 3)))
    if kind is ShiftCodes:
        terms, window = data.draw(st.integers(0, 3)), data.draw(st.integers(0, 2))
        width = data.draw(st.sampled_from([2, 8, 9, 300, 65535]))
        header = struct.pack("<BBHh", terms, window, width, data.draw(SHORTS))
    else:
        header = struct.pack("<Bh", data.draw(st.integers(2, 16)), data.draw(SHORTS))
    body = array + header + data.draw(st.binary(max_size=12))
    framed_body = framed(1 if kind is ShiftCodes else 2, body)
    try:
        codes = kind.from_bytes(framed_body)
    except ValueError:
        return
    codes.check()
    assert codes.to_bytes() == framed_body  # one payload for each array of codes


@pytest.mark.parametrize("bits", range(1, 17))
def test_pack_integers_against_python(bits):
    rng = np.random.default_rng(bits)
    for count in (0, 1, 2, 7, 8, 9, 100):
        values = rng.integers(0, 1 << bits, size=count)
        number = sum(int(v) << (i * bits) for i, v in enumerate(values))
        expected = number.to_bytes((count * bits + 7) // 8, "little")
        assert packing.pack_integers(values, bits) == expected
        np.testing.assert_array_equal(packing.unpack_integers(expected, count, bits), values)


def test_pack_integers_by_the_million():
    """More than the library packs at once, at a width that does not fill whole bytes."""
    values = np.random.default_rng(0).integers(0, 8, size=(1 << 20) + 3)
    data = packing.pack_integers(values, 3)
    assert len(data) == (3 * values.size + 7) // 8
    number = int.from_bytes(data, "little")
    for i in (0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 2):
        assert number >> (3 * i) & 7 == values[i]
    np.testing.assert_array_equal(packing.unpack_integers(data, values.size, 3), values)
