"""Weights that are numbers of a small table: the kind "codebook". No JAX."""

import dataclasses
import math
from typing import Any, ClassVar

import numpy as np

from flightnn_jax.integer import codes, limits
from flightnn_jax.integer.limits import Shape
from flightnn_jax.integer.weights import Summand, Take, Weights

MAX_LEVELS = 256


@dataclasses.dataclass(frozen=True)
class CodebookWeights(Weights):
    """Each weight is the number of a level, and the levels are integers that a layer shares.

    Attributes:
      levels: [1 to 256] int8, rising.
      index: [*shape] uint8, numbers of levels; filters are the last axis.
    """

    levels: np.ndarray
    index: np.ndarray
    kind: ClassVar[str] = "codebook"
    max_size: ClassVar[int] = 128
    version: ClassVar[int] = 4

    @property
    def bits(self) -> int:  # type: ignore[override]  # here a layer decides
        """Of an index: as few as its levels need, and at least one."""
        return index_bits(len(self.levels))

    @property
    def shared_bits(self) -> int:  # type: ignore[override]  # likewise
        """Of the table of levels."""
        return 8 * len(self.levels)

    @property
    def shape(self) -> Shape:
        """Of the weights."""
        return self.index.shape

    @property
    def numbered(self) -> np.ndarray:
        """All levels."""
        return self.levels

    @property
    def passes(self) -> np.ndarray:
        """One for each filter."""
        return np.ones(self.shape[-1:], np.uint8)

    def integers(self) -> np.ndarray:
        """[*shape] int32, the levels."""
        return self.levels.astype(np.int32)[self.index]

    def summands(self) -> list[Summand]:
        """All filters at once."""
        filters = self.shape[-1]
        return [Summand(np.arange(filters), (self.levels[self.index].reshape(-1, filters),))]

    @staticmethod
    def product(x: Any, *operands: Any) -> Any:
        """A multiplication with a level."""
        return x * operands[0].astype(np.int32)

    def codes(self) -> np.ndarray:
        """[filters, taps] uint8, the indices."""
        return self.index.reshape(-1, self.shape[-1]).T

    def tensors(self) -> dict[str, np.ndarray]:
        """The levels, and all indices.

        Example:
          >>> levels = np.array([-9, -2, 0, 3, 11], np.int8)  # five: three bits an index
          >>> weights = CodebookWeights(levels, np.array([[4], [0], [3]], np.uint8))
          >>> [f"{byte:08b}" for byte in weights.tensors()["codes"]]
          ['11000100', '00000000']
        """
        return {"levels": self.levels, **super().tensors()}

    @classmethod
    def read(cls, where: str, take: Take, shape: Shape) -> "CodebookWeights":
        """Undoes `tensors`."""
        levels = take("levels", np.int8, None)
        _check_levels(where, levels)
        bits, count = index_bits(len(levels)), math.prod(shape)
        data = take("codes", np.uint8, (codes.packed_bytes(count, bits),))
        index = codes.unpack(where, data, count, bits).reshape(shape[-1], -1)
        limits.check_within(where, "codes", index, 0, len(levels) - 1)
        return cls(levels, np.ascontiguousarray(index.T).reshape(shape))

    def check(self, where: str, rank: int) -> None:
        """The invariants that the attributes name."""
        limits.check_axes(where, np.shape(self.index), rank)
        limits.check_array(where, "weights", self.index, np.uint8, self.shape)
        limits.check_array(where, "levels", self.levels, np.int8, np.shape(self.levels))
        _check_levels(where, self.levels)
        limits.check_within(where, "weights", self.index, 0, len(self.levels) - 1)


def index_bits(levels: int) -> int:
    """The bits of an index into so many levels.

    Example:
      >>> [index_bits(n) for n in (1, 2, 5, 8, 9, 32, 256)]
      [1, 1, 3, 3, 4, 5, 8]
    """
    return max(1, (levels - 1).bit_length())


def _check_levels(where: str, levels: np.ndarray) -> None:
    good = levels.ndim == 1 and 1 <= levels.size <= MAX_LEVELS
    limits.require(
        bool(good and np.all(np.diff(levels.astype(np.int64)) > 0)),
        where,
        f"levels {levels.reshape(-1)[:9].tolist()} of shape {levels.shape}",
        f"there are 1 to {MAX_LEVELS} levels, each larger than the one before",
    )
