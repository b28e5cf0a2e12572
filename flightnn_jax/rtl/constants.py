"""What stages compute with: codes step by step, and the constants of each channel. NumPy alone."""

import numpy as np

from flightnn_jax.integer.certificate import Range, are_signs, width
from flightnn_jax.integer.network import Affine, Convolution, Dense
from flightnn_jax.integer.weights import Weights
from flightnn_jax.rtl import lookups, orders
from flightnn_jax.rtl.architecture import Convolve, Fold, Requantize, Stream


def convolution(
    layer: Convolution | Dense,
    source: Stream,
    output: Stream,
    fold: Fold,
    inputs: Range,
) -> Convolve:
    """A layer's weights in the order in which an engine takes them.

    Args:
      layer: with filters in the order of `output` and inputs in that of `source`.
      source: words of `fold.inputs` activations.
      output: the sums.
      fold: of the layer.
      inputs: [channels] what its activations can be.
    """
    size = layer.weights.shape[0] if isinstance(layer, Convolution) else 1
    stride = layer.stride if isinstance(layer, Convolution) else 1
    padding = layer.around if isinstance(layer, Convolution) else 0
    groups = layer.groups if isinstance(layer, Convolution) else 1
    weights = layer.weights
    numbered = weights.numbered
    lookup = None if numbered is None else lookups.lookup(numbered, weights.bits, inputs)
    plain = groups == 1 and padding == size // 2
    k = layer.weights.passes[output.order]
    count = orders.turns(k, fold)
    sweeps = int(count.sum())
    number = np.arange(sweeps) - np.repeat(np.cumsum(count) - count, count)  # within its pass
    a_pass = np.repeat(np.arange(len(count)), count)
    # Which filter and which of its terms each lane has in each sweep.
    filters = a_pass[:, None, None] * fold.lanes + np.arange(fold.lanes)[None, :, None]
    term = number[:, None, None] * fold.terms + np.arange(fold.terms)
    of_filter = np.append(k, np.zeros(fold.lanes, k.dtype))
    mask = term < of_filter[filters]
    part = max(1, layer.weights.shape[-2] // fold.inputs) if groups > 1 else source.beats
    steps = size * size * part
    empty = ~mask.any(axis=(1, 2))
    channels = np.arange(layer.weights.shape[-2]) if groups > 1 else source.order
    shape = (size * size, part, fold.inputs)
    codes = _codes(layer.weights, shape, channels, output, mask, filters, term)
    kept = np.repeat(empty, steps) & (np.tile(np.arange(steps), sweeps) > 0)
    return Convolve(
        name=output.name,
        inputs=(source,),
        outputs=(output,),
        fold=fold,
        size=size,
        stride=stride,
        integer=not layer.weights.terms,
        bits=weights.bits,
        lookup=lookup,
        signs=plain and weights.terms and weights.bits == 1 and are_signs(inputs),
        codes=codes.reshape(-1, *codes.shape[2:])[~kept],
        turns=np.where(empty, 1, steps),
        first=number == 0,
        last=number == count[a_pass] - 1,
        mask=mask,
        padding=padding,
        groups=groups,
    )


def _codes(
    weights: Weights,
    shape: tuple[int, int, int],
    order: np.ndarray,
    output: Stream,
    mask: np.ndarray,
    filters: np.ndarray,
    term: np.ndarray,
) -> np.ndarray:
    """[sweeps, steps, lanes, inputs, terms] uint8; 0 where nothing counts.

    The shape is that of what a sweep reads: positions, words of each, and activations of a word;
    the order that of its channels.
    """
    positions, words, inputs = shape
    channels = len(order)
    k = weights.passes
    first = np.concatenate([[0], np.cumsum(k, dtype=np.int64)])
    rows = weights.codes().reshape(-1, positions, channels)[:, :, order]
    padded = np.zeros((len(rows) + 1, positions, words * inputs), np.uint8)
    padded[:-1, :, :channels] = rows
    padded = padded.reshape(-1, positions * words, inputs)
    known = np.append(output.order, np.zeros(mask.shape[1], np.int64))[filters]
    row = np.where(mask, first[known] + term, len(rows))
    return padded[row].transpose(0, 3, 1, 4, 2)  # sweeps, lanes, terms, steps, inputs


def requantize(
    source: Stream,
    output: Stream,
    affine: Affine,
    sums: Range,
    v: int,
    shift: np.ndarray | None,
    slope: int,
    by_powers: bool,
) -> Requantize:
    """The constants of a layer's affine map and activation, and which of them it needs.

    Args:
      source: the sums.
      output: activations, or v.
      affine: of the layer's filters, in their own order.
      sums: what each filter's can be.
      v: bits of v.
      shift: [channels] of the activation; None for none.
      slope: of the leaky ReLU.
      by_powers: whether multipliers are computed by shifts; where each is a power of two they are
        anyway.
    """
    order = output.order
    multiplier, bias, low, high = (
        x.astype(np.int64)[order] for x in (affine.multiplier, affine.bias, affine.low, affine.high)
    )
    least, most = (end[order] for end in sums)
    clips = bool(((low > least) | (high < most)).any())
    # An end beyond what a sum can be is the nearest one that does the same.
    low, high = np.maximum(low, np.minimum(least, high)), np.minimum(high, np.maximum(most, low))
    clipped = source.bits
    if clips:
        clipped = max(clipped, int(width(Range(low, high)).max()))
    digits = signed_digits(multiplier)
    terms: np.ndarray | None = digits
    if (multiplier == 1).all():
        terms = digits[:0]
    elif not by_powers and len(digits) > 1:
        terms = None
    return Requantize(
        name=output.name,
        inputs=(source,),
        outputs=(output,),
        clip=np.stack([low, high]) if clips else None,
        clipped=clipped,
        terms=terms,
        multiplier=multiplier,
        bias=bias if bias.any() else None,
        v=v,
        shift=None if shift is None else shift.astype(np.int64)[order],
        slope=0 if shift is None else slope,
    )


def signed_digits(values: np.ndarray) -> np.ndarray:
    """The fewest signed powers of two whose sum each value is.

    Returns:
      [terms, values, 3] int64: whether the term is there, whether it is negative, its exponent;
      one term at least.

    Example:
      >>> signed_digits(np.array([7, -4]))[:, 0].tolist()  # 7 = 8 - 1
      [[1, 1, 0], [1, 0, 3]]
    """
    rest = values.astype(np.int64).copy()
    count = np.zeros(len(rest), np.int64)
    found = np.zeros((34, len(rest), 3), np.int64)
    for exponent in range(34):
        odd = rest & 1 == 1
        digit = np.where(odd, 2 - (rest & 3), 0)  # 1, or -1 where a run of ones goes on
        which = np.flatnonzero(odd)
        found[count[which], which] = np.stack(
            [np.ones(len(which), np.int64), digit[which] < 0, np.full(len(which), exponent)], axis=1
        )
        count += odd
        rest = (rest - digit) >> 1
    return found[: max(1, int(count.max(initial=0)))]
