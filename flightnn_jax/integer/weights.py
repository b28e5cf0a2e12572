"""The integers of one trained kernel, in the form that integer networks hold."""

from typing import Any

import numpy as np

from flightnn_jax.formats import fixed_point, shift_codes
from flightnn_jax.integer.network import IntegerWeights, ShiftWeights, Weights


class LoweringError(ValueError):
    """A network that integers of this form cannot represent."""


def integer_weights(name: str, codes: Any) -> Weights:
    """The integers of one kernel, in units of its smallest term.

    Args:
      name: of the layer, for errors.
      codes: what `encode_params` has in place of the kernel.

    Raises:
      LoweringError: if the format has no integers of this form.

    Example:
      >>> import jax.numpy as jnp
      >>> from flightnn_jax import Shift
      >>> weights = integer_weights("conv1", Shift(k=2).encode(jnp.array([[0.75], [0.0]])))
      >>> weights.integers().tolist(), weights.shift[:, :, 0].tolist()  # 96 = 128 - 32
      ([[96], [0]], [[7, 0], [5, 0]])
    """
    if isinstance(codes, fixed_point.FixedPointCodes):
        _check_filters_last(name, codes.filter_axis, codes.value.ndim)
        if codes.bits > 4:
            raise LoweringError(
                f"{name}: fixed-point weights of {codes.bits} bits: integer networks hold 4"
            )
        return IntegerWeights(np.asarray(codes.value).astype(np.int8))
    if not isinstance(codes, shift_codes.ShiftCodes):
        raise LoweringError(
            f"{name}: weights that are {type(codes).__name__}, not Shift or FixedPoint: float "
            "weights (full precision) have no integers; train with another scheme"
        )
    _check_filters_last(name, codes.filter_axis, len(codes.shape))
    window = codes.window
    if window is None or window.has_zero or window.width > 8:
        reason = "no window" if window is None else f"{window.width} exponents and {window.below!r}"
        raise LoweringError(
            f"{name}: terms with {reason}: a term of 4 bits has 8 exponents at most and no code "
            "for zero; train with Window(width=8, below='clamp')"
        )
    sign = np.asarray(codes.sign)
    shift = np.asarray(codes.exponent).astype(np.int32) - low_exponent(codes)
    shift = np.where(sign == 0, 0, shift).astype(np.uint8)
    return ShiftWeights(sign.astype(np.int8), shift, np.asarray(codes.k).astype(np.uint8))


def _check_filters_last(name: str, axis: int, rank: int) -> None:
    if axis != rank - 1:
        raise LoweringError(f"{name}: filter_axis={axis} of {rank} axes: filters are the last axis")


def low_exponent(codes: Any) -> int:
    """The exponent for which a weight of these codes is its integer times 2**exponent."""
    found = codes.low if isinstance(codes, shift_codes.ShiftCodes) else codes.exponent
    return int(np.asarray(found))
