"""Packed codes of four bits, and the weights that they stand for."""

import math
from collections.abc import Iterator

import numpy as np

from flightnn_jax.checker.manifest import Conv, Dense
from flightnn_jax.checker.reader import Network


def unpack_codes(packed: np.ndarray) -> np.ndarray:
    """Two codes of each byte, the one in the lower four bits first.

    Args:
      packed: bytes.

    Returns:
      Codes 0 to 15, twice as many.

    Example:
      >>> unpack_codes(np.array([0x21, 0x03], np.uint8)).tolist()
      [1, 2, 3, 0]
    """
    return np.stack([packed & 15, packed >> 4], axis=1).reshape(-1)


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


def filter_terms(network: Network, layer: Conv | Dense) -> Iterator[np.ndarray]:
    """What each filter's weights are sums of, filter after filter.

    Args:
      network: where the codes are.
      layer: a layer of it that has weights.

    Yields:
      For each filter int16 [terms, n]: k rows of signed powers of two, or the one row of integers.
    """
    is_shift = layer.weights == "shift"
    count = math.prod(layer.shape[:-1])
    codes = unpack_codes(network.tensors[f"{layer.name}.codes"])
    filters = layer.shape[-1]
    rows = network.tensors[f"{layer.name}.k"].tolist() if is_shift else [1] * filters
    value_of = terms_of if is_shift else integers_of
    at = 0
    for k in rows:
        yield value_of(codes[at : at + k * count]).reshape(k, count)
        at += k * count


def unused_code(network: Network, layer: Conv | Dense) -> int:
    """The last half byte of a layer's codes where their number is odd, else 0.

    Args:
      network: where the codes are.
      layer: a layer of it that has weights.

    Returns:
      What must be 0 in a valid file.
    """
    count, filters = math.prod(layer.shape[:-1]), layer.shape[-1]
    if layer.weights == "shift":
        filters = int(network.tensors[f"{layer.name}.k"].sum())
    is_odd = count * filters % 2 == 1
    return int(network.tensors[f"{layer.name}.codes"][-1] >> 4) if is_odd else 0


def matrix(network: Network, layer: Conv | Dense) -> np.ndarray:
    """A layer's weights W.

    Args:
      network: where the codes are.
      layer: a layer of it that has weights.

    Returns:
      int16 of the layer's shape; |W| <= 3 x 128.
    """
    filters = np.empty((layer.shape[-1], math.prod(layer.shape[:-1])), np.int16)
    for row, terms in zip(filters, filter_terms(network, layer), strict=True):
        terms.sum(axis=0, dtype=np.int16, out=row)
    return filters.T.reshape(layer.shape)
