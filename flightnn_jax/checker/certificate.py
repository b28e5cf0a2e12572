"""The certificate, derived anew from the codes: what the sums of every filter can reach.

Sums over a filter's terms are int64, in which they are exact: at most 3 x 2^26 terms of at most
128, times 128, stay below 2^42. Everything behind them is in Python's integers, which have no
limit.
"""

import math
from typing import NamedTuple

import numpy as np

from flightnn_jax.checker.kinds import KINDS
from flightnn_jax.checker.manifest import Add, Average, Conv, Dense, Layer, slope_of
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
ANY_ACTIVATION = (-128, 127)


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


def certify_conv(network: Network, layer: Conv, given: list[Bounds]) -> Certified:
    """Bounds of a convolution's filters.

    Args:
      network: where the numbers are.
      layer: a convolution of it.
      given: ranges of the input's channels.

    Returns:
      Ten columns a filter, and the bounds of v and of the products.
    """

    def tensor(name: str) -> list[int]:
        return network.tensors[f"{layer.name}.{name}"].tolist()

    numbers = zip(tensor("low"), tensor("high"), tensor("multiplier"), tensor("bias"), strict=True)
    rows, bounds, products = [], [], []
    if layer.around:  # zeros around the image
        given = [(min(low, 0), max(high, 0)) for low, high in given]
    sums_of = _sums(network, layer, given)
    for sums, (low, high, multiplier, bias) in zip(sums_of, numbers, strict=True):
        ends = [min(max(acc, low), high) * multiplier for acc in sums[:2]]
        least, largest = min(ends), max(ends)
        products.append((least, largest))
        bounds.append((least + bias, largest + bias))
        rows.append(_row(sums, bounds[-1]))
    return Certified(rows, bounds, products)


def certify_dense(network: Network, layer: Dense, given: list[Bounds]) -> Certified:
    """Bounds of a dense layer's logits.

    Args:
      network: where the numbers are.
      layer: a dense layer of it.
      given: ranges of the inputs.

    Returns:
      Ten columns a filter, and the bounds of the logits.
    """
    rows, bounds = [], []
    biases = network.tensors[f"{layer.name}.bias"].tolist()
    for sums, bias in zip(_sums(network, layer, given), biases, strict=True):
        bounds.append((sums[0] + bias, sums[1] + bias))
        rows.append(_row(sums, bounds[-1]))
    return Certified(rows, bounds, [])


def certify_add(network: Network, layer: Add, given: list[list[Bounds]]) -> Certified:
    """Bounds of an addition.

    Args:
      network: where the numbers are.
      layer: an addition of it.
      given: ranges of the channels of both inputs.

    Returns:
      Three columns a channel, and the bounds of v.
    """
    parts = []
    for i, (name, ranges) in enumerate(zip(layer.inputs, given, strict=True)):
        if network.values[name].sums:
            parts.append(ranges)
        else:
            lifts = network.tensors[f"{layer.name}.lift{i}"].tolist()
            pairs = zip(ranges, lifts, strict=True)
            parts.append([(low << lift, high << lift) for (low, high), lift in pairs])
    bounds = [(a[0] + b[0], a[1] + b[1]) for a, b in zip(*parts, strict=True)]
    return Certified([(*v, width(*v)) for v in bounds], bounds, [])


def certify_average(network: Network, layer: Average, given: list[Bounds]) -> Certified:
    """Bounds of an average's sums, also after the shift to the left that a negative shift is.

    Args:
      network: where the shapes are.
      layer: an average of it.
      given: ranges of the input's channels.

    Returns:
      The bounds of the sums; they have no certificate in the file.
    """
    height, wide, _ = network.values[layer.input].shape
    positions = height * wide << max(0, -(layer.shift or 0))
    return Certified([], [(low * positions, high * positions) for low, high in given], [])


def reachable(network: Network, layer: Layer, v: list[Bounds]) -> list[Bounds]:
    """The range of each channel of a layer's output.

    Args:
      network: where the shifts are.
      layer: a layer of it, but no pool, whose range is its input's.
      v: bounds of its v, of its sums if it is an average.

    Returns:
      For each channel the least and the largest value; in a file of version 1 all activations
      are taken to be -128 to 127.
    """
    if network.values[layer.name].sums:
        return v
    if network.manifest.version == 1:
        return [ANY_ACTIVATION] * len(v)
    if isinstance(layer, Average):
        shift = max(0, layer.shift or 0)
        return [(_activation(low, shift), _activation(high, shift)) for low, high in v]
    shifts = network.tensors[f"{layer.name}.shift"].tolist()
    slope = slope_of(layer, network.manifest)

    def activate(n: int, shift: int) -> int:
        return _activation(n, shift if n >= 0 else shift + slope)

    pairs = zip(v, shifts, strict=True)
    return [(activate(low, shift), activate(high, shift)) for (low, high), shift in pairs]


def _activation(v: int, shift: int) -> int:
    """V / 2^shift, rounded to the nearest integer, ties to even, and saturated."""
    floor, rest = divmod(v, 1 << shift)
    rounded = floor + (2 * rest + floor % 2 > 1 << shift)
    return min(max(rounded, -128), 127)


def _sums(network: Network, layer: Conv | Dense, given: list[Bounds]) -> list[tuple[int, ...]]:
    """For each filter acc_min, acc_max, partial, shift_min, shift_max."""
    filters: list[tuple[int, ...]] = []
    places, own = math.prod(layer.shape[:-2]), layer.shape[-2]
    each = layer.shape[-1] // (layer.groups if isinstance(layer, Conv) else 1)
    ends_of = [np.array(ends, np.int64).reshape(-1, own) for ends in zip(*given, strict=True)]
    for o, terms in enumerate(filter_terms(network, layer)):
        low, high = (np.tile(ends[o // each], places) for ends in ends_of)
        w, sizes = terms.sum(axis=0, dtype=np.int64), np.abs(terms)
        ends = np.stack([w * low, w * high])
        if network.manifest.version == 1:
            partial = 128 * int(sizes.sum(dtype=np.int64))
        else:
            products = np.stack([terms * low, terms * high])
            above, below = products.max(axis=0, initial=0), products.min(axis=0, initial=0)
            partial = max(int(above.sum()), int(-below.sum()))
        shifts = (0, 0)
        if KINDS[layer.weights].has_terms and sizes.size:
            shifts = (int(sizes.min()).bit_length() - 1, int(sizes.max()).bit_length() - 1)
        acc = (int(ends.min(axis=0).sum()), int(ends.max(axis=0).sum()))
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
