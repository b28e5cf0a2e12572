"""The greedy terms of one array of weights, their residuals, and the norms of these.

    e_0 = w;  T_n = R(e_n);  e_{n+1} = w - (T_0 + ... + T_n)

Every term is exact, and so are the partial sums: the residuals are taken from the weights anew,
because a clamped term can leave one that the type cannot hold, and successive differences would
carry its rounding on.
"""

import dataclasses
import math
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from flightnn_jax import filters, numerics
from flightnn_jax.formats import shards
from flightnn_jax.formats import window as windows

MAX_TERMS = 3


@dataclasses.dataclass(frozen=True)
class ShiftRule:
    """Everything about Q_k(w | t) that is fixed while it is trained.

    Attributes:
      k: the largest number of terms of a filter, 0 to 3; 0 prunes every filter.
      window: the exponents of the terms; None for all that the weights' type has.
      rounding: the rule of R, `'log'` or `'linear'`: see `round_to_power_of_two`.
      gates: `'nested'`, a closed gate closes all later ones; or `'independent'`, each gate
        looks at its own residual only.
      gradient: which gates pass a gradient on to the thresholds: `'open'` ones, as in the paper's
        sum over the active terms, or `'all'`.
      temperature: of the sigmoid that stands for a gate in the backward pass.
      filter_axis: the axis that counts the filters: -1 in Flax and Haiku, 0 in Equinox and
        PyTorch.
    """

    k: int = 2
    window: windows.Window | None = windows.Window()  # noqa: RUF009 (frozen, so safe to share)
    rounding: numerics.Rounding = "log"
    gates: Literal["nested", "independent"] = "nested"
    gradient: Literal["open", "all"] = "open"
    temperature: float = 1.0
    filter_axis: int = -1

    def __post_init__(self) -> None:
        if not numerics.is_whole(self.k) or not 0 <= self.k <= MAX_TERMS:
            raise ValueError(
                f"k={self.k!r} terms: k must be a whole number from 0 (prune the filter) to "
                f"{MAX_TERMS}"
            )
        for name, choices in (
            ("rounding", ("log", "linear")),
            ("gates", ("nested", "independent")),
            ("gradient", ("open", "all")),
        ):
            value = getattr(self, name)
            if not isinstance(value, str) or value not in choices:
                raise ValueError(f"{name}={value!r} is unknown: choose of {choices}")
        if self.window is not None and not isinstance(self.window, windows.Window):
            raise TypeError(
                f"window={self.window!r}: give a Window, as in Window(width=8), or None for all "
                "exponents"
            )
        if not numerics.is_whole(self.filter_axis):
            raise TypeError(f"filter_axis={self.filter_axis!r}: an axis is a whole number")
        number = isinstance(self.temperature, int | float)  # it is static: no array
        if not number or not 0 < self.temperature < math.inf:
            raise ValueError(
                f"temperature={self.temperature!r} of the relaxed gates: it must be a number of "
                "Python above 0 and finite (1 is the paper's)"
            )


class Layer(NamedTuple):
    """What the terms of one array have in common.

    Attributes:
      x: the weights in the computing type.
      low: [] bits of the smallest power that a term may have.
      high: [] bits of the largest one.
      shift: [] exponent of a power of two that brings weights and terms near the middle of the
        type's range, so that their products neither overflow nor vanish; int32.
      layout: layout of the weights' own type, its highest power one lower where terms are added.
    """

    x: jax.Array
    low: jax.Array
    high: jax.Array
    shift: jax.Array
    layout: numerics.FloatLayout


def layer_of(rule: ShiftRule, w: jax.Array) -> Layer:
    """What the terms of `w` have in common: one pass over it."""
    layout = numerics.layout_of(w.dtype)
    if rule.k > 1:  # so that a sum of terms is finite
        layout = layout._replace(highest=layout.highest - 1)
    x, largest = shards.with_largest(w.astype(layout.compute))
    low, high = windows.limits(rule.window, largest, layout, rule.rounding)
    middle, reach = (400, 900) if layout.mantissa_bits == 52 else (48, 100)
    if rule.window is not None and rule.window.below == "clamp":
        # Where the window lies far above the weights, clamped terms make the residuals.
        largest = jnp.maximum(largest, jax.lax.bitcast_convert_type(low, layout.compute))
    shift = jnp.clip(middle - numerics.exponent_of(largest), -reach, reach)
    return Layer(x, low, high, shift, layout)


def round_into_window(rule: ShiftRule, layer: Layer, r: jax.Array) -> jax.Array:
    """R(r) inside the window.

    |R(r)|            clamp     flush
    above high        high      high
    low to high       itself    itself
    below low         low       0
    zero, subnormal   0         0
    """
    layout = layer.layout
    bits = jax.lax.bitcast_convert_type(r, layout.bits)
    magnitude = bits & layout.magnitude_mask
    power = numerics.rounded_exponent_bits(magnitude, layout, rule.rounding)
    zero = magnitude < layout.smallest_normal
    if rule.window is not None and rule.window.below == "flush":
        zero |= power < layer.low
    power = jnp.clip(power, layer.low, layer.high)
    signed = jnp.where(zero, layout.bits.type(0), power | (bits & layout.sign_mask))
    return jax.lax.bitcast_convert_type(signed, layout.compute)


def residuals_and_terms(rule: ShiftRule, layer: Layer) -> tuple[list[jax.Array], list[jax.Array]]:
    """The greedy residuals e_0 .. e_{k-1} and terms T_0 .. T_{k-1}, each like the weights."""
    residuals, terms = [], []
    total = jnp.zeros_like(layer.x)
    for _ in range(rule.k):
        residual = layer.x - total
        term = round_into_window(rule, layer, residual)
        total = total + term
        residuals.append(residual)
        terms.append(term)
    return residuals, terms


def _scale(layer: Layer) -> jax.Array:
    return numerics.power_of_two(layer.shift, layer.layout.compute)


def scaled(layer: Layer, x: jax.Array) -> jax.Array:
    """Multiplies by 2**shift, for residuals and terms of the layer.

    The choice keeps the compiler from joining two scales that it knows: their product may
    overflow.
    """
    return jnp.where(x == 0, 0, x * _scale(layer))


def unscaled(layer: Layer, x: jax.Array) -> jax.Array:
    """Multiplies by 2**-shift, for what was computed from scaled numbers."""
    return numerics.times_power_of_two(x, -layer.shift)


def scaled_norms(rule: ShiftRule, layer: Layer, residuals: list[jax.Array]) -> jax.Array:
    """[k, filters] norms of the greedy residuals, times 2**shift.

    All are NaN if a weight is not finite. What lies more than 2**100 below the largest number
    counts as zero.
    """
    layout = layer.layout
    # Its square is zero. The maximum keeps the compiler from joining two scales that it knows.
    least = numerics.power_of_two(-layout.bias // 3 * 2, layout.compute)
    magnitudes = [jnp.maximum(jnp.abs(r) * _scale(layer), least) for r in residuals]
    squares = [magnitude * magnitude for magnitude in magnitudes]
    group = 8 if rule.k < MAX_TERMS else 4
    norms = jnp.sqrt(filters.sums_over_filters(squares, rule.filter_axis, group))
    return jnp.where(jnp.all(jnp.isfinite(norms[0])), norms, jnp.nan)
