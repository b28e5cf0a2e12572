"""Where the outputs of layers lie in one piece of memory, which those share that are not needed."""

import math
from typing import NamedTuple

from flightnn_jax.integer import shapes
from flightnn_jax.integer.limits import IMAGE
from flightnn_jax.integer.network import IntegerNetwork

WORD = 4  # bytes; every output begins at a whole word


class Memory(NamedTuple):
    """A plan.

    Attributes:
      words: of the whole.
      first: by name, the first word of each output; the logits are not in it, the image is.
    """

    words: int
    first: dict[str, int]


class _Life(NamedTuple):
    """An output: how many words, the layer that writes it, and the last that reads it."""

    name: str
    words: int
    start: int
    end: int


def plan(network: IntegerNetwork) -> Memory:
    """Puts the outputs into memory, the largest ones first, each as low as it can lie.

    Args:
      network: a valid one.

    Example:
      >>> from flightnn_jax.integer import Average, MaxPool
      >>> layers = (MaxPool("one", "image"), MaxPool("two", "one"), Average("mean", "two", None, 0))
      >>> plan(IntegerNetwork("", (8, 8, 1), layers, 3, None, 0, ("all",), {}, None))
      Memory(words=20, first={'image': 0, 'one': 16, 'two': 0})
    """
    placed: list[tuple[int, _Life]] = []
    for life in sorted(_lives(network), key=lambda life: -life.words):
        at = 0
        for first, other in sorted(placed):
            together = life.start <= other.end and other.start <= life.end
            if together and first < at + life.words and at < first + other.words:
                at = first + other.words
        placed.append((at, life))
    words = max(first + life.words for first, life in placed)
    order = sorted(placed, key=lambda place: place[1].start)
    return Memory(words, {life.name: first for first, life in order})


def _lives(network: IntegerNetwork) -> list[_Life]:
    numbers = {IMAGE: 0} | {layer.name: i for i, layer in enumerate(network.layers, 1)}
    last = dict(numbers)
    for layer in network.layers:
        last |= dict.fromkeys(layer.inputs, numbers[layer.name])
    known = shapes.outputs(network)
    del known[network.layers[-1].name]
    return [
        _Life(name, -(-output_bytes(output) // WORD), numbers[name], last[name])
        for name, output in known.items()
    ]


def output_bytes(output: shapes.Output) -> int:
    """What a layer's output takes: a byte for an activation, four for a sum."""
    return math.prod(output.shape) * (WORD if output.sums else 1)
