"""The integers of a shift format: signs and exponents of every term that is stored."""

import dataclasses
import math
import struct
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from flightnn_jax import numerics
from flightnn_jax.formats import base, packing
from flightnn_jax.formats import window as windows
from flightnn_jax.integer.weights import LoweringError, Scaled, ShiftWeights, check_filters_last

KIND = 1
MAX_TERMS = 3
_HEADER = struct.Struct("<BBHh")  # most terms, window kind, width, low
_K_BITS = 2
_WINDOWS: tuple[Literal["none", "clamp", "flush"], ...] = ("none", "clamp", "flush")


@base.register("sign", "exponent", "k", "low", exported_as="flightnn_jax.ShiftCodes")
@dataclasses.dataclass(frozen=True)
class ShiftCodes(base.Codes):
    """Weights as sums of signed powers of two: w = sum over j of sign_j 2**exponent_j.

    Invariants, checked by `check`:
      1. `k[i]` is between 0 and the number of terms, which is the largest k; a filter has exactly
         its first k terms: its later ones have sign 0.
      2. A sign is -1, 0 or 1. Within the first k terms it is 0 only where the window has a code
         for zero (`'flush'`, or no window).
      3. An exponent lies in low .. low + width - 1, and within the powers of two of `dtype`;
         where the sign is 0 it is `low`.

    Attributes:
      sign: [terms, *shape] int8.
      exponent: [terms, *shape] int16.
      k: [filters] int32, the terms that are stored for each filter. It is the k_eff of
        `count_shifts`, but 2 for a one-term filter that holds a zero which its window cannot
        express: there every weight is stored as a sum of two, 0 = 2**e - 2**e.
      low: [] int32, the smallest exponent of the layer's window.
      window: the window without its top, or None for all exponents of `dtype`.
      filter_axis: the axis of `shape` that counts the filters, from 0.
      dtype: name of the type of the weights.
    """

    sign: jax.Array | np.ndarray
    exponent: jax.Array | np.ndarray
    k: jax.Array | np.ndarray
    low: jax.Array | np.ndarray
    window: windows.Window | None
    filter_axis: int
    dtype: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the weights."""
        return np.shape(self.sign)[1:]

    def check(self) -> None:
        """Raises ValueError, naming the first invariant that does not hold."""
        sign, exponent, k = (np.asarray(x) for x in (self.sign, self.exponent, self.k))
        base.check_axis_of_codes(self.filter_axis, sign.ndim - 1)
        if sign.shape != exponent.shape or k.shape != (sign.shape[1:][self.filter_axis],):
            raise ValueError(
                f"shapes of sign {sign.shape}, exponent {exponent.shape} and k {k.shape} do not "
                "fit: [terms, *shape] twice, and [filters]"
            )
        _check_k(k, sign.shape[0])
        if not np.isin(sign, (-1, 0, 1)).all():
            raise ValueError(f"signs {np.unique(sign)}: each must be -1, 0 or 1")
        stored = self._is_stored()
        if np.any((sign != 0) & ~stored):
            raise ValueError("a term beyond its filter's k has a sign: it must be 0")
        if not _has_zero(self.window) and np.any((sign == 0) & stored):
            raise ValueError(
                "a stored term has sign 0: a clamping window has no code for zero; use "
                "below='flush', or store the filter with one more term"
            )
        low = int(np.asarray(self.low))
        layout = numerics.layout_of(self.dtype)
        width = layout.highest - layout.lowest + 1 if self.window is None else self.window.width
        high = min(low + width - 1, layout.highest)
        if low < layout.lowest or low > layout.highest:
            raise ValueError(
                f"smallest exponent {low}: it must be from {layout.lowest} to {layout.highest} "
                f"for {self.dtype}"
            )
        if sign.size and not low <= exponent.min() <= exponent.max() <= high:
            raise ValueError(
                f"exponents from {exponent.min()} to {exponent.max()}: each must be in the window "
                f"{low}..{high}"
            )
        if np.any((sign == 0) & (exponent != low)):
            raise ValueError(f"a term with sign 0 must have the window's lowest exponent, {low}")

    def _is_stored(self) -> np.ndarray:
        """[terms, *shape-broadcastable] whether a term is among the first k of its filter."""
        others = tuple(i for i in range(len(self.shape)) if i != self.filter_axis)
        index = np.arange(len(self.sign)).reshape(-1, *[1] * len(self.shape))
        return index < np.expand_dims(np.asarray(self.k), others)

    def decode(self) -> jax.Array:
        """The weights, equal bit for bit to those that were encoded; works under jit."""
        layout = numerics.layout_of(self.dtype)
        sign = jnp.asarray(self.sign)
        powers = numerics.power_of_two(self.exponent, layout.compute)
        total = jnp.zeros(self.shape, layout.compute)
        for j in range(sign.shape[0]):
            total = total + jnp.where(sign[j] == 0, 0, jnp.where(sign[j] < 0, -1, 1) * powers[j])
        return total.astype(self.dtype)

    def to_bytes(self) -> bytes:
        """Packs the terms of `term_bits` bits: sign and exponent as one code each.

        A code is 2 (exponent - low) + (1 for minus), plus 1 where 0 is the code for zero. They
        stand filter by filter, term by term, the weights of a filter in their order. Before them
        the body of the frame has an array header (see `packing`), the number of terms and the
        kind of window (0 none, 1 clamp, 2 flush) in 1 byte each, width and low in 2 each, and k
        in 2 bits a filter.

        Example:
          >>> import jax.numpy as jnp
          >>> from flightnn_jax import Shift
          >>> codes = Shift(k=1).encode(jnp.array([[1.0, -0.5], [0.25, 2.0]]))
          >>> data = codes.to_bytes()
          >>> bool((ShiftCodes.from_bytes(data).decode() == codes.decode()).all())
          True
        """
        self.check()
        zero = _has_zero(self.window)
        sign, exponent = np.asarray(self.sign), np.asarray(self.exponent, np.int32)
        low = int(np.asarray(self.low))
        code = np.where((sign == 0) & zero, 0, 2 * (exponent - low) + (sign < 0) + zero)
        stored = np.broadcast_to(self._is_stored(), code.shape)
        by_filter, stored = (np.moveaxis(x, 1 + self.filter_axis, 0) for x in (code, stored))
        kind, width = ("none", 0) if self.window is None else (self.window.below, self.window.width)
        return packing.frame(
            KIND,
            packing.pack_array_header(self.shape, self.dtype, self.filter_axis)
            + _HEADER.pack(sign.shape[0], _WINDOWS.index(kind), width, low)
            + packing.pack_integers(np.asarray(self.k), _K_BITS)
            + packing.pack_integers(by_filter[stored], self._term_bits()),
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> "ShiftCodes":
        """Unpacks what `to_bytes` packed.

        Raises:
          ValueError: if the bytes are truncated, corrupted, of another kind or version, or break
            an invariant of the class.
        """
        reader = packing.Reader(packing.unframe(KIND, data))
        shape, dtype, axis = reader.array_header()
        terms, kind, width, low = reader.unpack(_HEADER)
        if terms > MAX_TERMS or kind >= len(_WINDOWS):
            raise ValueError(
                f"packed codes name {terms} terms and window kind {kind}: there are at most "
                f"{MAX_TERMS} terms and {len(_WINDOWS)} kinds"
            )
        below = _WINDOWS[kind]
        if below == "none" and width:
            raise ValueError(f"packed codes name a width of {width} without a window: it must be 0")
        window = None if below == "none" else windows.Window(width, None, below)
        k = reader.integers(shape[axis], _K_BITS).astype(np.int32)
        size = math.prod(shape) // shape[axis] if shape[axis] else 0
        layout = numerics.layout_of(dtype)
        _check_k(k, terms)  # before anything of that size is allocated
        code = reader.integers(int(k.sum()) * size, windows.term_bits(window, layout))
        reader.finish()
        zero = _has_zero(window)
        is_zero = zero & (code == 0)
        value = code.astype(np.int32) - zero
        first = np.concatenate([[0], np.cumsum(k)])
        one = shape[:axis] + shape[axis + 1 :]
        try:
            sign = np.zeros((terms, shape[axis], *one), np.int8)
            exponent = np.full(sign.shape, low, np.int16)
        except (MemoryError, ValueError) as error:
            raise ValueError(f"packed codes describe weights of shape {shape}: {error}") from None
        total = int(k.sum())
        signs = np.where(is_zero, 0, 1 - 2 * (value & 1)).reshape(total, *one)
        exponents = np.where(is_zero, low, low + (value >> 1)).reshape(total, *one)
        for j in range(terms):
            has = np.flatnonzero(k > j)
            sign[j, has] = signs[first[has] + j]
            exponent[j, has] = exponents[first[has] + j]
        sign, exponent = np.moveaxis(sign, 1, 1 + axis), np.moveaxis(exponent, 1, 1 + axis)
        codes = cls(sign, exponent, k, np.asarray(low, np.int32), window, axis, dtype)
        codes.check()
        return codes

    def to_weights(self) -> Scaled:
        """Terms in units of the window's smallest power of two.

        Example:
          >>> import jax.numpy as jnp
          >>> from flightnn_jax import Shift
          >>> weights, exponent = Shift(k=2).encode(jnp.array([[0.75], [0.0]])).to_weights()
          >>> weights.integers().tolist(), exponent  # 96 = 128 - 32
          ([[96], [0]], -7)
          >>> weights.shift[:, :, 0].tolist()
          [[7, 0], [5, 0]]
        """
        check_filters_last(self.filter_axis, len(self.shape))
        window = self.window
        if window is None or window.has_zero or window.width > 8:
            what = "no window" if window is None else f"{window.width} exponents, {window.below!r}"
            raise LoweringError(
                f"terms with {what}: a term of 4 bits has 8 exponents at most and no code for "
                "zero; train with Window(width=8, below='clamp')"
            )
        sign, low = np.asarray(self.sign), int(np.asarray(self.low))
        shift = np.where(sign == 0, 0, np.asarray(self.exponent) - low).astype(np.uint8)
        k = np.asarray(self.k).astype(np.uint8)
        return Scaled(ShiftWeights(sign.astype(np.int8), shift, k), low)

    def _term_bits(self) -> int:
        return windows.term_bits(self.window, numerics.layout_of(self.dtype))

    def storage_bits(self) -> int:
        """Bits of all stored terms."""
        stored = np.broadcast_to(self._is_stored(), np.shape(self.sign))
        return int(np.count_nonzero(stored)) * self._term_bits()


def _check_k(k: np.ndarray, terms: int) -> None:
    if k.size and not 0 <= k.min() <= k.max() <= terms:
        raise ValueError(
            f"k from {k.min()} to {k.max()}: each must be from 0 to the {terms} terms that are "
            "stored"
        )
    if k.max(initial=0) != terms:
        raise ValueError(
            f"{terms} terms are stored, but the largest k is {k.max(initial=0)}: a term that no "
            "filter has must be left out"
        )


def _has_zero(window: windows.Window | None) -> bool:
    return window is None or window.has_zero


def stored_terms(
    k_eff: jax.Array | np.ndarray, zeros: jax.Array | np.ndarray, window: windows.Window | None
) -> np.ndarray:
    """[filters] how many terms are stored for each filter.

    Args:
      k_eff: [filters] terms that have a non-zero element.
      zeros: [filters] whether an element of the filter is zero in all of them.
      window: the window of the terms.
    """
    k_eff = np.asarray(k_eff, np.int32)
    if _has_zero(window):
        return k_eff
    return k_eff + ((k_eff == 1) & np.asarray(zeros))


def codes_of(
    terms: np.ndarray,
    k_eff: np.ndarray,
    low: int,
    window: windows.Window | None,
    filter_axis: int,
    dtype: str,
) -> ShiftCodes:
    """Codes for the sum of `terms`.

    Args:
      terms: [n, *shape] signed powers of two or zero, filter by filter non-zero somewhere in the
        first `k_eff` terms only.
      k_eff: [filters] terms to keep.
      low: smallest exponent of the window.
      window: the window.
      filter_axis: axis of `shape`.
      dtype: type of the weights.
    """
    axis = filter_axis % (terms.ndim - 1)
    sign = np.sign(terms).astype(np.int8)
    exponent = np.where(sign == 0, low, np.frexp(terms)[1] - 1).astype(np.int16)
    others = tuple(i for i in range(terms.ndim - 1) if i != axis)
    zeros = (~sign.any(axis=0)).any(axis=others)
    k = stored_terms(k_eff, zeros, window)
    count = int(k.max(initial=0))
    # A one-term format whose zeros take two terms has one too few, others may have too many.
    missing = [(0, max(0, count - len(sign))), *[(0, 0)] * (sign.ndim - 1)]
    sign = np.pad(sign, missing)[:count]
    exponent = np.pad(exponent, missing, constant_values=low)[:count]
    if not _has_zero(window):
        _fill(sign, exponent, np.broadcast_to(np.expand_dims(k, others), sign.shape[1:]), low)
    top_free = None if window is None else dataclasses.replace(window, top=None)
    return ShiftCodes(sign, exponent, k, np.asarray(low, np.int32), top_free, axis, dtype)


def _fill(sign: np.ndarray, exponent: np.ndarray, k: np.ndarray, low: int) -> None:
    """Gives every weight exactly k non-zero terms of the same sum, in place.

    A term is split where one is missing; all exponents stay in the window, of width two or more.

        2**e   = 2**(e-1)   + 2**(e-1)      e > low
        2**low = 2**(low+1) - 2**low
        0      = 2**low     - 2**low        two missing: k >= 2 wherever a weight is zero
    """
    present = (sign != 0).sum(axis=0)
    empty = (present == 0) & (k > 0)
    if sign.shape[0] > 1:
        sign[0, empty], sign[1, empty] = 1, -1
        exponent[:2, empty] = low
        present = present + 2 * empty
    for j in range(1, sign.shape[0]):
        # The greedy terms are non-zero up to some index, so the free place is the next one.
        missing = (present == j) & (k > j)
        s, e = sign[j - 1, missing], exponent[j - 1, missing]
        lowest = e == low
        sign[j, missing] = np.where(lowest, -s, s)
        exponent[j - 1, missing] = np.where(lowest, low + 1, e - 1)
        exponent[j, missing] = np.where(lowest, low, e - 1)
        present = present + missing
