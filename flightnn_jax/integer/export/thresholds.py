"""Clip, affine map, leaky ReLU and rounding of a convolution as thresholds of its sums. No JAX.

From its sum to its activation a filter is one function of one integer that rises or falls all the
way and takes 256 values at most: it is said by the sums at which it takes a step.
"""

from collections.abc import Callable

import numpy as np

from flightnn_jax.integer.limits import MAX_ACTIVATION, MIN_ACTIVATION
from flightnn_jax.integer.network import Convolution

_LEVELS = np.arange(MIN_ACTIVATION + 1, MAX_ACTIVATION + 1)[None]
Function = Callable[[np.ndarray], np.ndarray]  # of [filters, points]


def thresholds(layer: Convolution, slope: int) -> tuple[np.ndarray, np.ndarray]:
    """The signs of filters, and the thresholds of their sums times these.

    Args:
      layer: a valid one that gives activations, with its certificate.
      slope: of the network.

    Returns:
      [filters] 1 or -1, and [filters, 255] int64 that rise: the activation is -128 plus the number
      of thresholds that sign * acc is not below. Those that no acc reaches are one above the
      largest.
    """
    sign = np.where(layer.affine.multiplier < 0, -1, 1)
    acc = layer.certificate[:, :2].astype(np.int64) * sign[:, None]
    function = activations(layer, slope)
    low, high = acc.min(axis=1, keepdims=True), acc.max(axis=1, keepdims=True)
    return sign, _first(lambda x: function(sign[:, None] * x), low, high)


def _first(function: Function, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """[filters, levels] the least x with function(x) >= level, or high + 1; it rises with x."""
    below, above = (np.broadcast_to(x, (len(low), _LEVELS.size)) for x in (low, high + 1))
    while np.any(below < above):
        middle = (below + above) // 2
        reached = function(middle) >= _LEVELS
        below, above = np.where(reached, below, middle + 1), np.where(reached, middle, above)
    return below


def activations(layer: Convolution, slope: int) -> Function:
    """From sums acc, [filters, points] int64, to activations, as docs/integers.md says it."""
    if layer.shift is None:
        raise ValueError(f"{layer.name} gives sums: only activations have thresholds")
    shift, slope = layer.shift.astype(np.int64)[:, None], layer.slope_of(slope)
    numbers = vars(layer.affine)
    low, high, multiplier, bias = (
        numbers[name].astype(np.int64)[:, None] for name in ("low", "high", "multiplier", "bias")
    )

    def function(acc: np.ndarray) -> np.ndarray:
        v = np.clip(acc, low, high) * multiplier + bias
        n = np.where(v < 0, shift + slope, shift)
        half = (np.int64(1) << n >> 1) - 1
        rounded = np.where(n > 0, (v + half + ((v >> n) & 1)) >> n, v)
        return np.clip(rounded, MIN_ACTIVATION, MAX_ACTIVATION)

    return function
