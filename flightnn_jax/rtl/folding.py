"""Foldings: the cycles that an image takes with one, and the cheapest for a target. NumPy alone.

An image takes as long as its slowest part: a stream one cycle a beat, an engine for each window the
passes over its filters, each as many cycles as it has steps or beats of results, whichever are
more. Layers do not wait for each other, so each layer has the fewest units with which it meets the
target. Only the order of filters is common to some; every order that one of them may want is tried.
"""

import math
from collections.abc import Collection, Iterator

import numpy as np

from flightnn_jax.integer import shapes
from flightnn_jax.integer.limits import IMAGE
from flightnn_jax.integer.network import Convolution, Dense, IntegerNetwork
from flightnn_jax.rtl import orders
from flightnn_jax.rtl.architecture import Convolve, Fold, Machine, WindowPool, Wired
from flightnn_jax.rtl.plan import plan


class TargetError(ValueError):
    """A target that no folding meets: the best that is possible, and what to do."""


def interval(machine: Machine) -> int:
    """Cycles from one image to the next one, where no queue or buffer holds anything up.

    `timing.predict` says exactly how many: never fewer.
    """
    streams = [machine.image, *(out for stage in machine.stages for out in stage.outputs)]
    engines = [engine(x) for x in machine.stages if isinstance(x, Convolve | WindowPool)]
    wired = [stage for stage in machine.stages if isinstance(stage, Wired)]
    engines += [stage.source.pixels + stage.lag for stage in wired]
    return max([stream.total for stream in streams] + engines)


def engine(stage: Convolve | WindowPool) -> int:
    """Cycles in which an engine is busy with an image."""
    return stage.output.pixels * int(np.maximum(stage.passes, stage.results).sum())


def cheapest(network: IntegerNetwork, target: int, wired: Collection[str] = ()) -> dict[str, Fold]:
    """The folds with the fewest units that take at most so many cycles an image.

    A unit computes one term of one weight a cycle. Of folds with as many units, the one with the
    fewest lanes is taken, and of these the one whose sums leave the slowest.

    Args:
      network: what is computed.
      target: cycles of an image.
      wired: layers whose weights are wires: as few of their sums leave at once as meet the target.

    Raises:
      TargetError: if the network cannot be so fast.
    """
    limit = target
    while True:
        folds = _cheapest(network, limit, wired)
        if folds is None:
            folds = _whole(network)
        found = interval(plan(network, folds, wired))
        if found <= target:
            return folds
        if folds == _whole(network):
            raise TargetError(
                f"{network.name}: {target} cycles an image are out of reach: with everything at "
                f"once it takes {found}; ask for no fewer"
            )
        limit = limit * 15 // 16  # beats of two layers that do not fit together take longer


def fastest(network: IntegerNetwork) -> int:
    """Cycles of an image with everything at once."""
    return interval(plan(network, _whole(network)))


def possible(network: IntegerNetwork, target: int) -> set[str]:
    """The layers that engines compute in so many cycles."""
    outputs, whole = shapes.outputs(network), _whole(network)
    found = set()
    for layer in network.weighted:
        order = np.arange(layer.weights.shape[-1])
        pixels = math.prod(outputs[layer.name].shape[:-1])
        if pixels * orders.cycles(layer, whole[layer.name], order) <= target:
            found.add(layer.name)
    return found


def windows(network: IntegerNetwork, layer: Convolution | Dense) -> int:
    """Cycles in which wires take an image: its pixels, and what pushes the last windows out."""
    if isinstance(layer, Dense):
        return 1
    height, width, _ = shapes.outputs(network)[layer.input].shape
    return height * width + layer.weights.shape[0] // 2 * (width + 1)


def _whole(network: IntegerNetwork) -> dict[str, Fold]:
    """Everything at once."""
    folds = {IMAGE: Fold(out=network.input_shape[-1])}
    for layer in network.weighted:
        lanes = orders.most_lanes(layer)
        folds[layer.name] = Fold(lanes, layer.weights.shape[-2], _terms(layer), lanes)
    return folds


def _cheapest(
    network: IntegerNetwork, target: int, wired: Collection[str]
) -> dict[str, Fold] | None:
    outputs = shapes.outputs(network)
    pixels = {name: math.prod(output.shape[:-1]) for name, output in outputs.items()}
    channels = network.input_shape[-1]
    values = [n for n in _divisors(channels) if pixels[IMAGE] * (channels // n) <= target]
    if not values:
        return None
    folds = {IMAGE: Fold(out=values[0])}
    for layer in network.weighted:
        if layer.name in wired:
            filters = layer.weights.shape[-1]
            most = target // pixels[layer.name]
            values = [n for n in _divisors(filters) if filters // n <= most]
            if not values:
                return None
            folds[layer.name] = Fold(out=values[0])
    for tie in orders.ties(network):
        layers = [layer for layer in tie.layers if layer.name not in wired]
        if not layers:
            continue
        tried = []
        for order in tie.orders:
            found = [_of_layer(layer, order, target // pixels[layer.name]) for layer in layers]
            kept = [fold for fold in found if fold is not None]
            if len(kept) == len(found):
                tried.append((sum(map(_units, kept)), kept))
        if not tried:
            return None
        _, best = min(tried, key=lambda pair: pair[0])
        folds |= {layer.name: fold for layer, fold in zip(layers, best, strict=True)}
    return folds


def _of_layer(layer: Convolution | Dense, order: np.ndarray, most: int) -> Fold | None:
    """The cheapest fold with which a window takes at most so many cycles; None for none."""
    found = _foldings(layer, order, most)
    return min(found, key=lambda fold: (_units(fold), fold.lanes, fold.out), default=None)


def _foldings(layer: Convolution | Dense, order: np.ndarray, most: int) -> Iterator[Fold]:
    """For each number of lanes and terms the fewest results and inputs at once that suffice."""
    inputs, most_lanes = layer.weights.shape[-2], orders.most_lanes(layer)
    # The fewest inputs at once for each number of words.
    enough = sorted({-(-inputs // n): n for n in range(inputs, 0, -1)}.values())
    numbers = list(range(1, most_lanes + 1))
    if orders.is_grouped(layer):  # a word and a pass are of one group
        enough = _divisors(inputs)
        numbers = numbers if orders.has_own(layer) else _divisors(most_lanes)
    for lanes in numbers:
        for terms in range(1, _terms(layer) + 1):
            for out in _divisors(lanes):
                if orders.cycles(layer, Fold(lanes, inputs, terms, out), order) > most:
                    continue
                low, high = 0, len(enough) - 1
                while low < high:
                    middle = (low + high) // 2
                    fold = Fold(lanes, enough[middle], terms, out)
                    if orders.cycles(layer, fold, order) > most:
                        low = middle + 1
                    else:
                        high = middle
                yield Fold(lanes, enough[low], terms, out)
                break


def _units(fold: Fold) -> int:
    return fold.lanes * fold.inputs * fold.terms


def _terms(layer: Convolution | Dense) -> int:
    return max(1, int(layer.weights.passes.max(initial=0)))


def _divisors(number: int) -> list[int]:
    return [n for n in range(1, number + 1) if number % n == 0]
