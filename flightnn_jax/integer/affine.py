"""From batch norm to integers: multiplier, bias, clip and shift of each filter. No JAX."""

import math
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from flightnn_jax.integer.certificate import Range
from flightnn_jax.integer.network import Affine

MAX_MULTIPLIER = 1 << 15
_INT32 = (-(1 << 31), (1 << 31) - 1)


class Line(NamedTuple):
    """What a filter's accumulator becomes, in steps of the output: factor * acc + offset.

    Attributes:
      factor: [filters] float64.
      offset: [filters] float64.
      middle: [filters] float64, the mean of acc, where rounding of the factor shall not move the
        line.
    """

    factor: np.ndarray
    offset: np.ndarray
    middle: np.ndarray


def batch_norm(
    statistics: dict[str, np.ndarray],
    scale: np.ndarray,
    bias: np.ndarray,
    epsilon: float,
    unit: int,
    step: int,
) -> Line:
    """Batch norm with running statistics, on accumulators of 2**unit, in steps of 2**step.

    Args:
      statistics: `mean` and `variance`, [filters].
      scale: [filters] gamma.
      bias: [filters] beta.
      epsilon: what is added to the variance.
      unit: exponent of an accumulator's last bit.
      step: exponent of the output's step.

    Example:
      >>> statistics = {"mean": np.array([3.0]), "variance": np.array([4.0])}
      >>> line = batch_norm(statistics, np.array([1.0]), np.array([0.5]), 0.0, unit=-4, step=-2)
      >>> [part.tolist() for part in line]  # (acc / 16 - 3) / 2 + 0.5 in quarters
      [[0.125], [-4.0], [48.0]]
    """
    mean, variance, scale, bias = (
        np.asarray(x, np.float64) for x in (statistics["mean"], statistics["variance"], scale, bias)
    )
    with np.errstate(all="ignore"):  # what is not finite is an error of its own
        slope = scale / np.sqrt(variance + epsilon)
        return Line(
            np.ldexp(slope, unit - step),
            np.ldexp(bias - mean * slope, -step),
            np.ldexp(mean, -unit),
        )


def signed_powers(x: np.ndarray, terms: int | None) -> np.ndarray:
    """Rounded to integers, or to sums of so many signed powers of two, the nearest one first.

    Example:
      >>> signed_powers(np.array([11.4, -23.0, 0.4]), 1).tolist()
      [8.0, -16.0, 0.0]
      >>> signed_powers(np.array([11.4, -23.0, 0.4]), 2).tolist()
      [12.0, -24.0, 0.0]
    """
    if terms is None:
        return np.rint(x)
    total = np.zeros_like(x)
    for _ in range(terms):
        rest = x - total
        size = np.abs(rest)
        below = np.exp2(np.frexp(np.maximum(size, 1))[1] - 1.0)
        power = np.where(size >= 1.5 * below, 2 * below, below)
        total = total + np.where(size > 0.5, np.sign(rest) * power, 0)
    return total


def integers_at(line: Line, shift: np.ndarray, terms: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Multiplier and bias for 2**shift parts of a step, as float64 integers of any size."""
    factor = np.ldexp(line.factor, shift)
    multiplier = signed_powers(factor, terms)
    moved = line.middle * (factor - multiplier)
    return multiplier, np.rint(np.ldexp(line.offset, shift) + moved)


def fits(line: Line, max_shift: int, terms: int | None, max_bias: int) -> np.ndarray:
    """[max_shift + 1, filters] whether a shift gives multiplier and bias in their limits."""
    fitting = []
    for shift in range(max_shift + 1):
        multiplier, bias = integers_at(line, np.full(line.factor.shape, shift), terms)
        fitting.append((np.abs(multiplier) <= MAX_MULTIPLIER) & (np.abs(bias) <= max_bias))
    return np.stack(fitting)


def largest(fitting: np.ndarray) -> np.ndarray:
    """[filters] the largest shift that fits, -1 where none does."""
    count = fitting.shape[0]
    return np.where(fitting.any(axis=0), count - 1 - np.argmax(fitting[::-1], axis=0), -1)


def saturating(line: Line, acc: Range, slope: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Multiplier and bias at shift 0 for a filter whose activations saturate but for one acc.

    That is what is left where no shift fits: a line that is out of reach everywhere, or steeper
    than 2**15 steps. Both are still exact.

    Args:
      line: of the filters.
      acc: what their accumulators can be.
      slope: of the leaky ReLU.

    Returns:
      multiplier and bias, float64, and [filters] whether they are the line's.
    """
    far = float(1 << (8 + slope))  # beyond it, activations of either sign are saturated
    with np.errstate(all="ignore"):
        ends = np.stack([line.factor * end + line.offset for end in acc])
        same = (ends.min(axis=0) >= far) | (ends.max(axis=0) <= -far)
        steep = (np.abs(line.factor) > MAX_MULTIPLIER) & ~same
        crossing = np.clip(np.rint(-line.offset / line.factor), acc.low - 1, acc.high + 1)
        multiplier = np.where(steep, np.sign(line.factor) * 2 * far, 0.0)
        at = np.where(steep, crossing, 0.0)
        middle = np.clip(np.rint(line.factor * at + line.offset), -far, far)
        bias = np.where(steep, middle - multiplier * at, np.clip(ends[0], -far, far))
        good = same | (steep & (np.abs(bias) <= 1 << 29))
    return multiplier, bias, good


def between(affine: Affine, shift: np.ndarray, slope: int, top: int | None) -> Affine:
    """The map with clips that make its activations a ReLU's, from 0 to `top`.

    A line passes 0 at one place, so a clip of acc there is a ReLU, wherever the sum at the clip is
    rounded to 0: the last one below 0 if it is, else the first one from 0 on. Where neither is,
    which takes a line of several steps for each accumulator, the bias is moved by at most half of
    an accumulator, so that one of them is 0. The other clip is at the sum that is nearest to `top`.

    Args:
      affine: a map with the bounds of acc.
      shift: [filters] of the activation.
      slope: of the leaky ReLU, by which values below 0 are shifted further.
      top: the largest activation; None for that of the type.

    Example:
      >>> ends = (np.array([n], np.int32) for n in (-90, 90))
      >>> line = Affine(np.array([10], np.int32), np.array([-55], np.int32), *ends)
      >>> between(line, np.array([4]), 3, 20)  # (10 acc - 55) / 16, from 5 on and up to 37
      Affine(multiplier=array([10], dtype=int32), bias=array([-55], dtype=int32),
             low=array([5], dtype=int32), high=array([37], dtype=int32))
    """
    columns = (affine.multiplier, affine.bias, affine.low, affine.high, shift)
    rows = [
        _between(m, b, low, high, up, slope, top)
        for m, b, low, high, up in zip(*(column.tolist() for column in columns), strict=True)
    ]
    return Affine(*np.array(rows, np.int64).reshape(-1, 4).T.astype(np.int32))


def _between(
    m: int, b: int, low: int, high: int, shift: int, slope: int, top: int | None
) -> tuple[int, int, int, int]:
    """Multiplier, bias, low and high of a filter."""
    if m < 0:  # its mirror image rises
        m, b, first, last = _between(-m, b, -high, -low, shift, slope, top)
        return -m, b, -last, -first
    most = None if top is None else top << shift
    values = [m * end + b for end in (low, high)]
    if m == 0 or values[1] <= 0 or (most is not None and values[0] >= most):
        level = max(values[0] if m == 0 else values[1] if values[1] <= 0 else values[0], 0)
        return 0, level if most is None else min(level, most), low, high
    if values[0] < 0:
        first = -(b // m)  # the first one from 0 on
        above, below = m * first + b, m * (first - 1) + b
        if -below << 1 <= 1 << shift + slope:
            first -= 1
        elif above << 1 > 1 << shift:
            b, first = (b - above, first) if above <= -below else (b - below, first - 1)
        low = max(low, first)
    if most is not None and m * high + b > most:
        last = (most - b) // m  # the last one up to the top
        if m * (last + 1) + b - most < most - (m * last + b):
            last += 1
        high = max(low, min(high, last))
    return m, b, low, high


def not_above(affine: Affine, shift: np.ndarray, top: int) -> Affine:
    """A map of `between` none of whose activations is larger than `top`.

    Where the sum that is nearest to `top` is rounded to more, its neighbour ends the clip. No clip
    is left of a line that passes from below 0 to beyond `top` between two sums.

    Args:
      affine: of filters, from 0 on.
      shift: [filters] of the activation.
      top: the largest activation.

    Example:
      >>> ends = (np.array([n], np.int32) for n in (0, 4))
      >>> line = Affine(np.array([30], np.int32), np.array([0], np.int32), *ends)
      >>> not_above(line, np.array([4]), 7).high.tolist()  # 30 acc / 16: 7.5 is rounded to 8
      [3]
    """
    low, high = affine.low.astype(np.int64), affine.high.astype(np.int64)
    multiplier, bias = affine.multiplier.astype(np.int64), affine.bias.astype(np.int64)
    # The largest v that is rounded to `top`; a tie goes to an even one.
    most = ((2 * top + 1 << shift.astype(np.int64)) - top % 2) >> 1
    rises = multiplier > 0
    above = multiplier * np.where(rises, high, low) + bias > most
    high, low = high - (above & rises), low + (above & ~rises & (multiplier < 0))
    return Affine(affine.multiplier, affine.bias, low.astype(np.int32), high.astype(np.int32))


SIGN_SHIFT = 2
"""Of activations that are signs."""


def signs(line: Line, acc: Range, slope: int) -> Affine:
    """The map whose activation, at `SIGN_SHIFT`, is 1 where the line is not negative, and else -1.

    A line changes its sign at one place: there is a threshold t from which on, or up to which, it
    is not negative. A clip to t and its neighbour on the other side leaves two sums, of which v
    is 3 and 3 - 4 2**slope: as an activation 3/4 and 3 / (4 2**slope) - 1, and these round to 1
    and -1. The multiplier is one signed power of two, whose sign is the direction.

    Args:
      line: of the filters, in steps of 1.
      acc: what their accumulators can be.
      slope: of the leaky ReLU.

    Example:
      >>> line = Line(np.array([0.5, -2.0]), np.array([-1.6, 5.0]), np.zeros(2))
      >>> ends = np.array([-9, -9]), np.array([9, 9])
      >>> signs(line, Range(*ends), 3)  # from 4 on, up to 2
      Affine(multiplier=array([ 32, -32], dtype=int32), bias=array([-125,   67], dtype=int32),
             low=array([3, 2], dtype=int32), high=array([4, 3], dtype=int32))
    """
    apart = 4 << slope
    rows = []
    for factor, offset, low, high in zip(line.factor, line.offset, *acc, strict=True):
        first, last = _not_negative(float(factor), float(offset), int(low), int(high))
        if first > last:  # nowhere
            rows.append((0, 3 - apart, low, high))
        elif (first, last) == (low, high):
            rows.append((0, 3, low, high))
        elif first > low:
            rows.append((apart, 3 - apart * first, first - 1, first))
        else:
            rows.append((-apart, 3 + apart * last, last, last + 1))
    return Affine(*np.array(rows, np.int64).T.astype(np.int32))


def _not_negative(factor: float, offset: float, low: int, high: int) -> tuple[int, int]:
    """The first and the last integer in low .. high with factor * acc + offset >= 0, exactly."""
    if factor == 0:
        return (low, high) if offset >= 0 else (high + 1, high)
    zero = -Fraction(offset) / Fraction(factor)
    if factor > 0:
        return max(low, math.ceil(zero)), high
    return low, min(high, math.floor(zero))


def clipped(multiplier: np.ndarray, bias: np.ndarray, acc: Range, limit: int) -> Affine:
    """The map with the bounds of acc, but for those where |v| would exceed a limit.

    Args:
      multiplier: [filters] integers of any type.
      bias: likewise, of a magnitude below the limit.
      acc: what accumulators can be.
      limit: of |v|.

    Example:
      >>> clipped(np.array([8]), np.array([-4]), Range(np.array([-9]), np.array([9])), 50)
      Affine(multiplier=array([8], dtype=int32), bias=array([-4], dtype=int32),
             low=array([-5], dtype=int32), high=array([6], dtype=int32))
    """
    m, b = (x.astype(np.int64) for x in (multiplier, bias))
    size = np.maximum(np.abs(m), 1)
    below, above = -((limit + b) // size), (limit - b) // size
    low = np.where(m < 0, -above, np.where(m == 0, _INT32[0], below))
    high = np.where(m < 0, -below, np.where(m == 0, _INT32[1], above))
    ends = (np.minimum(np.maximum(end, low), high) for end in acc)
    return Affine(*(x.astype(np.int32) for x in (m, b, *ends)))
