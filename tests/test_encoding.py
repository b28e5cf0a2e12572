"""Codes: encode_params and decode_params give back what quantize_params gives, bit for bit.

What the integers stand for is worked out here with Python's exact fractions, from sign, exponent
and k alone.
"""

import dataclasses
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from flightnn_jax import (
    Binary,
    Codebook,
    FixedPoint,
    FixedPointCodes,
    Shift,
    ShiftCodes,
    Window,
    decode_params,
    encode_params,
    quantize_params,
    split_filters,
)

CLAMP, FLUSH = Window(), Window(below="flush")


def seven_filters(dtype="float32", axis=-1, power=0):
    """Seven filters [2, 3] of every kind, times 2**power, on a filter axis of choice."""
    rng = np.random.default_rng(0)
    filters = np.stack(
        [
            rng.normal(size=(2, 3)),
            rng.normal(size=(2, 3)) * [[0, 1, 1], [1, -0.0, 1]],  # zeros among other weights
            np.zeros((2, 3)),
            [[0.25, -0.5, 1], [-0.125, 1, -0.25]],  # exact with one term
            [[0.25, 0, -0.5], [1, 0, 0]],  # exact with one term, but for the zeros
            rng.normal(size=(2, 3)) * 2.0**-12,  # below a window of 8
            [[0.75, -0.375, 0.5], [1, 0.625, -0.25]],  # one term for some weights, two for others
        ]
    )
    return jnp.asarray(np.moveaxis(np.ldexp(filters, power), 0, axis), dtype)


def exact(codes):
    """Every weight as a fraction, and a check of what the docstring of ShiftCodes promises."""
    sign, exponent, low = (np.asarray(x) for x in (codes.sign, codes.exponent, codes.low))
    weights = np.empty(sign.shape[1:], object)
    for place in np.ndindex(weights.shape):
        weights[place] = Fraction(0)
        for j in range(len(sign)):
            s, e = int(sign[(j, *place)]), int(exponent[(j, *place)])
            stored = j < codes.k[place[codes.filter_axis]]
            assert s in ((-1, 0, 1) if stored else (0,))
            assert e >= low
            if codes.window is not None:
                assert e < low + codes.window.width
                assert s or not stored or codes.window.below == "flush"
            weights[place] += s * Fraction(2) ** e
    return weights


def assert_same_bits(a, b):
    a, b = np.asarray(a), np.asarray(b)
    assert (a.shape, a.dtype) == (b.shape, b.dtype)
    unsigned = f"u{a.dtype.itemsize}"
    np.testing.assert_array_equal(a.view(unsigned), b.view(unsigned))


def assert_encodes(w, fmt):
    """Encodes and decodes `w`; returns the codes."""
    quantized = quantize_params(w, fmt)
    codes = encode_params(w, fmt)
    codes.check()
    assert codes.dtype == w.dtype.name
    assert_same_bits(decode_params(codes), quantized)
    expected = np.vectorize(lambda x: Fraction(float(x)), otypes=[object])(np.asarray(quantized))
    if isinstance(fmt, FixedPoint):
        step = Fraction(2) ** int(codes.exponent)
        assert all(int(v) * step == x for v, x in zip(codes.value.flat, expected.flat, strict=True))
        return codes
    np.testing.assert_array_equal(exact(codes), expected)
    k_eff = np.asarray(fmt.count_shifts(w).k_eff)
    others = tuple(i for i in range(w.ndim) if i != codes.filter_axis)
    no_zero_code = fmt.window is not None and fmt.window.below == "clamp"
    takes_two = (expected == 0).any(axis=others) & (k_eff == 1) & no_zero_code
    np.testing.assert_array_equal(codes.k, np.where(takes_two, 2, k_eff))
    return codes


@pytest.mark.whole(5)
@pytest.mark.parametrize(
    ("k", "window"),
    [
        (1, CLAMP),
        (2, CLAMP),
        (3, CLAMP),
        (1, FLUSH),
        (2, FLUSH),
        (2, None),
        (3, None),
        (2, Window(top=-1)),
        (1, Window(top=-1, below="flush")),
        (3, Window(width=2)),
    ],
)
@pytest.mark.quick(0)
def test_shift_windows(k, window):
    codes = assert_encodes(seven_filters(), Shift(k=k, window=window))
    assert codes.k[2] == 0  # the filter of zeros stores nothing
    assert codes.k.max() >= k


@pytest.mark.quick(0)
def test_zero_in_a_one_term_filter_takes_two_terms():
    """A clamping window has no code for zero, so 0 = 2**e - 2**e and 2**e = 2**(e-1) + 2**(e-1)."""
    w = jnp.array([[1.0, 1.0], [0.0, 0.5], [2.0**-7, 0.25]])  # the first column has a zero
    clamp, flush = (assert_encodes(w, Shift(k=1, window=window)) for window in (CLAMP, FLUSH))
    assert clamp.k.tolist() == [2, 1]
    assert flush.k.tolist() == [1, 1]
    assert clamp.sign[:, 1, 0].tolist() == [1, -1]
    assert clamp.exponent[0, 1, 0] == clamp.exponent[1, 1, 0]


@pytest.mark.whole(3)
@pytest.mark.parametrize(("gates", "per_filter"), [("nested", False), ("independent", True)])
@pytest.mark.parametrize("thresholds", [[0, 0, 0], [1.5, 0.1, -1], [-1, -1, -1], [9, 9, 9]])
@pytest.mark.quick(0)
def test_thresholds(gates, thresholds, per_filter):
    t = jnp.asarray(thresholds, jnp.float32)
    t = jnp.tile(t[:, None], (1, 7)).at[:, 6].set(9) if per_filter else t
    codes = assert_encodes(seven_filters(), Shift(k=3, gates=gates, thresholds=t))
    if min(thresholds) > 3:
        assert codes.k.tolist() == [0] * 7
    else:
        assert max(codes.k) > 0
    if per_filter:
        assert codes.k[6] == 0  # pruned


@pytest.mark.whole(2)
@pytest.mark.parametrize(
    ("dtype", "axis", "rounding"),
    [
        ("bfloat16", -1, "log"),
        ("float16", 1, "linear"),
        ("float32", -3, "linear"),
    ],
)
@pytest.mark.quick(1)
def test_types_axes_and_roundings(dtype, axis, rounding):
    t = jnp.array([0.1, 0.2])
    fmt = Shift(k=2, rounding=rounding, filter_axis=axis, thresholds=t)
    codes = assert_encodes(seven_filters(dtype, axis), fmt)
    assert codes.filter_axis == axis % 3
    assert codes.k.shape == (7,)


@pytest.mark.quick(0)
@pytest.mark.parametrize("window", [CLAMP, FLUSH, None], ids=["clamp", "flush", "none"])
@pytest.mark.parametrize(
    ("dtype", "power"), [("float32", -126), ("float32", -121), ("float16", -22)]
)
def test_bottom_of_the_range(dtype, power, window):
    assert_encodes(seven_filters(dtype, power=power), Shift(k=2, window=window))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_largest_weights_stay_finite(dtype):
    w = jnp.array([[1, -1], [0.01, -0.75]], dtype) * jnp.finfo(dtype).max
    assert np.isfinite(np.asarray(quantize_params(w, Shift(k=2)), np.float64)).all()
    assert_encodes(w, Shift(k=2))


@pytest.mark.parametrize(
    ("dtype", "window", "power"),
    [
        ("float32", Window(top=131), 127),
        ("float32", Window(top=134), 127),  # holds 2**127 alone
        ("float16", Window(top=22), 15),
        ("float32", Window(top=-126), -126),  # holds 2**-126 alone
        ("float32", Window(width=600), 0),
    ],
)
@pytest.mark.quick(0)
def test_window_that_sticks_out_of_the_type(dtype, window, power):
    """One filter with a weight of exactly one term and a weight that takes two."""
    w = jnp.asarray(np.ldexp([[1.0], [0.75]], power), dtype)
    assert_encodes(w, Shift(k=2, window=window))


@pytest.mark.exhaustive
@pytest.mark.slow
def test_float64():
    with jax.enable_x64(True):
        for fmt in (Shift(k=2, thresholds=jnp.zeros(2)), FixedPoint()):
            for power in (0, -1022, 1000):
                assert_encodes(seven_filters("float64", power=power), fmt)


@pytest.mark.whole(6)
@pytest.mark.parametrize("fmt", [Shift(k=2), FixedPoint()], ids=["shift", "fixed"])
@pytest.mark.parametrize(
    ("shape", "axis"),
    [((0, 3), 0), ((0, 3), 1), ((2, 0, 3), 2), ((5,), 0), ((1, 1, 1, 7), -1)],
)
@pytest.mark.quick(0)
def test_empty_arrays_and_single_weights(shape, axis, fmt):
    w = jnp.arange(1, 1 + np.prod(shape), dtype=jnp.float32).reshape(shape) * -0.3
    assert_encodes(w, dataclasses.replace(fmt, filter_axis=axis))


@pytest.mark.parametrize(
    ("bits", "scale", "dtype"),
    [
        (2, "layer", "float32"),
        (4, "layer", "bfloat16"),
        (4, "unit", "float16"),
        (8, "unit", "float32"),
        (8, "layer", "bfloat16"),
        (16, "layer", "float32"),
    ],
)
@pytest.mark.quick(0)
def test_fixed_point(bits, scale, dtype):
    codes = assert_encodes(seven_filters(dtype, axis=1), FixedPoint(bits, scale, filter_axis=1))
    assert codes.filter_axis == 1
    assert codes.value.dtype == np.int16


def test_fixed_point_saturated_values_are_the_integers_times_the_step():
    """In bfloat16, too, where 2**15 - 1 has more bits than the type."""
    w = jnp.array([[1.5, -1.5]], jnp.bfloat16)
    assert_encodes(w, FixedPoint(bits=16, scale="unit"))


WEIGHTS = arrays.arrays(
    np.float32, (2, 3, 7), elements=st.floats(width=32, allow_infinity=False, allow_nan=False)
)
FORMATS = [
    Shift(k=1),
    Shift(k=2, thresholds=jnp.array([-1.0, 1e-3])),
    Shift(k=3, window=FLUSH, gates="independent", thresholds=jnp.array([10.0, 0.1, -0.5])),
    Shift(k=3, window=None),
    FixedPoint(bits=5),
    Binary(),
    Codebook(5, levels=jnp.array([-96, -3, 0, 5, 127]) / 4),
]


@pytest.mark.whole(4)
@settings(deadline=None, derandomize=True, database=None, max_examples=20)
@given(WEIGHTS)
@pytest.mark.parametrize(
    "fmt", FORMATS, ids=["k1", "k2", "flush", "none", "fixed", "binary", "levels"]
)
@pytest.mark.quick(2)
def test_any_weights(fmt, w):
    codes = encode_params(w, fmt)
    codes.check()
    assert_same_bits(decode_params(codes), quantize_params(w, fmt))


def test_trees_keep_what_stays_float():
    params = {"a": [seven_filters(), jnp.ones(3)], "b": {"c": np.ones((2, 2), np.float32)}, "n": 3}
    spec = {"a": [Shift(k=1), None], "b": FixedPoint(), "n": None}
    with pytest.raises(ValueError, match=r"\['b'\]"):
        encode_params({**params, "b": {}}, spec)
    encoded = encode_params(params, spec)
    assert isinstance(encoded["a"][0], ShiftCodes)
    assert encoded["a"][1] is params["a"][1]
    assert isinstance(encoded["b"]["c"], FixedPointCodes)
    assert encoded["n"] == 3
    jax.tree.map(assert_same_bits, decode_params(encoded), quantize_params(params, spec))


@pytest.mark.parametrize(
    "fmt", [Shift(k=3), Shift(k=2, window=None), FixedPoint()], ids=["clamp", "none", "fixed"]
)
def test_codes_are_trees_and_decode_under_jit(fmt):
    w = seven_filters()
    codes = encode_params({"w": w}, {"w": fmt})
    assert_same_bits(jax.jit(decode_params)(codes)["w"], quantize_params(w, fmt))
    for passed in (jax.tree.map(jnp.asarray, codes), jax.jit(lambda x: x)(codes)):
        assert jax.tree.structure(passed) == jax.tree.structure(codes)
        passed["w"].check()
        assert passed["w"].to_bytes() == codes["w"].to_bytes()


def test_encode_under_jit_is_refused():
    spec = {"a": None, "b": Shift()}
    with pytest.raises(TypeError, match=r"\['b'\] is traced by jit.*concrete.*outside jit"):
        jax.jit(lambda p: encode_params(p, spec))({"a": jnp.ones(2), "b": jnp.ones((2, 2))})
    w = jnp.ones((2, 2))
    with pytest.raises(TypeError, match=r"traced by jit.*outside jit"):
        jax.jit(lambda t: encode_params(w, Shift(thresholds=t)))(jnp.zeros(2))


def codes_to_break(below="clamp"):
    """Two filters: k = 2 and 1; the window is -7..0 and every exponent 0 or -1."""
    w = jnp.array([[1.5, 1.0], [0.5, -1.0]])
    t = jnp.array([[0.0, 0.0], [0.0, 9.0]])
    codes = Shift(k=2, window=Window(top=0, below=below), thresholds=t).encode(w)
    assert codes.k.tolist() == [2, 1]
    return codes


def changed(array, place, value):
    array = np.array(array)
    array[place] = value
    return array


@pytest.mark.parametrize(
    ("field", "place", "value", "message"),
    [
        ("k", 0, 3, "k from 1 to 3: .*0 to the 2 terms"),
        ("k", 1, -1, "k from -1 to 2"),
        ("k", 0, 1, "2 terms are stored, but the largest k is 1"),
        ("sign", (0, 0, 0), 2, r"signs \[.*2\]: each must be -1, 0 or 1"),
        ("sign", (1, 0, 1), 1, "beyond its filter's k has a sign"),
        ("sign", (0, 0, 1), 0, "sign 0: a clamping window has no code for zero"),
        ("exponent", (0, 0, 0), 1, "exponents from -7 to 1: each must be in the window -7..0"),
        ("exponent", (0, 1, 1), -8, "exponents from -8 to .* window -7..0"),
        ("exponent", (1, 0, 1), -6, "sign 0 must have the window's lowest exponent, -7"),
        ("low", (), -127, "smallest exponent -127: it must be from -126 to 127 for float32"),
        ("low", (), 128, "smallest exponent 128"),
        ("low", (), -3, r"exponents from -7 to .* window -3\.\.4"),
    ],
)
def test_shift_invariants(field, place, value, message):
    codes = codes_to_break()
    codes.check()
    broken = dataclasses.replace(codes, **{field: changed(getattr(codes, field), place, value)})
    with pytest.raises(ValueError, match=message):
        broken.check()
    with pytest.raises(ValueError, match=message):
        broken.to_bytes()


def test_shift_invariants_of_other_windows():
    """A flushing window has a code for zero; without a window the type sets the limits."""
    codes = codes_to_break("flush")
    sign = changed(codes.sign, (0, 0, 1), 0)
    exponent = np.where(sign == 0, -7, codes.exponent)
    zero = dataclasses.replace(codes, sign=sign, exponent=exponent)
    zero.check()
    with pytest.raises(ValueError, match="clamping window has no code for zero"):
        dataclasses.replace(zero, window=CLAMP).check()
    exponent = np.where(sign == 0, -24, changed(exponent, (0, 0, 0), 15))
    half = {"window": None, "dtype": "float16", "low": np.int32(-24)}
    dataclasses.replace(zero, exponent=exponent, **half).check()
    with pytest.raises(ValueError, match=r"exponents from -24 to 16: .* window -24\.\.15"):
        dataclasses.replace(zero, exponent=changed(exponent, (0, 0, 0), 16), **half).check()
    with pytest.raises(ValueError, match=r"exponents from 13 to 20: .* window 13\.\.15"):
        dataclasses.replace(
            codes, exponent=codes.exponent + 20, low=np.int32(13), dtype="float16"
        ).check()


@pytest.mark.parametrize("field", ["sign", "exponent", "k"])
def test_shift_invariant_of_shapes(field):
    codes = codes_to_break()
    with pytest.raises(ValueError, match=r"shapes of sign .* exponent .* k .* do not fit"):
        dataclasses.replace(codes, **{field: getattr(codes, field)[:1]}).check()


def test_shift_invariant_of_the_filter_axis():
    with pytest.raises(ValueError, match="filter_axis=2"):
        dataclasses.replace(codes_to_break(), filter_axis=2).check()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"value": np.array([[8, 0]], np.int16)}, "values from 0 to 8: 4 bits reach from -8 to 7"),
        ({"value": np.array([[-9, 0]], np.int16)}, "values from -9 to 0"),
        ({"exponent": np.int32(-127)}, "exponent -127: for float32 it must be from -126 to 127"),
        ({"exponent": np.int32(128)}, "exponent 128"),
        ({"dtype": "float16", "exponent": np.int32(-25)}, "for float16 it must be from -24 to 15"),
        ({"bits": 1}, "bits=1: must be from 2 to 16"),
        ({"bits": 17}, "bits=17"),
        ({"filter_axis": 2}, "filter_axis=2"),
    ],
)
def test_fixed_point_invariants(change, message):
    codes = FixedPoint(bits=4).encode(jnp.array([[1.0, -0.5]]))
    codes.check()
    broken = dataclasses.replace(codes, **change)
    with pytest.raises(ValueError, match=message):
        broken.check()
    with pytest.raises(ValueError, match=message):
        broken.to_bytes()


@pytest.mark.whole(2)
@pytest.mark.parametrize(("k", "window"), [(0, CLAMP), (1, CLAMP), (3, CLAMP), (3, FLUSH)])
@pytest.mark.quick(1)
def test_split_filters(k, window):
    """Figure 3: the parts are filters of one term, and a convolution is the sum of the parts'."""
    w = jnp.stack([seven_filters(), seven_filters()[::-1]])
    t = jnp.array([0.0, 0.1, 0.2][:k])
    fmt = Shift(k=k, window=window, thresholds=t)
    codes = encode_params(w, fmt)
    parts = split_filters(codes)
    assert len(parts) == max(codes.k)
    total = np.zeros(w.shape, np.float64)
    for j, part in enumerate(parts):
        part.check()
        assert part.sign.shape == (1, *w.shape)
        np.testing.assert_array_equal(part.k, codes.k > j)
        assert {abs(s) for s in np.unique(part.sign)} <= {0, 1}
        np.testing.assert_array_equal(exact(part), np.asarray(part.decode(), object))
        total += np.asarray(part.decode())
    quantized = quantize_params(w, fmt)
    assert_same_bits(total.astype(np.float32), quantized)

    image = jnp.asarray(np.random.default_rng(1).integers(-4, 5, size=(2, 5, 5, 3)), jnp.float32)

    def convolve(kernel):
        dims = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(image, kernel, (1, 1), "SAME", dimension_numbers=dims)

    outputs = [convolve(part.decode()) for part in parts]
    np.testing.assert_array_equal(sum(outputs, jnp.zeros_like(convolve(w))), convolve(quantized))
