"""Quantized activations, against exact fractions: Python rounds them half to even."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flightnn_jax import activation_exponent, quantize_activations

LARGEST = float(jnp.finfo("float32").max)


def exact(x, exponent, bits=8):
    """The value of one activation on the grid."""
    step, half = Fraction(2) ** int(exponent), 1 << (bits - 1)
    return min(max(round(Fraction(float(x)) / step), -half), half - 1) * step


def assert_exact(x, exponent, bits=8):
    """Every element, for an exponent of any shape that broadcasts."""
    q = quantize_activations(x, exponent, bits)
    assert (q.shape, q.dtype) == (x.shape, x.dtype)
    exponents = np.broadcast_to(exponent, x.shape).ravel().tolist()
    values = [float(v) for v in np.asarray(x).ravel()]
    expected = [exact(v, e, bits) for v, e in zip(values, exponents, strict=True)]
    assert [Fraction(float(v)) for v in np.asarray(q).ravel()] == expected


def steps(bits):
    """Activations in units of a step: ties, both saturation edges, and neighbours of all."""
    half = 1 << (bits - 1)
    ties = np.array([0.5, 1.5, 2.5, half - 2.5, half - 1.5, half - 0.5, half, half + 0.5])
    ties = np.concatenate([ties, -ties, -ties - 1, [half - 1, -half, 3 * half, -3 * half, 0, 0.25]])
    ties = ties.astype(np.float32)
    return np.concatenate([ties, np.nextafter(ties, np.float32(9e9)), -np.nextafter(ties, 9e9)])


@pytest.mark.parametrize("bits", range(2, 17))
@pytest.mark.quick(4)
def test_ties_and_edges(bits):
    assert_exact(jnp.asarray(steps(bits) * 0.125, jnp.float32), -3, bits)


def test_edges_by_hand():
    x = jnp.array([126.5, 127.0, 127.49, 127.5, 1e30, -127.5, -128.5, -128.51, -1e30, 0.5, 1.5])
    expected = [126, 127, 127, 127, 127, -128, -128, -128, -128, 0, 2]
    assert quantize_activations(x, 0).tolist() == expected
    assert quantize_activations(x / 4, -2).tolist() == [v / 4 for v in expected]


@pytest.mark.quick(0)
def test_every_exponent():
    """-126 .. 126, one a row. What float32 cannot hold is left out: subnormals, which count as
    zero, and products beyond the largest number."""
    exponents = np.arange(-126, 127)[:, None]
    rows = steps(8)[None].astype(np.float64) * 2.0**exponents
    tiny = (abs(rows) < 2.0**-126) | (abs(rows) > LARGEST)
    beyond = abs(np.vectorize(exact)(rows, exponents).astype(float)) > LARGEST
    assert_exact(jnp.asarray(np.where(tiny | beyond, 0, rows), jnp.float32), exponents)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_16_bit_types(dtype):
    x = jnp.asarray(np.random.default_rng(0).normal(size=300) * 4, dtype)
    for exponent, bits in ((-5, 8), (-3, 4), (-6, 9)):
        assert_exact(x, exponent, bits)


def test_float64():
    with jax.enable_x64(True):
        x = jnp.asarray(np.random.default_rng(0).normal(size=300) * 2.0**-700)
        assert x.dtype == jnp.float64
        assert_exact(x, -705)
        assert_exact(x, -712, 16)


@settings(deadline=None, derandomize=True, database=None, max_examples=100)
@given(
    st.lists(st.floats(-300, 300, width=32, allow_subnormal=False), min_size=6, max_size=6),
    st.integers(-20, 5),
)
def test_any_activations(values, exponent):
    assert_exact(jnp.array(values, jnp.float32), jnp.int32(exponent))


@pytest.mark.quick(0)
@pytest.mark.parametrize("shape", [(), (1, 1, 1), (1, 1, 3), (2, 1, 1), (2, 4, 3)])
def test_broadcast_exponents(shape):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2, 4, 3)), jnp.float32)
    assert_exact(x, jnp.asarray(rng.integers(-9, -2, size=shape)))


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "uint8", "uint32"])
def test_types_of_the_exponent(dtype):
    x = jnp.array([2.0, 3.9, 4.1, -100, 3000])
    assert_exact(x, jnp.asarray(3, dtype))
    assert activation_exponent(x.max()).tolist() == 5


def test_gradient_at_the_exact_edges():
    """One inside, where the rounded value is one of the 256; zero where it saturates."""
    below, above = np.float32(127.5) - np.float32(2**-17), np.float32(-128.5) - np.float32(2**-16)
    x = jnp.array([0.3, 127, below, 127.5, 300, -128, -128.5, above, -300, np.inf, -np.inf, np.nan])
    expected = [1, 1, 1, 0, 0, 1, 1, 0, 0, 0, 0, 0]
    assert below < 127.5
    assert above < -128.5
    for exponent in (-30, 0, 20):
        scaled = x * 2.0**exponent
        cotangent = jnp.arange(1.0, 13.0)
        _, pull = jax.vjp(lambda x, e=exponent: quantize_activations(x, e), scaled)
        assert pull(cotangent)[0].tolist() == (cotangent * jnp.array(expected)).tolist()


@pytest.mark.quick(0)
def test_gradient_of_broadcast_exponents():
    """None for the exponents; the activations' keeps its shape and type."""
    x = jnp.array([[1, 3], [1, 3]], jnp.bfloat16)
    exponent = jnp.array([[-6], [-7]])
    gradient = jax.grad(lambda x, e: quantize_activations(x, e).sum())(x, exponent)
    assert gradient.dtype == jnp.bfloat16
    assert gradient.tolist() == [[1, 0], [0, 0]]
    free = jax.grad(quantize_activations, argnums=1, allow_int=True)(x[0, 0], exponent[0, 0])
    assert free.dtype == jax.dtypes.float0


def test_nan_and_infinity():
    x = jnp.array([np.nan, np.inf, -np.inf])
    for quantize in (quantize_activations, jax.jit(quantize_activations)):
        np.testing.assert_array_equal(quantize(x, -4), [np.nan, 127 / 16, -8])


def test_traced_exponent_does_not_recompile():
    traced = []

    @jax.jit
    def quantize(x, exponent):
        traced.append(exponent)
        return quantize_activations(x, exponent)

    x = jnp.array([0.3, -0.7, 9.0])
    for exponent in (-4, 0, 3, -126):
        expected = [exact(v, exponent) for v in np.asarray(x)]
        assert [Fraction(v) for v in quantize(x, jnp.int32(exponent)).tolist()] == expected
    assert len(traced) == 1


@pytest.mark.whole(8)
@pytest.mark.parametrize("bits", range(2, 17))
@pytest.mark.quick(0)
def test_activation_exponent_is_the_smallest(bits):
    """By brute force over all exponents; 0 and what is smaller than any grid get the finest."""
    most, edge = (1 << (bits - 1)) - 1, np.float32(1)
    rng = np.random.default_rng(bits)
    largest = [0.0, 2.0**-126, 1e-37, 1.0, 3.0, float(most), most + 1.0, most / 8, 2.0**120]
    largest += (2.0 ** rng.uniform(-110, 110, size=20)).tolist()
    largest = np.array(largest, np.float32)
    largest = np.concatenate([largest, np.nextafter(largest[3:], edge * LARGEST), -largest])
    found = activation_exponent(jnp.asarray(largest), bits)
    assert found.dtype == jnp.int32
    for value, exponent in zip(largest.tolist(), found.tolist(), strict=True):
        reach = (e for e in range(-126, 127) if abs(Fraction(value)) <= most * Fraction(2) ** e)
        assert exponent == next(reach)


@pytest.mark.parametrize("bits", [2, 8, 16])
def test_activation_exponent_keeps_activations_from_saturating(bits):
    x = jnp.asarray(np.random.default_rng(bits).laplace(size=(4, 50)), jnp.float32)
    largest = jnp.abs(x).max(axis=1, keepdims=True)
    exponent = activation_exponent(largest, bits)
    assert exponent.shape == largest.shape
    error = np.abs(quantize_activations(x, exponent, bits) - x)
    assert (error <= 2.0 ** np.asarray(exponent) / 2).all()


def test_activation_exponent_of_odd_inputs():
    assert activation_exponent(3).tolist() == -5
    assert activation_exponent(np.float64(127.0)).tolist() == 0
    assert activation_exponent(jnp.bfloat16(128)).tolist() == 1
    assert jax.jit(activation_exponent)(jnp.array([128.0])).tolist() == [1]
    assert quantize_activations(jnp.zeros((0, 3)), 0).shape == (0, 3)
