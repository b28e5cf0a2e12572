"""Codes of a few bits, packed into bytes, and back. docs/integers.md gives their order. No JAX."""

import numpy as np

from flightnn_jax.integer.limits import IntegerNetworkError


def packed_bytes(count: int, bits: int = 4) -> int:
    """The bytes that so many codes take."""
    return (count * bits + 7) // 8


def pack(codes: np.ndarray, bits: int = 4) -> np.ndarray:
    """[bytes] uint8 of codes below 2**bits, the first of a byte in the lowest bits.

    Args:
      codes: of any shape.
      bits: of a code: 1, 2, 4 or 8.

    Example:
      >>> [f"{byte:02x}" for byte in pack(np.array([1, 2, 15], np.uint8))]
      ['21', '0f']
      >>> [f"{byte:08b}" for byte in pack(np.array([1, 0, 1, 1], np.uint8), 1)]
      ['00001101']
    """
    each = 8 // bits
    data = np.zeros(each * packed_bytes(codes.size, bits), np.uint8)
    data[: codes.size] = codes.reshape(-1)
    total = data[::each].copy()
    for i in range(1, each):
        total |= data[i::each] << (bits * i)
    return total


def unpack(where: str, data: np.ndarray, count: int, bits: int = 4) -> np.ndarray:
    """Undoes `pack`: [count] uint8.

    Raises:
      IntegerNetworkError: if what stands behind the last code is not 0.
    """
    each = 8 // bits
    codes = np.empty(each * data.size, np.uint8)
    for i in range(each):
        codes[i::each] = (data >> (bits * i)) & ((1 << bits) - 1)
    if codes[count:].any():
        raise IntegerNetworkError(
            f"{where}: codes: the last byte is {data[-1]:#04x}: what stands behind the last code "
            "stands for nothing, so it is 0"
        )
    return codes[:count]
