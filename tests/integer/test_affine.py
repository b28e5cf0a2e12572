"""Integers of affine maps: limits, rounding, clips, saturation, against exact arithmetic."""

from fractions import Fraction

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from flightnn_jax.integer import affine
from flightnn_jax.integer.certificate import Range


def test_signed_powers_are_nearest():
    x = np.random.default_rng(0).normal(size=500) * 1000
    powers = np.array([s * 2.0**e for e in range(16) for s in (-1, 1)] + [0.0])
    nearest = np.abs(x[:, None] - powers).min(axis=1)
    rounded = affine.signed_powers(x, 1)
    assert np.isin(rounded, powers).all()
    assert_array_equal(np.abs(rounded - x), nearest)
    both = affine.signed_powers(x, 2)
    assert np.isin(both - rounded, powers).all()
    assert np.all(np.abs(both - x) <= nearest)


def line(factor, offset, middle=0.0):
    return affine.Line(*(np.array([x], np.float64) for x in (factor, offset, middle)))


@pytest.mark.parametrize("factor", [0.0, 1e-9, 3e-4, -0.3, 0.77, 900.0, -32768.0])
@pytest.mark.parametrize("offset", [0.0, 0.5, -1234.5, 3e6])
def test_shifts_are_as_large_as_their_limits_allow(factor, offset):
    largest = affine.largest(affine.fits(line(factor, offset), 19, None, 1 << 29))
    expected = max(
        s
        for s in range(20)
        if abs(round(factor * 2**s)) <= 2**15 and abs(round(offset * 2**s)) <= 2**29
    )
    assert largest.tolist() == [expected]


def test_rounding_a_multiplier_leaves_the_mean_where_it_is():
    """acc = 1000 on average: 3/4 acc - 700 becomes a power of two that is equal there."""
    multiplier, bias = affine.integers_at(line(0.7, -650.0, 1000.0), np.array([4]), terms=1)
    assert multiplier.tolist() == [8.0]  # 0.7 * 16 = 11.2
    assert (multiplier * 1000 + bias).tolist() == [800.0]  # (700 - 650) * 16
    assert affine.integers_at(line(0.7, -650.0), np.array([4]), None)[1].tolist() == [-10400.0]


@pytest.mark.parametrize("multiplier", [0, 1, -1, 7, -7, 300, -300])
@pytest.mark.parametrize("bias", [0, 99, -99])
@pytest.mark.parametrize("ends", [(-5000, 5000), (100, 200), (-3, -2)])
def test_a_clip_leaves_what_is_within_the_limit(multiplier, bias, ends):
    limit = 1000
    acc = Range(*(np.array([end]) for end in ends))
    clipped = affine.clipped(np.array([multiplier]), np.array([bias]), acc, limit)
    for value in range(ends[0], ends[1] + 1):
        v = value * multiplier + bias
        clip = min(max(value, int(clipped.low[0])), int(clipped.high[0]))
        if abs(v) <= limit:
            assert clip == value
        else:  # saturated, on the same side
            w = clip * multiplier + bias
            assert abs(w) <= limit
            assert limit - abs(multiplier) < abs(w)
            assert (w > 0) == (v > 0)


def activated(v, shift, slope=3):
    n = shift if v >= 0 else shift + slope
    return int(np.clip(np.rint(v / 2**n), -128, 127))


@pytest.mark.quick(0)
@pytest.mark.parametrize(
    ("factor", "offset"),
    [
        (1e5, 0.0),
        (1e5, 30.0),
        (-7e6, 3.5e7),
        (1e9, -2e12),
        (40000.0, 2e9),
        (1e5, 1e12),
        (0.5, 1e12),
        (3.0, -1e10),
    ],
)
def test_what_saturates_everywhere_but_at_one_sum_is_exact(factor, offset):
    acc = Range(np.array([-5000]), np.array([5000]))
    multiplier, bias, good = affine.saturating(line(factor, offset), acc, 3)
    assert good.tolist() == [True]
    for value in range(-5000, 5001):
        exact = factor * value + offset
        wanted = np.clip(np.rint(exact if exact >= 0 else exact / 8), -128, 127)
        assert activated(int(multiplier[0] * value + bias[0]), 0) == wanted


@pytest.mark.parametrize("slope", [1, 3, 7])
@pytest.mark.parametrize("factor", [0.0, 0.3, -0.3, 1e-9, -1e9, 0.5, 7.0])
@pytest.mark.parametrize("offset", [0.0, -0.0, 0.75, -1.5, 35.0, -1e9, 1e9])
def test_signs_are_those_of_the_line(factor, offset, slope):
    ends = -40, 40
    found = affine.signs(line(factor, offset), Range(*(np.array([end]) for end in ends)), slope)
    m, bias, low, high = (int(part[0]) for part in vars(found).values())
    assert m in (0, 4 << slope, -(4 << slope))  # one signed power of two
    for acc in range(ends[0], ends[1] + 1):
        v = min(max(acc, low), high) * m + bias
        exact = Fraction(factor) * acc + Fraction(offset)
        assert activated(v, affine.SIGN_SHIFT, slope) == (1 if exact >= 0 else -1)


@pytest.mark.quick(0)
@pytest.mark.whole(5)
@pytest.mark.parametrize("shift", [0, 3, 9])
@pytest.mark.parametrize("top", [None, 96, 5])
def test_a_clip_is_a_relu(shift, top):
    """Exactly where an accumulator is half a step of the output at most; else within one."""
    rng = np.random.default_rng(shift)
    m, b = rng.integers(-40, 41, 60), rng.integers(-9000, 9000, 60)
    acc = Range(np.full(60, -300), np.full(60, 300))
    found = affine.between(affine.clipped(m, b, acc, 1 << 29), np.full(60, shift), 3, top)
    gentle = 0
    for i in range(60):
        off = abs(int(m[i])) / 2**shift
        gentle += off <= 0.5
        for value in range(-300, 301):
            clip = min(max(value, int(found.low[i])), int(found.high[i]))
            v = clip * int(found.multiplier[i]) + int(found.bias[i])
            got = min(round(Fraction(v, 2**shift * (8 if v < 0 else 1))), 127)
            real = max(Fraction(value * int(m[i]) + int(b[i]), 2**shift), Fraction(0))
            wanted = min(round(real), 127 if top is None else top)
            assert got == wanted or (off > 0.5 and abs(got - wanted) <= off / 2 + 1)
            assert got >= 0
    assert gentle > 0 or shift < 9


def test_what_is_out_of_reach_is_refused():
    acc = Range(np.array([-(10**6)]), np.array([10**6]))
    assert not affine.saturating(line(1000.0, -6e8), acc, 3)[2].any()
    assert not affine.saturating(line(1e5, -9e10), acc, 3)[2].any()
