"""A layer's weights, and what they are sums of."""

import math
from collections.abc import Iterator

import numpy as np

from flightnn_jax.checker.kinds import KINDS, index_bits, unpack_codes
from flightnn_jax.checker.manifest import Conv, Dense
from flightnn_jax.checker.reader import Network


def filter_terms(network: Network, layer: Conv | Dense) -> Iterator[np.ndarray]:
    """What each filter's weights are sums of, filter after filter.

    Args:
      network: where the codes are.
      layer: a layer of it that has weights.

    Yields:
      For each filter int16 [terms, n]: k rows of signed powers of two, or the one row of integers.
    """
    value_of = KINDS[layer.weights].value_of
    levels = network.tensors.get(f"{layer.name}.levels", np.zeros(0)).astype(np.int16)
    count = math.prod(layer.shape[:-1])
    codes = unpack_codes(network.tensors[f"{layer.name}.codes"], code_bits(network, layer))
    at = 0
    for k in _rows(network, layer):
        own = codes[at : at + k * count]
        yield (levels[own] if value_of is None else value_of(own)).reshape(k, count)
        at += k * count


def code_bits(network: Network, layer: Conv | Dense) -> int:
    """The bits of one of a layer's codes."""
    bits = KINDS[layer.weights].bits
    return index_bits(network.tensors[f"{layer.name}.levels"].size) if bits is None else bits


def _rows(network: Network, layer: Conv | Dense) -> list[int]:
    """How many codes each filter has for a weight."""
    if KINDS[layer.weights].has_terms:
        return network.tensors[f"{layer.name}.k"].tolist()
    return [1] * layer.shape[-1]


def unused_bits(network: Network, layer: Conv | Dense) -> int:
    """The bits of a layer's last byte of codes that belong to no code.

    Args:
      network: where the codes are.
      layer: a layer of it that has weights.

    Returns:
      What must be 0 in a valid file.
    """
    used = math.prod(layer.shape[:-1]) * sum(_rows(network, layer)) * code_bits(network, layer)
    return int(network.tensors[f"{layer.name}.codes"][-1]) >> used % 8 if used % 8 else 0


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
