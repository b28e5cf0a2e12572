"""Weights as sums of at most k powers of two: LightNN-k, and FLightNN with thresholds."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from flightnn_jax import filters, numerics
from flightnn_jax.formats import base, greedy, shift_codes, shift_quantizer
from flightnn_jax.formats import window as windows


@base.register("thresholds", exported_as="flightnn_jax.Shift")
@dataclasses.dataclass(frozen=True)
class Shift(greedy.ShiftRule, base.Format):
    r"""Sums of at most k powers of two for each filter: Q_k(w | t).

    Without thresholds every filter takes k terms: LightNN-k. With thresholds, which are trained,
    each filter takes as many as its residuals demand: FLightNN. Besides `thresholds` the fields
    are those of `ShiftRule`.

    .. math:: Q_k(w|t) = \sum_{l<k} 1(\|r_l\|_2 > t_l)\, R(r_l), \qquad r_{l+1} = r_l - g_l R(r_l)

    Attributes:
      thresholds: None; or floats [k], one vector for the layer; or [k, filters].

    Example:
      >>> import jax.numpy as jnp
      >>> w = jnp.array([[0.75, 0.5], [0.3, -0.25]])  # two filters of two weights
      >>> Shift(k=1).quantize(w).tolist()
      [[1.0, 0.5], [0.25, -0.25]]
      >>> flexible = Shift(k=2, thresholds=jnp.zeros(2))
      >>> flexible.quantize(w).tolist()
      [[0.75, 0.5], [0.3125, -0.25]]
      >>> flexible.count_shifts(w).k.tolist()  # the second filter is exact with one term
      [2, 1]

    Reference: Ding et al., FLightNNs: Lightweight Quantized Deep Neural Networks for Fast and
    Accurate Inference, DAC 2019.
    """

    thresholds: Any = None

    @property
    def rule(self) -> greedy.ShiftRule:
        """The static fields alone."""
        names = [field.name for field in dataclasses.fields(greedy.ShiftRule)]
        return greedy.ShiftRule(**{name: getattr(self, name) for name in names})

    @property
    def significant_bits(self) -> int | None:
        """Sums of two terms end below 2**width, or at it; a third one may go beyond.

        Example:
          >>> [Shift(k=k).significant_bits for k in (1, 2, 3)]  # 2**7 + 2**7 + 1 takes 9 bits
          [1, 8, 9]
        """
        if self.window is None:
            return None
        return 1 if self.k <= 1 else self.window.width + self.k - 2

    def problem_with(self, shape: tuple[int, ...], dtype: DTypeLike) -> str | None:
        """The rule that weights of this shape and type break, or None."""
        if problem := base.problem_with_axis(self.filter_axis, shape):
            return problem
        if isinstance(self.thresholds, list | tuple):
            return "thresholds in a Python sequence: make an array of them, jnp.array([...])"
        kind = getattr(self.thresholds, "dtype", None)
        if kind is not None and not jnp.issubdtype(kind, jnp.floating):
            return (
                f"thresholds of type {kind}: they are trained, so make them float32, as "
                "init_thresholds does"
            )
        if self.thresholds is not None:
            count = shape[self.filter_axis]
            given = np.shape(self.thresholds)
            if given not in ((self.k,), (self.k, count)):
                return (
                    f"thresholds of shape {given}: with k={self.k} and {count} filters they "
                    f"must be ({self.k},) for the layer or ({self.k}, {count}), one column a "
                    "filter; init_thresholds makes them"
                )
        return windows.problem_with(self.window, numerics.layout_of(dtype))

    def quantize(self, w: jax.Array) -> jax.Array:
        """Q_k(w | t), like `w`; straight through to w, relaxed gates to the thresholds."""
        return shift_quantizer.quantize(self.rule, w, self._array())

    def residual_norms(self, w: jax.Array) -> jax.Array:
        """[k, filters] norms ||r_l||, differentiable in w with Q held locally constant."""
        return shift_quantizer.residual_norms(self.rule, w, self._array())

    def count_shifts(self, w: jax.Array) -> base.ShiftCounts:
        """Open gates, and terms with a non-zero element, for each filter; works under jit."""
        k, k_eff, _ = self._counts(w)
        return base.ShiftCounts(k, k_eff)

    def storage_bits(self, w: jax.Array) -> int:
        """Bits of all terms that `encode(w)` stores."""
        _, k_eff, zeros = self._counts(w)
        stored = shift_codes.stored_terms(k_eff, zeros, self.window)
        size = w.size // len(stored) if len(stored) else 0
        bits = windows.term_bits(self.window, numerics.layout_of(w.dtype))
        return int(np.sum(stored, dtype=np.int64)) * size * bits

    def encode(self, w: jax.Array) -> shift_codes.ShiftCodes:
        """Signs and exponents whose sum is `quantize(w)`."""
        gated, k_eff = jax.device_get(_encoded(self.rule, w, self._array()))
        layout = numerics.layout_of(w.dtype)
        terms = np.zeros((self.k, *w.shape), layout.compute)
        others = filters.other_axes(w.ndim, self.filter_axis)
        for n, term in enumerate(gated.terms):
            terms[n] = np.where(np.expand_dims(k_eff > n, others), term, 0)
        return shift_codes.codes_of(
            terms, k_eff, int(gated.low), self.window, self.filter_axis, w.dtype.name
        )

    def _array(self) -> jax.Array | None:
        return None if self.thresholds is None else jnp.asarray(self.thresholds)

    def _counts(self, w: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """[filters] each: open gates, terms with a non-zero element, whether a zero is left."""
        return _counts(self.rule, w, self._array())


@functools.partial(jax.jit, static_argnums=0)
def _encoded(
    rule: greedy.ShiftRule, w: jax.Array, t: jax.Array | None
) -> tuple[shift_quantizer.Quantized, jax.Array]:
    gated = shift_quantizer.gated_terms(rule, w, t)
    return gated, _effective(rule, gated)


@functools.partial(jax.jit, static_argnums=0)
def _counts(
    rule: greedy.ShiftRule, w: jax.Array, t: jax.Array | None
) -> tuple[jax.Array, jax.Array, jax.Array]:
    gated = shift_quantizer.gated_terms(rule, w, t)
    others = filters.other_axes(w.ndim, rule.filter_axis)
    # A first term of zero is a weight of zero: every later residual is the weight itself.
    zeros = jnp.any(gated.terms[0] == 0, others) if gated.terms else jnp.zeros_like(gated.k, bool)
    return gated.k, _effective(rule, gated), zeros


def _effective(rule: greedy.ShiftRule, gated: shift_quantizer.Quantized) -> jax.Array:
    """[filters] int32, open terms with a non-zero element."""
    effective = jnp.zeros_like(gated.k)
    for n, term in enumerate(gated.terms):
        some = jnp.any(term != 0, filters.other_axes(term.ndim, rule.filter_axis))
        effective = effective + ((gated.k > n) & some)
    return effective
