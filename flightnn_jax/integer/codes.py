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
      bits: of a code: 1 to 8.

    Example:
      >>> [f"{byte:02x}" for byte in pack(np.array([1, 2, 15], np.uint8))]
      ['21', '0f']
      >>> [f"{byte:08b}" for byte in pack(np.array([1, 0, 1, 1], np.uint8), 1)]
      ['00001101']
    """
    padded = np.zeros(-(-codes.size // 8) * 8, np.uint8)
    padded[: codes.size] = codes.reshape(-1)
    eight = np.zeros(padded.size // 8, "<u8")  # codes are `bits` whole bytes
    for i in range(8):
        eight |= padded[i::8].astype("<u8") << np.uint64(bits * i)
    used = eight.view(np.uint8).reshape(-1, 8)[:, :bits]
    return used.reshape(-1)[: packed_bytes(codes.size, bits)].copy()


def unpack(where: str, data: np.ndarray, count: int, bits: int = 4) -> np.ndarray:
    """Undoes `pack`: [count] uint8.

    Raises:
      IntegerNetworkError: if what stands behind the last code is not 0.
    """
    groups = -(-data.size // bits)
    padded = np.zeros(groups * bits, np.uint8)
    padded[: data.size] = data
    eight = np.zeros((groups, 8), np.uint8)
    eight[:, :bits] = padded.reshape(groups, bits)
    codes = np.empty(8 * groups, np.uint8)
    for i in range(8):
        codes[i::8] = eight.view("<u8")[:, 0] >> np.uint64(bits * i) & np.uint64((1 << bits) - 1)
    if codes[count:].any():
        raise IntegerNetworkError(
            f"{where}: codes: the last byte is {data[-1]:#04x}: what stands behind the last code "
            "stands for nothing, so it is 0"
        )
    return codes[:count]
