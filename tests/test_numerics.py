"""Rounding to powers of two: every bit pattern of the small types, every switch of the large."""

import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flightnn_jax import exponent_of, power_of_two, round_to_power_of_two
from tests.support import oracle

pytestmark = pytest.mark.optimized

ROUNDINGS = ["log", "linear"]
rounded = jax.jit(round_to_power_of_two, static_argnames="rounding")
# The last mantissa below sqrt(2), of 23 and of 52 bits, by integer square roots.
SQRT2 = {bits: math.isqrt(2 << (2 * bits)) - (1 << bits) for bits in (23, 52)}


def switch_mantissas(bits):
    """Mantissas next to the places at which the result or the exponent changes."""
    half, last = 1 << (bits - 1), (1 << bits) - 1
    return [0, 1, *(SQRT2[bits] + i for i in (-1, 0, 1, 2)), half - 1, half, half + 1, last]


def bits_of(x):
    x = np.asarray(x)
    return x.view(f"u{x.dtype.itemsize}")


def expected_power(x, rounding, dtype):
    """R(x) of one finite number, from the rational oracle."""
    reach = oracle.REACH[dtype]
    r = oracle.rational(x, reach)
    return float(oracle.term_of(r, reach.lowest, reach.highest, False, rounding))


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("exponent", [-126, 0, 126, 127])
def test_every_mantissa_rounds_by_its_square(exponent, rounding):
    mantissa = np.arange(1 << 23, dtype=np.uint32)
    sign = (mantissa * np.uint32(2654435761)) & np.uint32(1 << 31)  # a scrambled half of them
    x = (np.uint32((exponent + 127) << 23) | mantissa | sign).view(np.float32)
    whole = mantissa.astype(np.uint64) + np.uint64(1 << 23)
    up = whole * whole > 2 << 46 if rounding == "log" else 2 * whole > 3 << 23
    field = np.minimum(exponent + 127 + up, 254).astype(np.uint32)  # 2**127 is the largest
    found = rounded(x, rounding=rounding)
    np.testing.assert_array_equal(bits_of(found), field << np.uint32(23) | sign)


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_float32_switches_at_every_exponent(rounding):
    field = np.arange(1, 255, dtype=np.uint32)[:, None] << np.uint32(23)
    x = (field | np.array(switch_mantissas(23), np.uint32)).view(np.float32)
    expected = [[expected_power(v, rounding, "float32") for v in row] for row in x]
    expected = np.array(expected, np.float32)
    np.testing.assert_array_equal(bits_of(rounded(x, rounding=rounding)), bits_of(expected))
    np.testing.assert_array_equal(bits_of(rounded(-x, rounding)), bits_of(-expected))


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_every_number_of_16_bits(dtype, rounding):
    """Subnormal float16 numbers round like others, subnormal bfloat16 numbers count as zero."""
    half = np.arange(1 << 15, dtype=np.uint16)
    x = half.view(jnp.dtype(dtype))
    sign = np.uint16(1 << 15)
    found = bits_of(rounded(np.stack([x, (half | sign).view(x.dtype)]), rounding))
    infinity = int(bits_of(np.array(np.inf, x.dtype)))
    expected = [expected_power(v, rounding, dtype) for v in x[:infinity]]
    expected = bits_of(np.array(expected, np.float32).astype(x.dtype))
    np.testing.assert_array_equal(found[0, :infinity], expected)
    np.testing.assert_array_equal(found[1, :infinity], expected | np.where(expected, sign, 0))
    np.testing.assert_array_equal(found[:, infinity], [infinity, infinity | sign])
    assert np.all(found[:, infinity + 1 :] & ~sign > infinity)  # NaN


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_float64_switches_at_every_exponent(rounding):
    mantissas = switch_mantissas(52)
    one = 1 << 52
    ups = [
        (one + m) ** 2 > 2 * one * one if rounding == "log" else 2 * (one + m) > 3 * one
        for m in mantissas
    ]
    field = np.arange(1, 2047, dtype=np.uint64)[:, None]
    shift = np.uint64(52)
    x = (field << shift | np.array(mantissas, np.uint64)).view(np.float64)
    expected = np.minimum(field + np.array(ups, np.uint64), 2046) << shift
    with jax.enable_x64(True):
        found = np.asarray(rounded(np.stack([x, -x]), rounding))
        assert found.dtype == np.float64
    np.testing.assert_array_equal(bits_of(found[0]), expected)
    np.testing.assert_array_equal(bits_of(found[1]), expected | np.uint64(1 << 63))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
def test_subnormals_and_zeros_become_positive_zero(dtype):
    with jax.enable_x64(dtype == "float64"):
        dtype = jnp.dtype(dtype)
        smallest = float(jnp.finfo(dtype).smallest_normal)
        below = np.array([0.0, smallest / 2, smallest * 0.984375], dtype)
        x = np.concatenate([below, -below])
        assert np.count_nonzero(x) == 4
        np.testing.assert_array_equal(bits_of(rounded(x)), 0)
        assert float(rounded(np.array(-smallest, dtype))) == -smallest


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_beyond_the_largest_power_it_saturates_and_keeps_what_is_not_finite(dtype, rounding):
    with jax.enable_x64(dtype == "float64"):
        largest = float(jnp.finfo(dtype).max)
        top = 2.0 ** oracle.REACH[dtype].highest
        x = jnp.array([largest, -largest, jnp.inf, -jnp.inf, jnp.nan], dtype)
        found = np.asarray(rounded(x, rounding=rounding)).astype(np.float64)
    np.testing.assert_array_equal(found, [top, -top, np.inf, -np.inf, np.nan])


@pytest.mark.parametrize("shape", [(), (0,), (2, 3, 1)])
def test_shape_type_and_jit(shape):
    x = np.full(shape, 3.0, np.float16)
    for f in (round_to_power_of_two, rounded):
        found = f(x)
        assert found.dtype == x.dtype
        np.testing.assert_array_equal(found, np.full(shape, 4.0))


def test_python_numbers_round_as_float32():
    assert round_to_power_of_two(0.3).dtype == jnp.float32
    assert float(round_to_power_of_two(-0.3)) == -0.25


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_power_of_two_at_every_exponent_and_outside(dtype):
    lowest, highest, _ = oracle.REACH[dtype]
    exponent = np.arange(lowest - 3, highest + 4)
    expected = [float(Fraction(2) ** min(max(e, lowest), highest)) for e in exponent.tolist()]
    with jax.enable_x64(dtype == "float64"):
        found = np.asarray(power_of_two(exponent.astype(np.int32), dtype))
        assert found.dtype == jnp.dtype(dtype)
    np.testing.assert_array_equal(bits_of(found), bits_of(np.array(expected, found.dtype)))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("integer", ["int8", "int16", "int32", "uint8", "uint32"])
def test_power_of_two_takes_integers_of_any_type(integer, dtype):
    with jax.enable_x64(dtype == "float64"):
        found = power_of_two(np.array([0, 1, 7], integer), dtype)
    np.testing.assert_array_equal(np.asarray(found).astype(float), [1.0, 2.0, 128.0])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_exponent_of_every_binade(dtype):
    """The first and the last number of each; float16 down to its smallest subnormal."""
    lowest, highest, _ = oracle.REACH[dtype]
    exponent = np.arange(lowest, highest + 1)
    with jax.enable_x64(dtype == "float64"):
        first = np.array([float(Fraction(2) ** e) for e in exponent.tolist()]).astype(dtype)
        kind = jnp.dtype(dtype)
        last = (bits_of(first).astype(np.int64) + (1 << jnp.finfo(kind).nmant) - 1).astype(
            f"u{kind.itemsize}"
        )
        found = np.asarray(exponent_of(np.stack([first, -first])))
        np.testing.assert_array_equal(found, [exponent, exponent])
        normal = exponent >= int(jnp.finfo(kind).minexp)
        np.testing.assert_array_equal(exponent_of(last.view(kind)[normal]), exponent[normal])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_exponent_of_zero_is_below_all_others(dtype):
    with jax.enable_x64(dtype == "float64"):
        assert exponent_of(jnp.zeros(2, dtype)).max() < oracle.REACH[dtype].lowest


def test_other_types_and_rules_are_refused():
    with pytest.raises(TypeError, match="int32"):
        round_to_power_of_two(jnp.ones(2, jnp.int32))
    with pytest.raises(TypeError, match="int32"):
        power_of_two(1, jnp.int32)
    with pytest.raises(ValueError, match="linaer"):
        round_to_power_of_two(1.0, rounding="linaer")
