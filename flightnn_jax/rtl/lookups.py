"""Weights that are numbers of a few levels, in an engine: tables of products. NumPy alone.

A table of 6 inputs gives a bit of the product of a code of some bits and an activation of the rest.
Where activations have more bits they are cut into parts, each with a table of its own, and what the
tables give is added up with all other products.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from flightnn_jax.integer.certificate import Range, width

INPUTS = 6  # of a table


class Lookup(NamedTuple):
    """What a lane multiplies by tables with.

    Attributes:
      levels: those that codes number; none where they are not known.
      code: bits of a code.
      kept: bits of an activation.
      signed: whether activations may be negative.
    """

    levels: tuple[int, ...]
    code: int
    kept: int
    signed: bool

    @property
    def parts(self) -> int:
        """Tables for each activation, none of which has more inputs than `INPUTS` if it can."""
        return -(-self.kept // max(1, INPUTS - self.code))

    @property
    def parameters(self) -> dict[str, int | str]:
        """What fl_conv and fl_lane are told; without levels no table."""
        told: dict[str, int | str] = {"LOOKUP": 1 if self.signed else 2, "KEPT": self.kept}
        if self.levels:
            told["TABLE"] = f"{8 << self.code}'h{self.table:x}"
        return {**told, "PARTS": self.parts}

    @property
    def table(self) -> int:
        """Of all codes the levels in 8 bits each, the first one lowest; 0 where there is none.

        Example:
          >>> f"{Lookup((-1, 5), 1, 3, False).table:04x}"
          '05ff'
        """
        return sum((level & 255) << 8 * i for i, level in enumerate(self.levels))


def lookup(levels: np.ndarray, code: int, inputs: Range) -> Lookup:
    """Of levels, the bits of a code, and what a layer's activations can be, [channels].

    Zeros around a map are among these.
    """
    low = np.minimum(inputs.low.min(initial=0), 0)
    high = np.maximum(inputs.high.max(initial=0), 0)
    bits = int(width(Range(np.array([low]), np.array([high])))[0])
    signed = bool(low < 0)
    return Lookup(tuple(levels.tolist()), code, max(1, bits - (not signed)), signed)


def parts(kept: int, count: int) -> Sequence[int]:
    """Bits of an activation that each of so many tables reads, as `fl_lane` cuts it.

    Example:
      >>> parts(8, 3)
      [3, 3, 2]
    """
    each = -(-kept // count)
    return [min(each, kept - start) for start in range(0, kept, each)]
