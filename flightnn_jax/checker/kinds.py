"""The kinds of weights, and the packed codes that they are stored as."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


def unpack_codes(packed: np.ndarray, bits: int) -> np.ndarray:
    """The codes of each byte, the one in the lowest bits first.

    Args:
      packed: bytes.
      bits: of a code, 1 to 8.

    Returns:
      Codes 0 to 2^bits - 1, as many as the bytes have room for.

    Example:
      >>> unpack_codes(np.array([0x21, 0x03], np.uint8), 4).tolist()
      [1, 2, 3, 0]
      >>> unpack_codes(np.array([0b10_100_001, 0b1], np.uint8), 3).tolist()
      [1, 4, 6, 0, 0]
    """
    if 8 % bits == 0:
        places = np.arange(0, 8, bits, dtype=np.uint8)
        return (packed[:, None] >> places & (2**bits - 1)).reshape(-1)
    count = packed.size * 8 // bits
    ones = np.unpackbits(packed, count=count * bits, bitorder="little").reshape(count, bits)
    return np.packbits(ones, axis=1, bitorder="little").reshape(-1)


def terms_of(codes: np.ndarray) -> np.ndarray:
    """The signed powers of two that codes stand for: the code is 2 shift + (sign is -1).

    Args:
      codes: 0 to 15.

    Returns:
      int16, from -128 to 128.

    Example:
      >>> terms_of(np.array([0, 1, 6, 15])).tolist()
      [1, -1, 8, -128]
    """
    power = np.left_shift(np.int16(1), codes.astype(np.int16) >> 1)
    return np.where(codes & 1, -power, power)


def integers_of(codes: np.ndarray) -> np.ndarray:
    """Codes as integers in two's complement.

    Args:
      codes: 0 to 15.

    Returns:
      int16, from -8 to 7.

    Example:
      >>> integers_of(np.array([0, 7, 8, 15])).tolist()
      [0, 7, -8, -1]
    """
    signed = codes.astype(np.int16)
    return np.where(signed >= 8, signed - 16, signed)


def signs_of(codes: np.ndarray) -> np.ndarray:
    """-1 for the code 1, and 1 for 0, int16.

    Example:
      >>> signs_of(np.array([0, 1])).tolist()
      [1, -1]
    """
    return 1 - 2 * codes.astype(np.int16)


def index_bits(levels: int) -> int:
    """The bits of an index into a table: the least b >= 1 with 2^b >= levels.

    Example:
      >>> [index_bits(levels) for levels in (1, 2, 5, 8, 256)]
      [1, 1, 3, 3, 8]
    """
    bits = 1
    while 1 << bits < levels:
        bits += 1
    return bits


class Kind(NamedTuple):
    """A kind of weights.

    Attributes:
      bits: of a code; None where the layer's table of levels decides.
      value_of: what codes stand for, int16; None where the table says it.
      has_terms: whether a filter has k rows of codes, or else one.
      version: of the format, the first that has it.
    """

    bits: int | None
    value_of: Callable[[np.ndarray], np.ndarray] | None
    has_terms: bool
    version: int

    @property
    def has_levels(self) -> bool:
        """Whether there is a table of levels."""
        return self.value_of is None


KINDS = {
    "shift": Kind(4, terms_of, has_terms=True, version=1),
    "integer": Kind(4, integers_of, has_terms=False, version=1),
    "binary": Kind(1, signs_of, has_terms=False, version=3),
    "codebook": Kind(None, None, has_terms=False, version=4),
}
