"""Weights as 4-bit codes, two a byte, and back. docs/integers.md gives their order. No JAX."""

import math

import numpy as np

from flightnn_jax.integer.network import IntegerNetworkError, IntegerWeights, Shape, ShiftWeights

SIGN = 1  # the bit of a term's code that says minus; the shift stands above it


def packed_bytes(codes: int) -> int:
    """The bytes that so many codes take."""
    return (codes + 1) // 2


def pack_shifts(weights: ShiftWeights) -> np.ndarray:
    """[bytes] uint8 of all terms that are stored.

    Example:
      >>> sign, shift = np.array([[[1, -1], [-1, 1]]], np.int8), np.zeros((1, 2, 2), np.uint8)
      >>> shift[0] = [[0, 1], [2, 7]]
      >>> [f"{byte:02x}" for byte in pack_shifts(ShiftWeights(sign, shift, np.ones(2, np.uint8)))]
      ['50', 'e3']
    """
    filters = weights.shape[-1]
    size = math.prod(weights.shape[:-1])
    first = _first_terms(weights.k)
    codes = np.empty((first[-1], size), np.uint8)
    for j in range(weights.sign.shape[0]):
        code = 2 * weights.shift[j] + SIGN * (weights.sign[j] < 0)
        has = np.flatnonzero(weights.k > j)
        codes[first[has] + j] = code.reshape(size, filters)[:, has].T
    return _pack(codes.ravel())


def unpack_shifts(data: np.ndarray, k: np.ndarray, shape: Shape) -> ShiftWeights:
    """Undoes `pack_shifts`.

    Args:
      data: of the length that k and shape ask for.
      k: [filters] uint8.
      shape: of the weights.

    Raises:
      IntegerNetworkError: if the last half byte is not 0.
    """
    filters, size = shape[-1], math.prod(shape[:-1])
    first = _first_terms(k)
    codes = _unpack(data, first[-1] * size).reshape(-1, size)
    terms = int(k.max(initial=0))
    sign = np.zeros((terms, size, filters), np.int8)
    shift = np.zeros((terms, size, filters), np.uint8)
    for j in range(terms):
        has = np.flatnonzero(k > j)
        code = codes[first[has] + j].T
        sign[j][:, has] = 1 - 2 * (code & SIGN).astype(np.int8)
        shift[j][:, has] = code >> 1
    return ShiftWeights(sign.reshape(terms, *shape), shift.reshape(terms, *shape), k)


def pack_integers(weights: IntegerWeights) -> np.ndarray:
    """[bytes] uint8 of all weights.

    Example:
      >>> pack_integers(IntegerWeights(np.array([[1, -1], [-8, 7]], np.int8))).tolist()
      [129, 127]
    """
    return _pack((weights.value.reshape(-1, weights.shape[-1]).T & 15).astype(np.uint8).ravel())


def unpack_integers(data: np.ndarray, shape: Shape) -> IntegerWeights:
    """Undoes `pack_integers`; raises as `unpack_shifts` does."""
    codes = _unpack(data, math.prod(shape)).astype(np.int8)
    value = codes - ((codes >> 3) << 4)
    return IntegerWeights(np.ascontiguousarray(value.reshape(shape[-1], -1).T).reshape(shape))


def _first_terms(k: np.ndarray) -> np.ndarray:
    """[filters + 1] where each filter's terms begin, and their number."""
    return np.concatenate([[0], np.cumsum(k, dtype=np.int64)])


def _pack(codes: np.ndarray) -> np.ndarray:
    data = np.zeros(2 * packed_bytes(codes.size), np.uint8)
    data[: codes.size] = codes
    return data[::2] | data[1::2] << 4


def _unpack(data: np.ndarray, count: int) -> np.ndarray:
    codes = np.empty(2 * data.size, np.uint8)
    codes[::2], codes[1::2] = data & 15, data >> 4
    if codes[count:].any():
        raise IntegerNetworkError(
            f"codes: the last half byte is {codes[-1]}: nothing is there, so it is 0"
        )
    return codes[:count]
