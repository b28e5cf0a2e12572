"""The fixed-point format, against exact fractions: Python rounds them half to even."""

import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flightnn_jax import FixedPoint

LARGEST = {"float16": 65504.0, "bfloat16": float(jnp.finfo("bfloat16").max)}
LARGEST["float32"] = float(jnp.finfo("float32").max)


def fractions(x):
    return [Fraction(float(v)) for v in np.asarray(x).ravel()]


def nearest(w, bits, exponent):
    """The values of the grid, each weight by itself."""
    step, half = Fraction(2) ** exponent, 1 << (bits - 1)
    return [min(max(round(x / step), -half), half - 1) * step for x in fractions(w)]


def squared_error(w, bits, exponent):
    pairs = zip(fractions(w), nearest(w, bits, exponent), strict=True)
    return sum((x - q) ** 2 for x, q in pairs)


def top_step(w, bits):
    """The smallest exponent whose grid reaches beyond the largest weight: 2**(bits-1+e) > max."""
    return math.frexp(max(abs(float(x)) for x in np.asarray(w).ravel()))[1] - bits + 1


def ties_and_others(bits, exponent, dtype="float32"):
    """Weights [n, 2] on and between the steps, at their ties, and beyond both ends of the grid."""
    half = 1 << (bits - 1)
    rng = np.random.default_rng(bits)
    places = np.concatenate(
        [
            [-half, half - 1, -half - 0.5, half - 0.5, half - 1.5, -3.0 * half, 3.0 * half],
            rng.integers(-half, half, size=19) + 0.5,
            rng.uniform(-half, half, size=20),
            [0.5, -0.5, 1.5, -1.5, 0, -0.0],
        ]
    )
    return jnp.asarray(np.ldexp(places, exponent).reshape(-1, 2), dtype)


@pytest.mark.parametrize("bits", range(2, 17))
def test_unit_grid(bits):
    """2**bits values on [-1, 1), both ends included as far as they are on the grid."""
    w = ties_and_others(bits, 1 - bits)
    q = FixedPoint(bits, "unit").quantize(w)
    assert fractions(q) == nearest(w, bits, 1 - bits)
    assert float(q.min()) == -1
    assert float(q.max()) == 1 - 2.0 ** (1 - bits)


@pytest.mark.parametrize("bits", [2, 4, 10])
def test_every_value_of_the_unit_grid_is_kept(bits):
    integers = np.arange(-(1 << (bits - 1)), 1 << (bits - 1))
    codes = FixedPoint(bits, "unit").encode(jnp.asarray(integers * 2.0 ** (1 - bits), jnp.float32))
    np.testing.assert_array_equal(codes.value, integers)
    np.testing.assert_array_equal(codes.decode(), integers * 2.0 ** (1 - bits))


@pytest.mark.quick(0)
@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 8, 12, 16])
def test_layer_step_is_the_best_of_three(bits):
    fmt = FixedPoint(bits)
    rng = np.random.default_rng(bits)
    for w in (
        ties_and_others(bits, -9),
        jnp.asarray(rng.normal(size=(26, 2)), jnp.float32),
        jnp.asarray(rng.laplace(size=(26, 2)) ** 3 * 2.0**40, jnp.float32),
        jnp.asarray(rng.integers(-8, 9, size=(26, 2)) * 2.0**-60, jnp.float32),
    ):
        exponent = int(fmt.encode(w).exponent)
        candidates = [top_step(w, bits) - n for n in range(3)]
        assert exponent in candidates
        least = min(squared_error(w, bits, e) for e in candidates)
        # The library adds the errors up in float32, so a near tie may go either way.
        assert squared_error(w, bits, exponent) <= least * Fraction(10001, 10000)
        assert fractions(fmt.quantize(w)) == nearest(w, bits, exponent)


def test_layer_step_of_a_tie_is_the_largest():
    """The weights are on all three grids."""
    w = jnp.array([[1.0, -0.5]])
    assert int(FixedPoint(bits=8).encode(w).exponent) == -6


def test_layer_step_reaches_a_quarter_of_the_largest_weight():
    """Step 1 loses 63/64; 1/2 and 1/4 more. 1/8 would lose 49/64, but is none of the three."""
    w = jnp.array([[1.0] + [0.125] * 63])
    assert squared_error(w, 2, -3) < squared_error(w, 2, 0) < squared_error(w, 2, -1)
    assert int(FixedPoint(bits=2).encode(w).exponent) == 0


@pytest.mark.parametrize("draw", ["normal", "laplace", "uniform"])
@pytest.mark.parametrize("bits", [2, 3, 4, 8, 16])
def test_no_step_at_all_beats_the_chosen_one(bits, draw):
    """For the usual distributions of weights, three candidates are as good as all of them."""
    rng = np.random.default_rng(0)
    w = rng.uniform(-1, 1, 10_000) if draw == "uniform" else getattr(rng, draw)(size=10_000)
    w = jnp.asarray(w[:, None], jnp.float32)
    x, half = np.asarray(w, np.float64), 1 << (bits - 1)

    def error(exponent):
        step = 2.0**exponent
        return np.sum((np.clip(np.round(x / step), -half, half - 1) * step - x) ** 2)

    chosen = error(int(FixedPoint(bits).encode(w).exponent))
    assert chosen <= 1.0001 * min(error(e) for e in range(-40, 20))
    np.testing.assert_allclose(np.sum((FixedPoint(bits).quantize(w) - x) ** 2), chosen, rtol=1e-6)


@pytest.mark.parametrize("scale", ["layer", "unit"])
@pytest.mark.parametrize(("dtype", "bits"), [("bfloat16", 8), ("float16", 5), ("float16", 10)])
def test_16_bit_types(dtype, bits, scale):
    """Bits that the mantissa of the type can hold, so that every value of the grid exists."""
    w = ties_and_others(bits, 1 - bits, dtype)
    fmt = FixedPoint(bits, scale)
    q = fmt.quantize(w)
    assert q.dtype == w.dtype
    assert fractions(q) == nearest(w, bits, int(fmt.encode(w).exponent))


def test_float64():
    with jax.enable_x64(True):
        for power in (-1000, -40, 0, 1000):
            w = ties_and_others(6, power, "float64")
            for scale in ("layer", "unit"):
                fmt = FixedPoint(6, scale)
                q = fmt.quantize(w)
                assert q.dtype == jnp.float64
                exponent = int(fmt.encode(w).exponent)
                assert exponent in ([-5] if scale == "unit" else [power + 1, power + 2, power])
                assert fractions(q) == nearest(w, 6, exponent)


@pytest.mark.whole(6)
@pytest.mark.parametrize("bits", [2, 3, 4, 8, 16])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("sign", [1, -1])
def test_largest_weights(dtype, bits, sign):
    """Finite weights become finite values of the grid, the largest of them large."""
    top = LARGEST[dtype]
    w = jnp.asarray(np.array([[1.0, 0.25], [-0.5, 0.125]]) * sign * top, dtype)
    fmt = FixedPoint(bits)
    q = fmt.quantize(w)
    assert np.isfinite(np.asarray(q, np.float64)).all()
    assert float(abs(q[0, 0])) > 0.24 * top
    codes = fmt.encode(w)
    codes.check()
    integers = codes.value.ravel().tolist()
    assert [v * Fraction(2) ** int(codes.exponent) for v in integers] == fractions(q)


@pytest.mark.parametrize(("dtype", "lowest"), [("float32", -126), ("float16", -24)])
@pytest.mark.parametrize("bits", [2, 8])
def test_smallest_weights(dtype, lowest, bits):
    """No step is finer than the smallest power of two of the type."""
    for power in range(bits + 2):
        w = jnp.asarray(np.ldexp([[1.0, -1.5 if power else 1], [0, 1]], lowest + power), dtype)
        codes = FixedPoint(bits).encode(w)
        codes.check()
        assert int(codes.exponent) >= lowest
        q = FixedPoint(bits).quantize(w)
        assert fractions(q) == nearest(w, bits, int(codes.exponent))
        assert float(abs(q).max()) > 0


def test_zero_and_one_weight():
    for scale in ("layer", "unit"):
        zeros = jnp.zeros((2, 3))
        assert FixedPoint(4, scale).quantize(zeros).tolist() == zeros.tolist()
        assert FixedPoint(4, scale).encode(zeros).value.tolist() == [[0] * 3] * 2
    assert FixedPoint(4).quantize(jnp.array([-5.0])).tolist() == [-5.0]
    assert FixedPoint(4).quantize(jnp.array([0.0, 3e-30])).tolist()[0] == 0


def test_example_by_hand():
    """Two bits; of the steps 1, 1/2 and 1/4 the middle one has the least error, for 1 saturates.

    step    grid                  squared error of 1, four times +-1/2, -1
    1       -2, -1, 0, 1          0 + 4/4 + 0
    1/2     -1, -1/2, 0, 1/2      1/4 + 0 + 0
    1/4     -1/2, -1/4, 0, 1/4    9/16 + 3/16 + 0 + 1/4
    """
    w = jnp.array([[1.0, 0.5, 0.5, 0.5, -0.5, -1.0]])
    assert FixedPoint(2).encode(w).value.tolist() == [[1, 1, 1, 1, -1, -2]]
    assert FixedPoint(2).quantize(w).tolist() == [[0.5, 0.5, 0.5, 0.5, -0.5, -1.0]]


@pytest.mark.parametrize("scale", ["layer", "unit"])
def test_gradient_is_straight_through(scale):
    """Where a weight saturates, too: both scales have steps of 1/8 here and end at 7/8."""
    w = jnp.linspace(-0.2, 0.2, 44).at[7].set(1.0).reshape(22, 2)
    cotangent = jnp.asarray(np.random.default_rng(0).normal(size=w.shape), w.dtype)
    q, pull = jax.vjp(FixedPoint(4, scale).quantize, w)
    (gradient,) = pull(cotangent)
    assert float(q.max()) == 0.875
    np.testing.assert_array_equal(gradient, cotangent)


@pytest.mark.parametrize("scale", ["layer", "unit"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_broken_weights_inside_jit_break_the_layer(bad, scale):
    quantize = jax.jit(FixedPoint(4, scale).quantize)
    w = jnp.linspace(-1, 1, 40).reshape(20, 2)
    assert np.isfinite(quantize(w)).all()
    assert np.isnan(quantize(w.at[13, 1].set(bad))).all()


def test_same_with_and_without_jit():
    w = ties_and_others(5, -4)
    for scale in ("layer", "unit"):
        fmt = FixedPoint(5, scale)
        np.testing.assert_array_equal(jax.jit(fmt.quantize)(w), fmt.quantize(w))
