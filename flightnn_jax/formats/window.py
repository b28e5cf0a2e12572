"""The exponents that the terms of a weight may have, and what a term costs in bits."""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp

from flightnn_jax import numerics


@dataclasses.dataclass(frozen=True)
class Window:
    """A run of `width` neighbouring exponents, top - width + 1 .. top.

    Invariants: width >= 2; the run and the exponents of the weights' type overlap.

    Attributes:
      width: how many exponents there are. 8 of them and a sign make a term of 4 bits.
      top: the largest exponent. None takes it from each layer's largest weight, as the exponent
        of R(max|w|): one integer a layer, which costs the hardware nothing. A number fixes it.
      below: what a non-zero value below the window becomes: `'clamp'`, the smallest power with
        its sign; or `'flush'`, zero, which needs a code of its own.
    """

    width: int = 8
    top: int | None = None
    below: Literal["clamp", "flush"] = "clamp"

    def __post_init__(self) -> None:
        if self.top is not None and not numerics.is_whole(self.top):
            raise ValueError(
                f"top={self.top!r}: the largest exponent of a window is a whole number, or None "
                "to take it from each layer's largest weight"
            )
        if not numerics.is_whole(self.width) or self.width < 2:
            raise ValueError(
                f"an exponent window of width {self.width} is empty or has no room to split a "
                "term: width must be a whole number, 2 or more (8 and a sign make terms of 4 bits)"
            )
        if not isinstance(self.below, str) or self.below not in ("clamp", "flush"):
            raise ValueError(f"below={self.below!r} is unknown: choose 'clamp' or 'flush'")

    @property
    def has_zero(self) -> bool:
        """Whether a term has a code for zero."""
        return self.below == "flush"


def term_bits(window: Window | None, layout: numerics.FloatLayout) -> int:
    """Bits of one stored term: a sign and an exponent, and a code for zero where there is one.

    Without a window a term has any exponent of the weights' type, and a code for zero.

    Example:
      >>> layout = numerics.layout_of("float32")
      >>> [term_bits(w, layout) for w in (Window(), Window(width=7, below="flush"), None)]
      [4, 4, 9]
    """
    exponents = layout.highest - layout.lowest + 1 if window is None else window.width
    codes = 2 * exponents + (window is None or window.has_zero)
    return (codes - 1).bit_length()


def problem_with(window: Window | None, layout: numerics.FloatLayout) -> str | None:
    """The rule that a window breaks for weights of this type, or None."""
    if window is None or window.top is None:
        return None
    bottom = window.top - window.width + 1
    if bottom > layout.highest or window.top < layout.lowest:
        return (
            f"the exponent window {bottom}..{window.top} is empty for this type of weights, whose "
            f"powers of two reach from {layout.lowest} to {layout.highest}: choose a top within "
            "them, or None to take it from the largest weight"
        )
    return None


def limits(
    window: Window | None,
    largest: jax.Array,
    layout: numerics.FloatLayout,
    rounding: numerics.Rounding,
) -> tuple[jax.Array, jax.Array]:
    """The bits of the smallest and the largest power that a term of this layer may have.

    Args:
      window: the window, or None for every exponent of the type.
      largest: [] max|w| of the layer, in the computing type.
      layout: layout of the weights' own type.
      rounding: the rule of R.

    Returns:
      Two scalars of `layout.bits`. They lie within the type's own powers of two: where the window
      reaches below them it is cut off, and so it is for a layer of zeros.
    """
    lowest = layout.bits_of_power(layout.lowest)
    highest = layout.bits_of_power(layout.highest)
    if window is None:
        return lowest, highest
    if window.top is not None:
        bottom = min(max(window.top - window.width + 1, layout.lowest), layout.highest)
        return layout.bits_of_power(bottom), layout.bits_of_power(min(window.top, layout.highest))
    magnitude = jax.lax.bitcast_convert_type(largest, layout.bits)
    top = jnp.clip(numerics.rounded_exponent_bits(magnitude, layout, rounding), lowest, highest)
    span = min(window.width - 1, layout.highest - layout.lowest)
    span = layout.bits.type(span << layout.mantissa_bits)
    return jnp.maximum(top, lowest + span) - span, top
