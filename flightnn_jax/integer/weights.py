"""Weights as integers: one class for each kind, with all that is asked of it. No JAX.

What runs, certifies, writes, reads or costs a network asks weights only what `Weights` lists. A new
kind is one new class and its name in `kinds.KINDS`; a format (flightnn_jax/formats) makes it in the
method `to_weights` of its codes.
"""

import abc
import dataclasses
import math
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import numpy as np

from flightnn_jax.integer import codes, limits
from flightnn_jax.integer.limits import Shape

# A tensor by its name in the layer, type and shape; None for a shape that the file chooses.
Take = Callable[[str, Any, Shape | None], np.ndarray]


class LoweringError(ValueError):
    """A network, or an array of weights, that integer networks cannot represent."""


class Summand(NamedTuple):
    """What some filters add to their sums.

    Attributes:
      filters: [n] their numbers.
      operands: what `Weights.product` takes besides activations, each [taps, n].
    """

    filters: np.ndarray
    operands: tuple[np.ndarray, ...]


class Weights(abc.ABC):
    """The weights of one layer; filters are the last axis, the others together are its taps."""

    kind: ClassVar[str]  # what files call it
    max_size: ClassVar[int]  # the largest that `sizes` can be
    bits: ClassVar[int] = 4  # of a code: 1 to 8
    shared_bits: ClassVar[int] = 0  # of what all codes read
    version: ClassVar[int] = 1  # of the file format, the first that knows the kind
    terms: ClassVar[bool] = False  # whether a code is 2 shift + (1 for minus), a power of two

    @property
    @abc.abstractmethod
    def shape(self) -> Shape:
        """Of the weights."""

    @property
    @abc.abstractmethod
    def passes(self) -> np.ndarray:
        """[filters] uint8: codes for each weight, each a pass of hardware that does one a cycle."""

    @abc.abstractmethod
    def integers(self) -> np.ndarray:
        """[*shape] int32, the weights."""

    def sizes(self) -> np.ndarray:
        """[*shape] int32, the sums of the magnitudes of what a weight is a sum of."""
        return np.abs(self.integers())

    @property
    def numbered(self) -> np.ndarray | None:
        """[n] int8, the levels that codes number; None where a code says the weight itself."""
        return None

    def shift_range(self) -> tuple[np.ndarray, np.ndarray]:
        """[filters] int64 each, the smallest and the largest shift; zeros without shifts."""
        none = np.zeros(self.shape[-1], np.int64)
        return none, none

    @abc.abstractmethod
    def summands(self) -> list[Summand]:
        """The parts that a sum of products is computed in; none has a filter twice."""

    @staticmethod
    @abc.abstractmethod
    def product(x: Any, *operands: Any) -> Any:
        """int32 products of int32 activations with what operands of `summands` stand for.

        The arrays are NumPy's or JAX's; the operations are those that hardware would do.
        """

    @abc.abstractmethod
    def codes(self) -> np.ndarray:
        """[sum of passes, taps] uint8, the codes in the order of files."""

    def tensors(self) -> dict[str, np.ndarray]:
        """What a file holds of them, by the names that tensors have within a layer."""
        return {"codes": codes.pack(self.codes(), self.bits)}

    @classmethod
    @abc.abstractmethod
    def read(cls, where: str, take: Take, shape: Shape) -> "Weights":
        """Undoes `tensors`; `where` is for errors, and the shape is within the limits."""

    @abc.abstractmethod
    def check(self, where: str, rank: int) -> None:
        """Raises IntegerNetworkError where an invariant of the class does not hold."""


@dataclasses.dataclass(frozen=True)
class ShiftWeights(Weights):
    """Weights as sums of signed powers of two.

    Attributes:
      sign: [terms, *shape] int8, -1 or 1 for the first k[filter] terms of a filter, then 0.
      shift: [terms, *shape] uint8, 0 to 7; 0 where the sign is 0.
      k: [filters] uint8, 0 to terms; `terms` is the largest of them.
    """

    sign: np.ndarray
    shift: np.ndarray
    k: np.ndarray
    kind: ClassVar[str] = "shift"
    max_size: ClassVar[int] = limits.MAX_TERMS << limits.MAX_TERM_SHIFT
    terms: ClassVar[bool] = True

    @property
    def shape(self) -> Shape:
        """Of the weights."""
        return self.sign.shape[1:]

    @property
    def passes(self) -> np.ndarray:
        """One for each term."""
        return self.k

    def integers(self) -> np.ndarray:
        """[*shape] int32, the sums of the terms."""
        total = np.zeros(self.shape, np.int32)
        for sign, shift in zip(self.sign, self.shift, strict=True):
            total += sign.astype(np.int32) << shift
        return total

    def sizes(self) -> np.ndarray:
        """[*shape] int32, the sums of the terms' magnitudes."""
        return dataclasses.replace(self, sign=np.abs(self.sign)).integers()

    def shift_range(self) -> tuple[np.ndarray, np.ndarray]:
        """[filters] int64 each, of the terms; 0 where a filter has none."""
        if not self.sign.size:
            return super().shift_range()
        filters = self.shape[-1]
        shift = self.shift.reshape(-1, filters).astype(np.int64)
        used = self.sign.reshape(-1, filters) != 0
        least = np.where(used, shift, limits.MAX_TERM_SHIFT + 1).min(axis=0)
        return np.where(used.any(axis=0), least, 0), np.where(used, shift, 0).max(axis=0)

    def summands(self) -> list[Summand]:
        """One for each term, of the filters that have it: whether it is negative, and its shift."""
        filters = self.shape[-1]
        parts = []
        for j, (sign, shift) in enumerate(zip(self.sign, self.shift, strict=True)):
            which = np.flatnonzero(self.k > j)
            operands = (x.reshape(-1, filters)[:, which] for x in (sign < 0, shift))
            parts.append(Summand(which, tuple(operands)))
        return parts

    @staticmethod
    def product(x: Any, *operands: Any) -> Any:
        """Activations shifted to the left, and negated where the term is negative."""
        negative, shift = (operand.astype(np.int32) for operand in operands)
        return ((x << shift) ^ -negative) + negative  # ~a + 1 is -a

    def codes(self) -> np.ndarray:
        """[sum of k, taps] uint8, 2 shift + (1 for minus): filter by filter, term by term."""
        first = _first_terms(self.k)
        ordered = np.empty((first[-1], math.prod(self.shape[:-1])), np.uint8)
        for j, (which, (negative, shift)) in enumerate(self.summands()):
            ordered[first[which] + j] = (2 * shift + negative).T
        return ordered

    def tensors(self) -> dict[str, np.ndarray]:
        """The terms of each filter, and all codes.

        Example:
          >>> sign, shift = np.array([[[1, -1], [-1, 1]]], np.int8), np.zeros((1, 2, 2), np.uint8)
          >>> shift[0] = [[0, 1], [2, 7]]
          >>> packed = ShiftWeights(sign, shift, np.ones(2, np.uint8)).tensors()["codes"]
          >>> [f"{byte:02x}" for byte in packed]
          ['50', 'e3']
        """
        return {"k": self.k, **super().tensors()}

    @classmethod
    def read(cls, where: str, take: Take, shape: Shape) -> "ShiftWeights":
        """Undoes `tensors`."""
        filters, taps = shape[-1], math.prod(shape[:-1])
        k = take("k", np.uint8, (filters,))
        limits.check_within(where, "k", k, 0, limits.MAX_TERMS)
        first = _first_terms(k)
        count = taps * int(first[-1])
        data = take("codes", np.uint8, (codes.packed_bytes(count),))
        unpacked = codes.unpack(where, data, count).reshape(-1, taps)
        terms = int(k.max(initial=0))
        sign = np.zeros((terms, taps, filters), np.int8)
        shift = np.zeros((terms, taps, filters), np.uint8)
        for j in range(terms):
            has = np.flatnonzero(k > j)
            code = unpacked[first[has] + j].T
            sign[j][:, has] = 1 - 2 * (code & 1).astype(np.int8)
            shift[j][:, has] = code >> 1
        return cls(sign.reshape(terms, *shape), shift.reshape(terms, *shape), k)

    def check(self, where: str, rank: int) -> None:
        """The invariants that the attributes name."""
        terms, *axes = np.shape(self.sign) or (0,)
        shape = tuple(axes)
        limits.check_axes(where, shape, rank)
        limits.check_array(where, "sign", self.sign, np.int8, (terms, *shape))
        limits.check_array(where, "shift", self.shift, np.uint8, (terms, *shape))
        limits.check_array(where, "k", self.k, np.uint8, shape[-1:])
        limits.check_within(where, "k", self.k, 0, limits.MAX_TERMS)
        largest = self.k.max(initial=0)
        limits.require(
            largest == terms,
            where,
            f"{terms} terms and k up to {largest}",
            "there are as many terms as the largest k: leave out what no filter has",
        )
        for j, (sign, shift) in enumerate(zip(self.sign, self.shift, strict=True)):
            has = self.k > j
            limits.require(
                np.all(np.abs(sign) == has),
                where,
                f"term {j} has signs {np.unique(sign)}",
                "a sign is -1 or 1 in the first k terms of a filter and 0 behind them",
            )
            limits.require(
                np.all((shift == 0) | has),
                where,
                f"term {j} has shifts",
                "a shift is 0 where the sign is 0",
            )
        limits.check_within(where, "shift", self.shift, 0, limits.MAX_TERM_SHIFT)


@dataclasses.dataclass(frozen=True)
class IntegerWeights(Weights):
    """Weights as 4-bit signed integers.

    Attributes:
      value: [*shape] int8, -8 to 7; filters are the last axis.
    """

    value: np.ndarray
    kind: ClassVar[str] = "integer"
    max_size: ClassVar[int] = 8

    @property
    def shape(self) -> Shape:
        """Of the weights."""
        return self.value.shape

    @property
    def passes(self) -> np.ndarray:
        """One for each filter."""
        return np.ones(self.shape[-1:], np.uint8)

    def integers(self) -> np.ndarray:
        """[*shape] int32."""
        return self.value.astype(np.int32)

    def summands(self) -> list[Summand]:
        """All filters at once."""
        filters = self.shape[-1]
        return [Summand(np.arange(filters), (self.value.reshape(-1, filters),))]

    @staticmethod
    def product(x: Any, *operands: Any) -> Any:
        """A multiplication: these weights have no terms to shift by."""
        return x * operands[0].astype(np.int32)

    def codes(self) -> np.ndarray:
        """[filters, taps] uint8, in two's complement.

        Example:
          >>> IntegerWeights(np.array([[1, -1], [-8, 7]], np.int8)).codes().tolist()
          [[1, 8], [15, 7]]
        """
        return (self.value.reshape(-1, self.shape[-1]).T & 15).astype(np.uint8)

    @classmethod
    def read(cls, where: str, take: Take, shape: Shape) -> "IntegerWeights":
        """Undoes `tensors`."""
        count = math.prod(shape)
        data = take("codes", np.uint8, (codes.packed_bytes(count),))
        unpacked = codes.unpack(where, data, count).astype(np.int8)
        value = (unpacked - ((unpacked >> 3) << 4)).reshape(shape[-1], -1)
        return cls(np.ascontiguousarray(value.T).reshape(shape))

    def check(self, where: str, rank: int) -> None:
        """The invariants that the attribute names."""
        limits.check_axes(where, np.shape(self.value), rank)
        limits.check_array(where, "weights", self.value, np.int8, self.shape)
        limits.check_within(where, "weights", self.value, -8, 7)


@dataclasses.dataclass(frozen=True)
class BinaryWeights(Weights):
    """Weights of -1 and 1.

    Attributes:
      negative: [*shape] uint8, 1 for -1 and 0 for 1; filters are the last axis.
    """

    negative: np.ndarray
    kind: ClassVar[str] = "binary"
    max_size: ClassVar[int] = 1
    bits: ClassVar[int] = 1
    version: ClassVar[int] = 3
    terms: ClassVar[bool] = True  # of shift 0

    @property
    def shape(self) -> Shape:
        """Of the weights."""
        return self.negative.shape

    @property
    def passes(self) -> np.ndarray:
        """One for each filter."""
        return np.ones(self.shape[-1:], np.uint8)

    def integers(self) -> np.ndarray:
        """[*shape] int32."""
        return 1 - 2 * self.negative.astype(np.int32)

    def summands(self) -> list[Summand]:
        """All filters at once: whether the weight is negative."""
        filters = self.shape[-1]
        return [Summand(np.arange(filters), (self.negative.reshape(-1, filters),))]

    @staticmethod
    def product(x: Any, *operands: Any) -> Any:
        """Activations, negated where the weight is -1: what is summed is added or subtracted."""
        negative = operands[0].astype(np.int32)
        return (x ^ -negative) + negative  # ~a + 1 is -a

    def codes(self) -> np.ndarray:
        """[filters, taps] uint8, 1 for -1.

        Example:
          >>> weights = BinaryWeights(np.array([[0, 1], [1, 1], [0, 0]], np.uint8))
          >>> [f"{byte:08b}" for byte in weights.tensors()["codes"]]
          ['00011010']
        """
        return self.negative.reshape(-1, self.shape[-1]).T

    @classmethod
    def read(cls, where: str, take: Take, shape: Shape) -> "BinaryWeights":
        """Undoes `tensors`."""
        count = math.prod(shape)
        data = take("codes", np.uint8, (codes.packed_bytes(count, cls.bits),))
        negative = codes.unpack(where, data, count, cls.bits).reshape(shape[-1], -1)
        return cls(np.ascontiguousarray(negative.T).reshape(shape))

    def check(self, where: str, rank: int) -> None:
        """The invariants that the attribute names."""
        limits.check_axes(where, np.shape(self.negative), rank)
        limits.check_array(where, "weights", self.negative, np.uint8, self.shape)
        limits.check_within(where, "weights", self.negative, 0, 1)


class Scaled(NamedTuple):
    """What a format's codes become: a weight is its integer times 2**exponent."""

    weights: Weights
    exponent: int


def check_filters_last(axis: int, rank: int) -> None:
    """Raises LoweringError unless the filters are the last of so many axes."""
    if axis != rank - 1:
        raise LoweringError(f"filter_axis={axis} of {rank} axes: filters are the last axis")


def _first_terms(k: np.ndarray) -> np.ndarray:
    """[filters + 1] where each filter's terms begin, and their number."""
    return np.concatenate([[0], np.cumsum(k, dtype=np.int64)])
