"""Weights on a uniform grid of b bits with a power-of-two scale: the fixed-point baseline."""

import dataclasses
import functools
import math
import struct
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from flightnn_jax import numerics
from flightnn_jax.formats import base, packing, shards
from flightnn_jax.integer.weights import IntegerWeights, LoweringError, Scaled, check_filters_last

_KIND = 2
_HEADER = struct.Struct("<Bh")  # bits, exponent
_MIN_BITS, _MAX_BITS = 2, 16
_STEPS_TRIED = 3


@base.register("value", "exponent", exported_as="flightnn_jax.FixedPointCodes")
@dataclasses.dataclass(frozen=True)
class FixedPointCodes(base.Codes):
    """Weights as integers times one power of two: w = value 2**exponent.

    Invariants, checked by `check`: every value is in -2**(bits-1) .. 2**(bits-1) - 1, and the
    exponent is one of a power of two of `dtype`.

    Attributes:
      value: [*shape] int16.
      exponent: [] int32.
      bits: bits of a value.
      filter_axis: the axis of `shape` that counts the filters, from 0.
      dtype: name of the type of the weights.
    """

    value: jax.Array | np.ndarray
    exponent: jax.Array | np.ndarray
    bits: int
    filter_axis: int
    dtype: str

    def check(self) -> None:
        """Raises ValueError, naming the first invariant that does not hold."""
        value, exponent = np.asarray(self.value), int(np.asarray(self.exponent))
        base.check_axis_of_codes(self.filter_axis, value.ndim)
        _check_bits(self.bits)
        half = 1 << (self.bits - 1)
        if value.size and not -half <= value.min() <= value.max() <= half - 1:
            raise ValueError(
                f"values from {value.min()} to {value.max()}: {self.bits} bits reach from "
                f"{-half} to {half - 1}"
            )
        layout = numerics.layout_of(self.dtype)
        if not layout.lowest <= exponent <= layout.highest:
            raise ValueError(
                f"exponent {exponent}: for {self.dtype} it must be from {layout.lowest} to "
                f"{layout.highest}"
            )

    def decode(self) -> jax.Array:
        """The weights, equal bit for bit to those that were encoded; works under jit."""
        compute = numerics.layout_of(self.dtype).compute
        scale = numerics.power_of_two(self.exponent, compute)
        return (jnp.asarray(self.value).astype(compute) * scale).astype(self.dtype)

    def to_bytes(self) -> bytes:
        """Packs the values in `bits` bits each, in two's complement, in their order.

        The body of the frame is an array header (see `packing`), bits (1 byte) and exponent (2),
        and the values.
        """
        self.check()
        value = np.asarray(self.value)
        code = value.astype(np.int32) & ((1 << self.bits) - 1)
        return packing.frame(
            _KIND,
            packing.pack_array_header(value.shape, self.dtype, self.filter_axis)
            + _HEADER.pack(self.bits, int(np.asarray(self.exponent)))
            + packing.pack_integers(code, self.bits),
        )

    def to_weights(self) -> Scaled:
        """The values, in units of their power of two."""
        check_filters_last(self.filter_axis, np.ndim(self.value))
        if self.bits > 4:
            raise LoweringError(
                f"fixed-point weights of {self.bits} bits: integer networks hold 4; train with "
                "FixedPoint(bits=4)"
            )
        value = np.asarray(self.value).astype(np.int8)
        return Scaled(IntegerWeights(value), int(np.asarray(self.exponent)))

    @classmethod
    def from_bytes(cls, data: bytes) -> "FixedPointCodes":
        """Unpacks what `to_bytes` packed.

        Raises:
          ValueError: if the bytes are truncated, corrupted, of another kind or version, or break
            an invariant of the class.
        """
        reader = packing.Reader(packing.unframe(_KIND, data))
        shape, dtype, axis = reader.array_header()
        bits, exponent = reader.unpack(_HEADER)
        _check_bits(bits)
        code = reader.integers(math.prod(shape), bits).astype(np.int32)
        reader.finish()
        value = code - ((code >> (bits - 1)) << bits)
        values = value.astype(np.int16).reshape(shape)
        codes = cls(values, np.asarray(exponent, np.int32), bits, axis, dtype)
        codes.check()
        return codes


def _check_bits(bits: int) -> None:
    if not _MIN_BITS <= bits <= _MAX_BITS:
        raise ValueError(f"bits={bits}: must be from {_MIN_BITS} to {_MAX_BITS}")


@base.register(exported_as="flightnn_jax.FixedPoint")
@dataclasses.dataclass(frozen=True)
class FixedPoint(base.Format):
    """Signed integers of `bits` bits times a power of two; straight-through gradient.

    Attributes:
      bits: 2 to 16.
      scale: `'layer'`, of the steps 2**e that reach the largest weight, half of it and a quarter
        of it the one with the least squared error (what lies beyond saturates); or `'unit'`, the
        fixed grid of 2**bits values on [-1, 1).
      filter_axis: the axis that counts the filters.

    Example:
      >>> import jax.numpy as jnp
      >>> w = jnp.array([[0.7, -0.33], [0.1, 0.0]])
      >>> FixedPoint(bits=4, scale="unit").quantize(w).tolist()
      [[0.75, -0.375], [0.125, 0.0]]
    """

    bits: int = 4
    scale: Literal["layer", "unit"] = "layer"
    filter_axis: int = -1

    def __post_init__(self) -> None:
        if not numerics.is_whole(self.bits) or not _MIN_BITS <= self.bits <= _MAX_BITS:
            raise ValueError(
                f"bits={self.bits!r}: a fixed-point weight has {_MIN_BITS} to {_MAX_BITS} bits"
            )
        if not numerics.is_whole(self.filter_axis):
            raise TypeError(f"filter_axis={self.filter_axis!r}: an axis is a whole number")
        if not isinstance(self.scale, str) or self.scale not in ("layer", "unit"):
            raise ValueError(f"scale={self.scale!r} is unknown: choose 'layer' or 'unit'")

    @property
    def significant_bits(self) -> int | None:
        """Those of a value."""
        return self.bits

    def problem_with(self, shape: tuple[int, ...], dtype: DTypeLike) -> str | None:
        """The rule that weights of this shape and type break, or None."""
        numerics.layout_of(dtype)
        return base.problem_with_axis(self.filter_axis, shape)

    def quantize(self, w: jax.Array) -> jax.Array:
        """The nearest values of the grid, ties to even; the gradient passes straight through."""
        return _quantize(self, w)

    def storage_bits(self, w: jax.Array) -> int:
        """`bits` for each weight."""
        return self.bits * w.size

    def encode(self, w: jax.Array) -> FixedPointCodes:
        """Integers whose multiples of the layer's step are `quantize(w)`."""
        value, exponent = (np.asarray(x) for x in _integers(self, w))
        axis = self.filter_axis % w.ndim
        return FixedPointCodes(value.astype(np.int16), exponent, self.bits, axis, w.dtype.name)


@functools.partial(jax.jit, static_argnums=0)
def _integers(rule: FixedPoint, w: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The integers, in the computing type, and the exponent of their step."""
    layout = numerics.layout_of(w.dtype)
    x, largest = shards.with_largest(w.astype(layout.compute))
    half = 1 << (rule.bits - 1)
    # The largest value, or what is left of it in the significant bits of a 16-bit type.
    most = half - max(1, half >> (jnp.finfo(w.dtype).nmant + 1))

    def scaled(exponent: jax.Array) -> jax.Array:
        return x * numerics.power_of_two(-exponent, layout.compute)

    def integers(exponent: jax.Array) -> jax.Array:
        value = jnp.clip(jnp.round(scaled(exponent)), -half, most)
        return jnp.where(value == 0, 0, value)  # no negative zero: integers have none

    if rule.scale == "unit":
        exponent = jnp.int32(1 - rule.bits)
    else:
        top = numerics.exponent_of(largest) - rule.bits + 2
        steps = [
            jnp.clip(top - n, layout.lowest, layout.highest - rule.bits + 1)
            for n in range(_STEPS_TRIED)
        ]
        errors = [
            jnp.sum((integers(e) * numerics.power_of_two(e - top, x.dtype) - scaled(top)) ** 2)
            for e in steps
        ]
        exponent = jnp.stack(steps)[jnp.argmin(shards.sum_of_all(jnp.stack(errors), x))]
    return integers(exponent), exponent


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _quantize(rule: FixedPoint, w: jax.Array) -> jax.Array:
    value, exponent = _integers(rule, w)
    finite = jnp.sum(w * 0) == 0  # by a sum: XLA's maximum passes over NaN on a CPU
    quantized = value * numerics.power_of_two(exponent, value.dtype)
    return jnp.where(finite, quantized, jnp.nan).astype(w.dtype)


_quantize.defvjp(lambda rule, w: (_quantize(rule, w), None), lambda rule, kept, g: (g,))
