"""Weights that are numbers of a small table of levels: codebooks, for table-based units."""

import dataclasses
import functools
import math
import struct
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from flightnn_jax import numerics
from flightnn_jax.formats import base, packing, shards
from flightnn_jax.integer.codebook import MAX_LEVELS, CodebookWeights, index_bits
from flightnn_jax.integer.weights import Scaled, check_filters_last

_KIND = 4
_HEADER = struct.Struct("<Hh")  # levels, exponent
_KINDS = ("uniform", "laplace", "kmeans")
_LARGEST = 127
_ROUNDS = 16  # until levels that begin with the weights have settled


@base.register("levels", "index", "exponent", exported_as="flightnn_jax.CodebookCodes")
@dataclasses.dataclass(frozen=True)
class CodebookCodes(base.Codes):
    """Weights as numbers of levels: w = levels[index] 2**exponent.

    Attributes:
      levels: [levels] int8, 1 to 256 that do not fall.
      index: [*shape] uint8.
      exponent: [] int32.
      filter_axis: the axis of `shape` that counts the filters, from 0.
      dtype: name of the type of the weights.
    """

    levels: jax.Array | np.ndarray
    index: jax.Array | np.ndarray
    exponent: jax.Array | np.ndarray
    filter_axis: int
    dtype: str

    def check(self) -> None:
        """Raises ValueError, naming the first invariant that does not hold."""
        levels, index = np.asarray(self.levels), np.asarray(self.index)
        base.check_axis_of_codes(self.filter_axis, index.ndim)
        if levels.ndim != 1 or not 1 <= levels.size <= MAX_LEVELS or levels.dtype != np.int8:
            raise ValueError(
                f"levels are {levels.dtype} of shape {levels.shape}: they are 1 to {MAX_LEVELS} "
                "int8 in a row"
            )
        if np.any(np.diff(levels.astype(np.int32)) < 0):
            raise ValueError(f"levels {levels.tolist()}: none is smaller than the one before")
        if index.dtype != np.uint8 or index.max(initial=0) >= levels.size:
            raise ValueError(
                f"indices are {index.dtype} up to {index.max(initial=0)}: they are uint8, numbers "
                f"of {levels.size} levels"
            )
        layout, exponent = numerics.layout_of(self.dtype), int(np.asarray(self.exponent))
        if not layout.lowest <= exponent <= layout.highest:
            raise ValueError(
                f"exponent {exponent}: for {self.dtype} it must be from {layout.lowest} to "
                f"{layout.highest}"
            )

    def decode(self) -> jax.Array:
        """The weights, equal bit for bit to those that were encoded; works under jit."""
        compute = numerics.layout_of(self.dtype).compute
        unit = numerics.power_of_two(self.exponent, compute)
        values = jnp.asarray(self.levels).astype(compute) * unit
        return values[jnp.asarray(self.index)].astype(self.dtype)

    def to_bytes(self) -> bytes:
        """Packs an array header (see `packing`), how many levels, the exponent, levels, indices."""
        self.check()
        levels, index = np.asarray(self.levels), np.asarray(self.index)
        return packing.frame(
            _KIND,
            packing.pack_array_header(index.shape, self.dtype, self.filter_axis)
            + _HEADER.pack(levels.size, int(np.asarray(self.exponent)))
            + packing.pack_integers(levels.view(np.uint8), 8)
            + packing.pack_integers(index, index_bits(levels.size)),
        )

    def to_weights(self) -> Scaled:
        """The same levels, equal ones as one."""
        check_filters_last(self.filter_axis, np.ndim(self.index))
        levels, index = _merged(np.asarray(self.levels), np.asarray(self.index))
        return Scaled(CodebookWeights(levels, index), int(np.asarray(self.exponent)))

    @classmethod
    def from_bytes(cls, data: bytes) -> "CodebookCodes":
        """Unpacks what `to_bytes` packed.

        Raises:
          ValueError: if the bytes are truncated, corrupted, of another kind or version, or break
            an invariant of the class.
        """
        reader = packing.Reader(packing.unframe(_KIND, data))
        shape, dtype, axis = reader.array_header()
        count, exponent = reader.unpack(_HEADER)
        if not 1 <= count <= MAX_LEVELS:
            raise ValueError(f"packed codes have {count} levels: there are 1 to {MAX_LEVELS}")
        levels = reader.integers(count, 8).astype(np.uint8).view(np.int8)
        index = reader.integers(math.prod(shape), index_bits(count)).astype(np.uint8)
        reader.finish()
        codes = cls(levels, index.reshape(shape), np.asarray(exponent, np.int32), axis, dtype)
        codes.check()
        return codes


@base.register("levels", exported_as="flightnn_jax.Codebook")
@dataclasses.dataclass(frozen=True)
class Codebook(base.Format):
    r"""Weights of a few levels that a layer shares, integers of eight bits times a power of two.

    A weight is the nearest level, of two equally near ones the lower; the gradient passes straight
    through. `follow` gives the levels that suit the weights better than those before; training
    calls it behind every step, so levels are state, and the same in every program that reads them.
    Without levels, those of the weights at hand are found anew at every use, in 16 rounds.

    Kinds of n levels, before they are rounded:

    - uniform: at equal distances around 0, with the distance that has the least squared error;
    - laplace: around the mean, +-s L_i with L_i = -ln(1 - 2 i / n), which cut a Laplacian into
      parts of equal mass (i from 1/2 where n is even), and s with the least squared error;
    - kmeans: each level is the mean of the weights that are nearest to it, a step of Lloyd's for
      each training step; they start from laplace.

    Attributes:
      count: of levels, 2 to 256.
      kind: "uniform", "laplace" or "kmeans".
      levels: None; or float32 [count], whole multiples of a power of two, at most 127 of them, that
        do not fall.
      filter_axis: the axis that counts the filters.

    Example:
      >>> import jax.numpy as jnp
      >>> w = jnp.array([[-0.5, 0.1], [0.3, 0.7]])
      >>> Codebook(3, "uniform").quantize(w).tolist()
      [[-0.5, 0.0], [0.5, 0.5]]
    """

    count: int = 5
    kind: Literal["uniform", "laplace", "kmeans"] = "kmeans"
    levels: Any = None
    filter_axis: int = -1

    def __post_init__(self) -> None:
        if not numerics.is_whole(self.count) or not 2 <= self.count <= MAX_LEVELS:
            raise ValueError(f"count={self.count!r}: a codebook has 2 to {MAX_LEVELS} levels")
        if self.kind not in _KINDS:
            raise ValueError(f"kind={self.kind!r} is unknown: choose one of {', '.join(_KINDS)}")
        if not numerics.is_whole(self.filter_axis):
            raise TypeError(f"filter_axis={self.filter_axis!r}: an axis is a whole number")

    @property
    def significant_bits(self) -> int | None:
        """Seven, besides its sign."""
        return 7

    def problem_with(self, shape: tuple[int, ...], dtype: DTypeLike) -> str | None:
        """The rule that weights of this shape and type break, or None."""
        numerics.layout_of(dtype)
        if self.levels is not None and np.shape(self.levels) != (self.count,):
            return (
                f"levels of shape {np.shape(self.levels)}: with count={self.count} they must be "
                f"({self.count},); leave them out, or let follow(weights) make them"
            )
        return base.problem_with_axis(self.filter_axis, shape)

    def quantize(self, w: jax.Array) -> jax.Array:
        """The nearest levels; the gradient passes straight through to w, and none to the levels."""
        return _quantize(w, self._levels_for(w))

    def start(self, w: jax.Array) -> "Codebook":
        """With the levels of these weights, whatever they were."""
        return dataclasses.replace(self, levels=_started(self._rule, w))

    def follow(self, w: jax.Array) -> "Codebook":
        """With levels one step nearer to the weights; without any, with those of the weights."""
        if self.levels is None:
            return self.start(w)
        return dataclasses.replace(self, levels=_moved(self._rule, self.levels, w))

    def storage_bits(self, w: jax.Array) -> int:
        """The index of each weight, and the table, of levels that are not equal."""
        count = np.unique(np.asarray(self._levels_for(w))).size
        return index_bits(count) * w.size + 8 * count

    def encode(self, w: jax.Array) -> CodebookCodes:
        """Numbers of levels, whose decoded values are `quantize(w)`."""
        levels = self._levels_for(w)
        index, exponent = jax.device_get((_nearest(levels, w), _exponent(levels, w.dtype)))
        whole = np.ldexp(np.asarray(levels, np.float64), -int(exponent)).astype(np.int8)
        whole, index = _merged(whole, index)
        return CodebookCodes(whole, index, exponent, self.filter_axis % w.ndim, w.dtype.name)

    @property
    def _rule(self) -> "Codebook":
        return Codebook(self.count, self.kind)

    def _levels_for(self, w: jax.Array) -> jax.Array:
        if self.levels is not None:
            return jnp.asarray(self.levels)
        return _started(self._rule, jax.lax.stop_gradient(w))


def _merged(levels: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Levels of which no two are equal, and uint8 indices into them."""
    levels, places = np.unique(levels, return_inverse=True)
    return levels, places.astype(np.uint8)[index]


def _pattern(rule: Codebook) -> np.ndarray:
    """[levels] around 0, up to a factor."""
    i = np.arange(rule.count) - (rule.count - 1) / 2
    if rule.kind == "uniform":
        return i
    return -np.sign(i) * np.log1p(-2 * np.abs(i) / rule.count)


@functools.partial(jax.jit, static_argnums=0)
def _started(rule: Codebook, w: jax.Array) -> jax.Array:
    """The levels of weights, from none."""
    x, exponent = _scaled(w)
    count = jnp.maximum(shards.sum_of_all(jnp.sum(x * 0 + 1), x), 1)
    mean = shards.sum_of_all(jnp.sum(x), x) / count if rule.kind != "uniform" else 0.0
    spread = shards.sum_of_all(jnp.sum(jnp.abs(x - mean)), x) / count
    pattern = _pattern(rule)
    if rule.kind == "uniform":  # as far as Laplacian levels reach
        pattern = pattern * math.log(rule.count) / pattern[-1]
    levels = mean + spread * jnp.asarray(pattern, jnp.float32)
    for _ in range(_ROUNDS):
        levels = _better(rule, levels, x)
    return _rounded(numerics.times_power_of_two(levels, exponent), w)


@functools.partial(jax.jit, static_argnums=0)
def _moved(rule: Codebook, levels: jax.Array, w: jax.Array) -> jax.Array:
    x, exponent = _scaled(w)
    better = _better(rule, numerics.times_power_of_two(levels, -exponent), x)
    return _rounded(numerics.times_power_of_two(better, exponent), w)


def _scaled(w: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The weights below 2 in magnitude, whose squares and sums are within float32; the exponent."""
    x, largest = shards.with_largest(w.astype(jnp.float32))
    exponent = numerics.exponent_of(largest)
    return numerics.times_power_of_two(x, -exponent), exponent


def _better(rule: Codebook, levels: jax.Array, x: jax.Array) -> jax.Array:
    """[levels] float32 with a smaller squared error for the weights that each of them has now."""
    which = _nearest(levels, x)
    each = jnp.arange(rule.count).reshape(-1, *[1] * x.ndim)
    axes = tuple(range(1, x.ndim + 1))
    mine = which[None] == each
    number = shards.sum_of_all(jnp.sum(mine, axes, dtype=jnp.float32), x)
    total = shards.sum_of_all(jnp.sum(jnp.where(mine, x, 0), axes), x)
    if rule.kind == "kmeans":
        return jnp.where(number > 0, total / jnp.maximum(number, 1), levels)
    pattern = jnp.asarray(_pattern(rule), jnp.float32)
    mean = jnp.sum(total) / jnp.maximum(jnp.sum(number), 1) if rule.kind == "laplace" else 0.0
    squares = jnp.sum(number * pattern**2)
    factor = jnp.sum(pattern * (total - mean * number)) / jnp.where(squares > 0, squares, 1)
    return jnp.where(factor > 0, mean + factor * pattern, levels)


def _exponent(levels: jax.Array, dtype: DTypeLike) -> jax.Array:
    """The least e with which levels are at most 127 2**e in magnitude, and which a type holds."""
    layout = numerics.layout_of(dtype)
    lowest, highest = max(layout.lowest, -119), min(layout.highest, 127) - 7
    largest = jnp.max(jnp.abs(levels))
    exponent = jnp.clip(numerics.exponent_of(largest) - 6, lowest, highest)
    exponent = exponent + (largest > _LARGEST * numerics.power_of_two(exponent))
    return jnp.where(largest > 0, jnp.minimum(exponent, highest), 0)


def _rounded(levels: jax.Array, w: jax.Array) -> jax.Array:
    """The levels as integers of eight bits times a power of two, which the type of `w` holds."""
    exponent = _exponent(levels, w.dtype)
    scaled = jnp.round(levels * numerics.power_of_two(-exponent))
    return jnp.clip(scaled, -_LARGEST, _LARGEST) * numerics.power_of_two(exponent)


@jax.jit
def _nearest(levels: jax.Array, x: jax.Array) -> jax.Array:
    """The number of the nearest level of each weight, like `x`; of two the lower. Exact."""
    between = levels[1:] / 2 + levels[:-1] / 2
    return jnp.searchsorted(between, x.astype(jnp.float32), method="compare_all")


@jax.custom_vjp
def _quantize(w: jax.Array, levels: jax.Array) -> jax.Array:
    finite = shards.sum_of_all(jnp.sum(w * 0), w) == 0  # a weight that is not makes all NaN
    return jnp.where(finite, levels[_nearest(levels, w)], jnp.nan).astype(w.dtype)


_quantize.defvjp(
    lambda w, levels: (_quantize(w, levels), levels),
    lambda levels, g: (g, jnp.zeros_like(levels)),
)
