"""In which order the channels of each tensor run: filters with many terms together. NumPy alone.

A pass over a window takes as long as the filter of the pass that has the most terms, so filters are
sorted by k. Tensors that an addition ties together, and those behind a pool, an average or a
depthwise convolution, have one order; what reads them has its weights in the same order, so nothing
is undone on the way. Around other groups, and a flat tensor, channels stay in their own order.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from flightnn_jax.integer import shapes
from flightnn_jax.integer.limits import IMAGE
from flightnn_jax.integer.network import (
    Add,
    Average,
    Convolution,
    Dense,
    Flatten,
    IntegerNetwork,
    Layer,
    MaxPool,
)
from flightnn_jax.rtl.architecture import Fold


class Tie(NamedTuple):
    """Tensors of one order.

    Attributes:
      tensors: their names.
      layers: the convolutions and dense layers among those that write them.
      orders: each [channels], of which one is to be chosen.
    """

    tensors: list[str]
    layers: list[Convolution | Dense]
    orders: list[np.ndarray]


def ties(network: IntegerNetwork) -> list[Tie]:
    """All tensors, group by group, and the orders that a layer of the group may want.

    These are the layers' own order, that of falling k of each of them, and that of their sum. Who
    sends the image knows only its own order, and so do groups and flat tensors.
    """
    outputs = shapes.outputs(network)
    found = []
    fixed = {IMAGE}
    for layer in network.layers:
        if isinstance(layer, Flatten) or (is_grouped(layer) and not has_own(layer)):
            fixed |= {layer.name, *layer.inputs}
    for names in _groups(network):
        layers = [layer for layer in network.weighted if layer.name in names]
        wanted = [np.arange(outputs[names[0]].shape[-1])]
        if layers and not fixed & set(names):
            k = np.array([layer.weights.passes for layer in layers], np.int64)
            rows = (*k, *([k.sum(axis=0)] if len(k) > 1 else []))
            wanted += [np.argsort(-row, kind="stable") for row in rows]
        found.append(Tie(names, layers, wanted))
    return found


def orders(network: IntegerNetwork, folds: Mapping[str, Fold]) -> dict[str, np.ndarray]:
    """By the name of the image and of every layer [channels] which channel comes first, second, ..

    Of the orders of a tie that one is taken with which the slowest of its layers is fastest.
    """
    outputs = shapes.outputs(network)
    pixels = {name: math.prod(output.shape[:-1]) for name, output in outputs.items()}
    found: dict[str, np.ndarray] = {}
    for tie in ties(network):
        costs = []
        for order in tie.orders:
            times = [
                pixels[layer.name] * cycles(layer, folds[layer.name], order) for layer in tie.layers
            ]
            costs.append((max(times, default=0), sum(times)))
        best = min(range(len(costs)), key=costs.__getitem__)
        found |= dict.fromkeys(tie.tensors, tie.orders[best])
    return found


def turns(k: np.ndarray, fold: Fold) -> np.ndarray:
    """[passes] sweeps over a window: for each pass those of its largest k, and at least one.

    Example:
      >>> turns(np.array([2, 1, 2, 1, 0]), Fold(lanes=2, inputs=3)).tolist()
      [2, 2, 1]
    """
    most = np.maximum.reduceat(k.astype(np.int64), np.arange(0, len(k), fold.lanes))
    return np.maximum(-(-most // fold.terms), 1)


def cycles(layer: Convolution | Dense, fold: Fold, order: np.ndarray) -> int:
    """That an engine takes for a window: steps or beats of each pass, whichever are more."""
    k = layer.weights.passes[order].astype(np.int64)
    starts = np.arange(0, len(k), fold.lanes)
    most = np.maximum.reduceat(k, starts)
    size = layer.weights.shape[0] if isinstance(layer, Convolution) else 1
    sweep = size * size * -(-layer.weights.shape[-2] // fold.inputs)
    steps = np.maximum(-(-most // fold.terms) * sweep, 1)
    beats = -(-np.minimum(len(k) - starts, fold.lanes) // fold.out)
    return int(np.maximum(steps, beats).sum())


def is_grouped(layer: Layer) -> bool:
    """Whether a layer is a convolution in groups."""
    return isinstance(layer, Convolution) and layer.groups > 1


def has_own(layer: Layer) -> bool:
    """Whether it is depthwise, a channel for each filter, so that lanes are of several groups."""
    if not isinstance(layer, Convolution):
        return False
    *_, inputs, filters = layer.weights.shape
    return inputs == 1 < layer.groups == filters


def most_lanes(layer: Convolution | Dense) -> int:
    """Filters that an engine can compute at once: all, or those of a group."""
    filters = int(layer.weights.shape[-1])
    if not isinstance(layer, Convolution) or has_own(layer):
        return filters
    return filters // layer.groups


def _groups(network: IntegerNetwork) -> list[list[str]]:
    """The names of tensors that have one order."""
    group = {IMAGE: [IMAGE]}
    for layer in network.layers:
        group[layer.name] = [layer.name]
        if not (isinstance(layer, Add | MaxPool | Average) or has_own(layer)):
            continue
        for name in layer.inputs:
            own, other = group[layer.name], group[name]
            if own is not other:
                own += other
                group |= dict.fromkeys(other, own)
    return list({id(names): names for names in group.values()}.values())
