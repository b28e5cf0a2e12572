"""In which order the channels of each tensor run: filters with many terms together. NumPy alone.

A pass over a window takes as long as the filter of the pass that has the most terms, so filters are
sorted by k. Tensors that an addition ties together, and those behind a pool or an average, have one
order; what reads them has its weights in the same order, so nothing is undone on the way.
"""

from collections.abc import Mapping

import numpy as np

from flightnn_jax.integer import shapes
from flightnn_jax.integer.limits import IMAGE
from flightnn_jax.integer.network import (
    Add,
    Average,
    Convolution,
    Dense,
    IntegerNetwork,
    MaxPool,
)
from flightnn_jax.rtl.architecture import Fold


def turns(k: np.ndarray, fold: Fold) -> np.ndarray:
    """[passes] sweeps over a window: for each pass those of its largest k, and at least one.

    Example:
      >>> turns(np.array([2, 1, 2, 1, 0]), Fold(lanes=2, inputs=3)).tolist()
      [2, 2, 1]
    """
    most = np.maximum.reduceat(k.astype(np.int64), np.arange(0, len(k), fold.lanes))
    return np.maximum(-(-most // fold.terms), 1)


def orders(network: IntegerNetwork, folds: Mapping[str, Fold]) -> dict[str, np.ndarray]:
    """By the name of the image and of every layer [channels] which channel comes first, second, ..

    The image's is its own, for who sends it knows no other. Of several convolutions whose outputs
    are tied together each may want another order: of those that one of them wants, and that of
    their sum, the one that makes the slowest of them fastest is taken.
    """
    outputs = shapes.outputs(network)
    tied = _ties(network)
    found: dict[str, np.ndarray] = {}
    for names in tied:
        channels = outputs[names[0]].shape[-1]
        layers = [x for x in network.weighted if x.name in names]
        found |= dict.fromkeys(names, np.arange(channels))
        if IMAGE in names or not layers:
            continue
        k = np.array([x.weights.passes for x in layers], np.int64)
        wanted = [np.argsort(-row, kind="stable") for row in (*k, k.sum(axis=0))]
        costs = []
        for order in (found[names[0]], *wanted):
            steps = [_steps(x, row[order], folds[x.name]) for x, row in zip(layers, k, strict=True)]
            of_pixels = [
                n * int(np.prod(outputs[x.name].shape[:-1]))
                for n, x in zip(steps, layers, strict=True)
            ]
            costs.append((max(of_pixels), sum(of_pixels)))
        best = min(range(len(costs)), key=costs.__getitem__)
        found |= dict.fromkeys(names, (found[names[0]], *wanted)[best])
    return found


def _steps(layer: Convolution | Dense, k: np.ndarray, fold: Fold) -> int:
    """Of a window."""
    size = layer.weights.shape[0] if isinstance(layer, Convolution) else 1
    words = -(-layer.weights.shape[-2] // fold.inputs)
    return int(turns(k, fold).sum()) * size * size * words


def _ties(network: IntegerNetwork) -> list[list[str]]:
    """The names of tensors that have one order, group by group."""
    group = {IMAGE: [IMAGE]}
    for layer in network.layers:
        group[layer.name] = [layer.name]
        if not isinstance(layer, Add | MaxPool | Average):
            continue
        for name in layer.inputs:
            own, other = group[layer.name], group[name]
            if own is not other:
                own += other
                group |= dict.fromkeys(other, own)
    return list({id(names): names for names in group.values()}.values())
