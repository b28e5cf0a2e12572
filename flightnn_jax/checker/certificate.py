"""The certificate, derived anew from the codes: what the sums of every filter can reach.

Sums over a filter's terms are int64, in which they are exact: at most 3 x 2^26 terms of at most
128, times 128, stay below 2^42. Everything behind them is in Python's integers, which have no
limit.
"""

from typing import NamedTuple

import numpy as np

from flightnn_jax.checker.manifest import Add, Average, Conv, Dense
from flightnn_jax.checker.reader import Network
from flightnn_jax.checker.weights import filter_terms

FILTER_COLUMNS = (
    "acc_min",
    "acc_max",
    "partial",
    "acc_width",
    "v_min",
    "v_max",
    "v_width",
    "float_exact",
    "shift_min",
    "shift_max",
)
ADD_COLUMNS = ("v_min", "v_max", "v_width")

Bounds = tuple[int, int]


class Certified(NamedTuple):
    """What is known of a layer's numbers, channel by channel.

    Attributes:
      rows: the certificate's rows; none for a layer without certificate.
      v: least and largest value before rounding; of sums, the output.
      product: least and largest product of multiplier and clipped acc; a conv's only.
    """

    rows: list[tuple[int, ...]]
    v: list[Bounds]
    product: list[Bounds]


def width(least: int, largest: int) -> int:
    """The least n >= 1 for which both numbers lie in -2^(n-1) .. 2^(n-1) - 1.

    Example:
      >>> [width(*bounds) for bounds in [(0, 0), (-1, 0), (-128, 127), (-128, 128)]]
      [1, 1, 8, 9]
    """
    return 1 + max(n.bit_length() if n >= 0 else (-n - 1).bit_length() for n in (least, largest))


def signed_powers(multiplier: int) -> int:
    """How many signed powers of two a multiplier is the sum of, at the least.

    Digits of the non-adjacent form are counted, which has the fewest: +-1 where n is odd, chosen
    so that the rest is divisible by four.

    Example:
      >>> [signed_powers(n) for n in (0, 8, 7, -11, 0x55555555)]
      [0, 1, 2, 3, 16]
    """
    n, count = abs(multiplier), 0
    while n:
        if n % 2:
            n -= 2 - n % 4
            count += 1
        n //= 2
    return count


def certify_conv(network: Network, layer: Conv) -> Certified:
    """Bounds of a convolution's filters.

    Args:
      network: where the numbers are.
      layer: a convolution of it.

    Returns:
      Ten columns a filter, and the bounds of v and of the products.
    """

    def tensor(name: str) -> list[int]:
        return network.tensors[f"{layer.name}.{name}"].tolist()

    numbers = zip(tensor("low"), tensor("high"), tensor("multiplier"), tensor("bias"), strict=True)
    rows, bounds, products = [], [], []
    for sums, (low, high, multiplier, bias) in zip(_sums(network, layer), numbers, strict=True):
        ends = [min(max(acc, low), high) * multiplier for acc in sums[:2]]
        least, largest = min(ends), max(ends)
        products.append((least, largest))
        bounds.append((least + bias, largest + bias))
        rows.append(_row(sums, bounds[-1]))
    return Certified(rows, bounds, products)


def certify_dense(network: Network, layer: Dense) -> Certified:
    """Bounds of a dense layer's logits.

    Args:
      network: where the numbers are.
      layer: a dense layer of it.

    Returns:
      Ten columns a filter, and the bounds of the logits.
    """
    rows, bounds = [], []
    biases = network.tensors[f"{layer.name}.bias"].tolist()
    for sums, bias in zip(_sums(network, layer), biases, strict=True):
        bounds.append((sums[0] + bias, sums[1] + bias))
        rows.append(_row(sums, bounds[-1]))
    return Certified(rows, bounds, [])


def certify_add(network: Network, layer: Add, known: dict[str, list[Bounds]]) -> Certified:
    """Bounds of an addition.

    Args:
      network: where the numbers are.
      layer: an addition of it.
      known: bounds of what earlier layers hand on, by name.

    Returns:
      Three columns a channel, and the bounds of v.
    """
    parts = []
    for i, name in enumerate(layer.inputs):
        if network.values[name].sums:
            parts.append(known[name])
        else:
            lifts = network.tensors[f"{layer.name}.lift{i}"].tolist()
            parts.append([(-128 << lift, 127 << lift) for lift in lifts])
    bounds = [(a[0] + b[0], a[1] + b[1]) for a, b in zip(*parts, strict=True)]
    return Certified([(*v, width(*v)) for v in bounds], bounds, [])


def certify_average(network: Network, layer: Average) -> Certified:
    """Bounds of an average's sums, also after the shift to the left that a negative shift is.

    Args:
      network: where the shapes are.
      layer: an average of it.

    Returns:
      The bounds of the sums; they have no certificate in the file.
    """
    height, wide, channels = network.values[layer.input].shape
    positions = height * wide << max(0, -(layer.shift or 0))
    return Certified([], [(-128 * positions, 127 * positions)] * channels, [])


def _sums(network: Network, layer: Conv | Dense) -> list[tuple[int, ...]]:
    """For each filter acc_min, acc_max, partial, shift_min, shift_max."""
    filters: list[tuple[int, ...]] = []
    for terms in filter_terms(network, layer):
        w = terms.sum(axis=0, dtype=np.int16)
        positive = int(w.sum(where=w > 0, dtype=np.int64))
        negative = int(w.sum(where=w < 0, dtype=np.int64))
        sizes = np.abs(terms)
        partial = 128 * int(sizes.sum(dtype=np.int64))
        shifts = (0, 0)
        if layer.weights == "shift" and sizes.size:
            shifts = (int(sizes.min()).bit_length() - 1, int(sizes.max()).bit_length() - 1)
        acc = (-128 * positive + 127 * negative, 127 * positive - 128 * negative)
        filters.append((*acc, partial, *shifts))
    return filters


def _row(sums: tuple[int, ...], v: Bounds) -> tuple[int, ...]:
    """The ten columns of a filter."""
    acc_min, acc_max, partial, shift_min, shift_max = sums
    acc_width, is_exact = width(-partial, partial), int(partial < 2**24)
    return (
        *(acc_min, acc_max, partial, acc_width),
        *(*v, width(*v), is_exact),
        *(shift_min, shift_max),
    )
