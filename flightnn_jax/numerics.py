"""Exact powers of two, computed on the bits of floating-point numbers.

`jnp.log2` and `jnp.exp2` are inexact on some backends even for exact powers of two, so nothing
here calls them: a power of two is an exponent field over an empty mantissa, and rounding to one
is an integer addition that carries from the mantissa into the exponent.

Weights of 16 bits are computed in float32, which holds them exactly; float64 in float64.
Subnormal numbers of the computing type count as zero: XLA flushes them to zero on some backends,
so any other rule would give results that depend on the machine. (The subnormals of float16 are
normal numbers of float32 and are kept.)
"""

import math
import numbers
from collections.abc import Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike

Rounding = Literal["log", "linear"]
_MAX_SHOWN = 100  # characters


def is_whole(value: object) -> bool:
    """Whether a value is a Python or NumPy integer; 2.0 and True are not."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def numbers_of(value: ArrayLike | Sequence[float], what: str) -> jax.Array:
    """A number or numbers as an array.

    Raises:
      TypeError: if they are none; `what` names them.
      ValueError: if a whole number does not fit into an array.
    """
    try:
        if isinstance(value, str | bytes):  # JAX takes some texts for names of types
            raise TypeError
        return jnp.asarray(value)
    except (TypeError, ValueError, OverflowError) as error:
        kind = ValueError if isinstance(error, OverflowError) else TypeError
        raise kind(
            f"{what} {shortened(value)}: give a number that JAX can hold, or an array of such"
        ) from None


def shortened(value: object) -> str:
    """What stands for a value in a message: not more than a line of it."""
    text = " ".join(repr(value).split())
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


class FloatLayout(NamedTuple):
    """Where a floating-point type keeps its exponent, and how far the exponent reaches.

    Attributes:
      compute: the type its powers of two are computed in (float32 or float64).
      bits: the unsigned integer type of the same width as `compute`.
      mantissa_bits: stored mantissa bits of `compute`.
      bias: exponent bias of `compute`.
      lowest: exponent of the smallest power of two that the type itself can hold.
      highest: exponent of the largest one.
    """

    compute: np.dtype
    bits: np.dtype
    mantissa_bits: int
    bias: int
    lowest: int
    highest: int

    @property
    def magnitude_mask(self) -> np.unsignedinteger:
        """All bits but the sign."""
        return self.bits.type((1 << (self.bits.itemsize * 8 - 1)) - 1)

    @property
    def sign_mask(self) -> np.unsignedinteger:
        """The sign bit."""
        return self.bits.type(1 << (self.bits.itemsize * 8 - 1))

    @property
    def exponent_mask(self) -> np.unsignedinteger:
        """The exponent field; as a magnitude it is infinity."""
        return self.bits.type(int(self.magnitude_mask) >> self.mantissa_bits << self.mantissa_bits)

    @property
    def smallest_normal(self) -> np.unsignedinteger:
        """The bits of the smallest normal number; below it a number counts as zero."""
        return self.bits.type(1 << self.mantissa_bits)

    def bits_of_power(self, exponent: ArrayLike) -> jax.Array:
        """The bits of 2**exponent, for exponents of normal numbers of `compute`."""
        biased = jnp.asarray(exponent, jnp.int32) + self.bias
        return jax.lax.shift_left(biased.astype(self.bits), self.bits.type(self.mantissa_bits))


def layout_of(dtype: DTypeLike) -> FloatLayout:
    """The layout of a floating-point type.

    Raises:
      TypeError: if `dtype` is not float16, bfloat16, float32 or float64.
    """
    name = jnp.dtype(dtype).name
    if name == "float64":
        return FloatLayout(np.dtype(np.float64), np.dtype(np.uint64), 52, 1023, -1022, 1023)
    reach = {"float32": (-126, 127), "bfloat16": (-126, 127), "float16": (-24, 15)}.get(name)
    if reach is None:
        raise TypeError(
            f"dtype {name} has no powers of two to round to: weights must be float16, bfloat16, "
            "float32 or float64; convert them first, or leave them out of the spec with None"
        )
    return FloatLayout(np.dtype(np.float32), np.dtype(np.uint32), 23, 127, *reach)


def _carry(layout: FloatLayout, rounding: Rounding) -> int:
    """What to add to a magnitude so that its exponent field becomes the rounded one.

    The mantissa m of x = (1 + m / 2**p) 2**e rounds up iff m > switch: adding 2**p - 1 - switch
    carries into the exponent exactly then.

        rounding    switch between 2**e and 2**(e+1)    a tie
        log         sqrt(2) 2**e                        none, sqrt(2) is irrational
        linear      1.5 2**e                            goes to the smaller power
    """
    one = 1 << layout.mantissa_bits
    if rounding == "log":
        switch = math.isqrt(2 * one * one) - one
    elif rounding == "linear":
        switch = one // 2
    else:
        raise ValueError(
            f"rounding {rounding!r} is unknown: choose 'log' (nearest exponent, switch at "
            "sqrt 2) or 'linear' (nearest value, switch at 1.5)"
        )
    return one - 1 - switch


def rounded_exponent_bits(
    magnitude: jax.Array, layout: FloatLayout, rounding: Rounding
) -> jax.Array:
    """The bits of R(|x|), given the bits of |x|; beyond the largest power they read infinity."""
    carry = layout.bits.type(_carry(layout, rounding))
    return (magnitude + carry) & layout.exponent_mask


def round_to_power_of_two(x: ArrayLike, rounding: Rounding = "log") -> jax.Array:
    r"""R(x): the signed power of two nearest to each element.

    .. math:: R(x) = \mathrm{sign}(x)\, 2^{\mathrm{round}(\log_2 |x|)}, \qquad R(0) = 0

    Args:
      x: array of float16, bfloat16, float32 or float64, of any shape.
      rounding: `'log'` rounds the exponent, so the switch between two powers lies at sqrt(2)
        times the smaller one (the paper's formula); `'linear'` takes the power that is nearest in
        value, with the switch at 1.5, where a tie goes to the smaller power.

    Returns:
      An array like `x`, exact on every backend. What rounds beyond the largest power of two of
      the type saturates there; subnormal float32, bfloat16 and float64 count as zero; infinite
      and NaN elements are returned as they are.

    Example:
      >>> import jax.numpy as jnp
      >>> round_to_power_of_two(jnp.array([0.3, -1.42, 1.41, 0.0])).tolist()
      [0.25, -2.0, 1.0, 0.0]
      >>> round_to_power_of_two(jnp.array([-1.42]), rounding="linear").tolist()
      [-1.0]
    """
    x = numbers_of(x, "values")
    layout = layout_of(x.dtype)
    bits = jax.lax.bitcast_convert_type(x.astype(layout.compute), layout.bits)
    magnitude = bits & layout.magnitude_mask
    largest = layout.bits_of_power(layout.highest)
    power = jnp.minimum(rounded_exponent_bits(magnitude, layout, rounding), largest)
    power = jnp.where(magnitude < layout.smallest_normal, layout.bits.type(0), power)
    signed = power | jnp.where(power == 0, layout.bits.type(0), bits & layout.sign_mask)
    rounded = jax.lax.bitcast_convert_type(signed, layout.compute).astype(x.dtype)
    return jnp.where(magnitude < layout.exponent_mask, rounded, x)


def power_of_two(exponent: ArrayLike, dtype: DTypeLike = jnp.float32) -> jax.Array:
    """2**exponent, exactly.

    Args:
      exponent: integers of any shape; from -126 to 127 for float32 and bfloat16, -24 to 15 for
        float16, -1022 to 1023 for float64. What lies outside gives the nearest power inside.
      dtype: the floating-point type of the result.

    Example:
      >>> power_of_two([-1, 0, 7]).tolist()
      [0.5, 1.0, 128.0]
    """
    layout = layout_of(dtype)
    exponent = numbers_of(exponent, "exponents")
    if not jnp.issubdtype(exponent.dtype, jnp.integer):
        raise TypeError(f"exponents of type {exponent.dtype}: 2**e is exact for integers only")
    reach = jnp.iinfo(exponent.dtype)  # an unsigned type cannot be compared with `lowest`
    exponent = jnp.clip(
        exponent, max(layout.lowest, int(reach.min)), min(layout.highest, int(reach.max))
    )
    power = jax.lax.bitcast_convert_type(layout.bits_of_power(exponent), layout.compute)
    return power.astype(dtype)


def times_power_of_two(x: jax.Array, exponent: jax.Array) -> jax.Array:
    """Multiplies by 2**exponent on the bits: to zero where subnormal, infinite where too large.

    A product with a power of two would do as well, but compilers join such factors with others,
    and the joint factor may overflow where neither does.
    """
    layout = layout_of(x.dtype)
    bits = jax.lax.bitcast_convert_type(x, layout.bits)
    field = exponent_of(x) + layout.bias
    shifted = field + exponent
    offset = jax.lax.shift_left(
        exponent.astype(layout.bits), layout.bits.type(layout.mantissa_bits)
    )
    largest = 2 * layout.bias + 1
    sign = bits & layout.sign_mask
    result = jnp.where(shifted >= largest, sign | layout.exponent_mask, bits + offset)
    result = jnp.where((field == 0) | (shifted <= 0), layout.bits.type(0), result)
    return jnp.where(field == largest, x, jax.lax.bitcast_convert_type(result, x.dtype))


def exponent_of(x: ArrayLike) -> jax.Array:
    """floor(log2|x|) of each non-zero element, exactly; of zero the exponent below the lowest.

    Example:
      >>> exponent_of(jnp.array([1.0, -0.75, 1e9])).tolist()
      [0, -1, 29]
    """
    x = numbers_of(x, "values")
    layout = layout_of(x.dtype)
    bits = jax.lax.bitcast_convert_type(x.astype(layout.compute), layout.bits)
    field = (bits & layout.magnitude_mask) >> layout.bits.type(layout.mantissa_bits)
    return field.astype(jnp.int32) - layout.bias
