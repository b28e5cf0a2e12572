"""Weights of one bit: their signs, as BinaryConnect has them."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from flightnn_jax import numerics
from flightnn_jax.formats import base, packing, shards
from flightnn_jax.integer.weights import BinaryWeights, Scaled, check_filters_last

_KIND = 3


@base.register("negative", exported_as="flightnn_jax.BinaryCodes")
@dataclasses.dataclass(frozen=True)
class BinaryCodes(base.Codes):
    """Weights of -1 and 1 as one bit each.

    Attributes:
      negative: [*shape] bool, whether the weight is -1.
      filter_axis: the axis of `shape` that counts the filters, from 0.
      dtype: name of the type of the weights.
    """

    negative: jax.Array | np.ndarray
    filter_axis: int
    dtype: str

    def check(self) -> None:
        """Raises ValueError, naming the first invariant that does not hold."""
        base.check_axis_of_codes(self.filter_axis, np.ndim(self.negative))
        numerics.layout_of(self.dtype)
        if self.negative.dtype != bool:
            raise ValueError(f"negative of type {self.negative.dtype}: it must be bool")

    def decode(self) -> jax.Array:
        """The weights, equal bit for bit to those that were encoded; works under jit."""
        return jnp.where(jnp.asarray(self.negative), -1, 1).astype(self.dtype)

    def to_bytes(self) -> bytes:
        """Packs the bits in their order, behind an array header (see `packing`)."""
        self.check()
        negative = np.asarray(self.negative)
        return packing.frame(
            _KIND,
            packing.pack_array_header(negative.shape, self.dtype, self.filter_axis)
            + packing.pack_integers(negative, 1),
        )

    def to_weights(self) -> Scaled:
        """The same bits; their unit is 1."""
        check_filters_last(self.filter_axis, np.ndim(self.negative))
        return Scaled(BinaryWeights(np.asarray(self.negative).astype(np.uint8)), 0)

    @classmethod
    def from_bytes(cls, data: bytes) -> "BinaryCodes":
        """Unpacks what `to_bytes` packed.

        Raises:
          ValueError: if the bytes are truncated, corrupted, of another kind or version, or break
            an invariant of the class.
        """
        reader = packing.Reader(packing.unframe(_KIND, data))
        shape, dtype, axis = reader.array_header()
        negative = reader.integers(math.prod(shape), 1).astype(bool).reshape(shape)
        reader.finish()
        return cls(negative, axis, dtype)


@base.register(exported_as="flightnn_jax.Binary")
@dataclasses.dataclass(frozen=True)
class Binary(base.Format):
    """The sign of each weight, 0 counting as positive: M. Courbariaux et al., BinaryConnect, 2015.

    The gradient passes straight through. A weight's magnitude is how long its sign has been the
    right one: the paper clips weights to [-1, 1] behind each step, as training does with
    `Config.clamp`, so that no sign becomes too old to change.

    Attributes:
      filter_axis: the axis that counts the filters.

    Example:
      >>> import jax.numpy as jnp
      >>> Binary().quantize(jnp.array([[0.7, -0.33], [0.0, -2.0]])).tolist()
      [[1.0, -1.0], [1.0, -1.0]]
    """

    filter_axis: int = -1

    def __post_init__(self) -> None:
        if not numerics.is_whole(self.filter_axis):
            raise TypeError(f"filter_axis={self.filter_axis!r}: an axis is a whole number")

    @property
    def significant_bits(self) -> int | None:
        """One, besides its sign."""
        return 1

    def problem_with(self, shape: tuple[int, ...], dtype: DTypeLike) -> str | None:
        """The rule that weights of this shape and type break, or None."""
        numerics.layout_of(dtype)
        return base.problem_with_axis(self.filter_axis, shape)

    def quantize(self, w: jax.Array) -> jax.Array:
        """-1 and 1; the gradient passes straight through."""
        return _signs(w)

    def storage_bits(self, w: jax.Array) -> int:
        """One for each weight."""
        return w.size

    def encode(self, w: jax.Array) -> BinaryCodes:
        """The bits of `quantize(w)`."""
        return BinaryCodes(np.asarray(w < 0), self.filter_axis % w.ndim, w.dtype.name)


@jax.custom_vjp
def _signs(w: jax.Array) -> jax.Array:
    finite = shards.sum_of_all(jnp.sum(w * 0), w) == 0  # a weight that is not makes all NaN
    return jnp.where(finite, jnp.where(w < 0, -1, 1), jnp.nan).astype(w.dtype)


_signs.defvjp(lambda w: (_signs(w), None), lambda kept, g: (g,))
