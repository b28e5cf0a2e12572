"""Codes of four bits, two a byte, and back. docs/integers.md gives their order. No JAX."""

import numpy as np

from flightnn_jax.integer.limits import IntegerNetworkError


def packed_bytes(count: int) -> int:
    """The bytes that so many codes take."""
    return (count + 1) // 2


def pack(codes: np.ndarray) -> np.ndarray:
    """[bytes] uint8 of codes of 0 to 15, the first of two in the lower bits.

    Example:
      >>> [f"{byte:02x}" for byte in pack(np.array([1, 2, 15], np.uint8))]
      ['21', '0f']
    """
    data = np.zeros(2 * packed_bytes(codes.size), np.uint8)
    data[: codes.size] = codes.reshape(-1)
    return data[::2] | data[1::2] << 4


def unpack(where: str, data: np.ndarray, count: int) -> np.ndarray:
    """Undoes `pack`: [count] uint8.

    Raises:
      IntegerNetworkError: if the half byte behind the last code is not 0.
    """
    codes = np.empty(2 * data.size, np.uint8)
    codes[::2], codes[1::2] = data & 15, data >> 4
    if codes[count:].any():
        raise IntegerNetworkError(
            f"{where}: codes: the last half byte is {codes[-1]}: it stands for nothing, so it is 0"
        )
    return codes[:count]
