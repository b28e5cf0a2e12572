"""Activations on a signed fixed-point grid whose step is a power of two."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from flightnn_jax import numerics

MAX_LEVELS = 128
"""Of activations that are not negative, in signed integers of 8 bits."""


def quantize_activations(x: jax.Array, exponent: ArrayLike, bits: int = 8) -> jax.Array:
    r"""Rounds to multiples of 2**exponent and saturates to signed integers of `bits` bits.

    .. math:: \mathrm{clip}(\mathrm{round}(x\, 2^{-e}), -2^{b-1}, 2^{b-1} - 1)\, 2^e

    Rounding is half to even. The gradient passes straight through where nothing saturates and is
    zero where it does; there is none for the exponent.

    Args:
      x: activations, float32 or another floating-point type.
      exponent: integer e of the step, -126 to 126 (float64: 1022), of a shape that broadcasts
        against `x`. Inside jit, where it may be traced, it is clipped to these.
      bits: 2 to 16.

    Returns:
      An array like `x`. NaN stays NaN; an infinity saturates.

    Example:
      >>> import jax.numpy as jnp
      >>> quantize_activations(jnp.array([0.3, -0.7, 9.0]), exponent=-4).tolist()
      [0.3125, -0.6875, 7.9375]
    """
    _check_bits(bits)
    x = numerics.numbers_of(x, "activations")
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(
            f"activations of type {x.dtype}: activations must be float16, bfloat16, float32 or "
            "float64; convert them first"
        )
    exponent = _checked_exponent(exponent, numerics.layout_of(x.dtype).bias - 1)
    try:
        np.broadcast_shapes(x.shape, exponent.shape)
    except ValueError:
        raise ValueError(
            f"exponent of shape {exponent.shape} for activations of shape {x.shape}: give one "
            "number, or a shape that broadcasts against theirs"
        ) from None
    return _quantize(bits, x, exponent)


def activation_exponent(largest: ArrayLike, bits: int = 8) -> jax.Array:
    """The smallest step exponent at which values up to `largest` do not saturate.

    Args:
      largest: max|x|, of any shape; 0 gives the finest step.
      bits: as in `quantize_activations`.

    Returns:
      int32, like `largest`.

    Example:
      >>> activation_exponent(jnp.array([1.0, 0.99, 127.0, 128.0])).tolist()
      [-6, -7, 0, 1]
    """
    _check_bits(bits)
    given = numerics.numbers_of(largest, "largest")
    if jnp.iscomplexobj(given):
        raise TypeError(f"largest {numerics.shortened(largest)} is complex: give real numbers")
    largest = jnp.abs(given.astype(jnp.float32))
    if not isinstance(given, jax.core.Tracer) and not np.all(np.isfinite(largest)):
        raise ValueError(
            f"largest {numerics.shortened(given)}: no step reaches it; give max|x| of finite values"
        )
    most = (1 << (bits - 1)) - 1
    exponent = jnp.clip(numerics.exponent_of(largest) - (bits - 2), -126, 126)
    reaches = largest <= most * numerics.power_of_two(exponent)
    return exponent + ~reaches


def level_exponent(count: int) -> int:
    """The step exponent of so many levels, 0, 1, .. steps, behind batch norm and a ReLU.

    Batch norm gives deviations that begin at 1, so the levels reach to about 3.5 of them.

    Example:
      >>> [level_exponent(count) for count in (8, 32)]  # 0 to 3.5, 0 to 3.875
      [-1, -3]
    """
    if not numerics.is_whole(count) or not 2 <= count <= MAX_LEVELS:
        raise ValueError(f"{count!r} levels of activations: there are 2 to {MAX_LEVELS}")
    return round(math.log2(3.5 / (count - 1)))


def _checked_exponent(exponent: ArrayLike, most: int) -> jax.Array:
    """Exponents as int32 from -most to most, whose powers of two are normal both ways."""
    dtype = numerics.numbers_of(exponent, "exponent").dtype
    if not jnp.issubdtype(dtype, jnp.integer):
        raise TypeError(
            f"exponent of type {dtype}: the step is 2**exponent, so it must be an integer; "
            "activation_exponent computes it from the largest value"
        )
    if not isinstance(exponent, jax.core.Tracer):
        known = np.asarray(exponent, np.int64)
        if known.size and (known.min() < -most or known.max() > most):
            raise ValueError(f"exponent {known}: steps reach from 2**-{most} to 2**{most}")
        exponent = known
    return jnp.clip(jnp.asarray(exponent).astype(jnp.int32), -most, most)


def _check_bits(bits: int) -> None:
    if not numerics.is_whole(bits) or not 2 <= bits <= 16:
        raise ValueError(f"bits={bits!r}: an activation has 2 to 16 bits (8 in the paper)")


def _integers(x: jax.Array, exponent: jax.Array) -> jax.Array:
    """round(x 2**-exponent), before it saturates."""
    compute = numerics.layout_of(x.dtype).compute
    return jnp.round(x.astype(compute) * numerics.power_of_two(-exponent, compute))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _quantize(bits: int, x: jax.Array, exponent: jax.Array) -> jax.Array:
    half = 1 << (bits - 1)
    value = jnp.clip(_integers(x, exponent), -half, half - 1)
    return (value * numerics.power_of_two(exponent, value.dtype)).astype(x.dtype)


def _quantize_forward(
    bits: int, x: jax.Array, exponent: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _quantize(bits, x, exponent), (x, exponent)


def _quantize_backward(
    bits: int, kept: tuple[jax.Array, jax.Array], cotangent: jax.Array
) -> tuple[jax.Array, None]:
    x, exponent = kept
    half = 1 << (bits - 1)
    value = _integers(x, exponent)
    inside = (value >= -half) & (value <= half - 1)
    return jnp.where(inside, cotangent, 0), None


_quantize.defvjp(_quantize_forward, _quantize_backward)
