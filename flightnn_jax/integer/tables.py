"""Products as tables: each layer's levels of weights times all that its activations can be. No JAX.

A unit that looks products up multiplies nothing. How large its tables are is one measure of how
compact a network is, how many numbers its weights have is another.
"""

from typing import NamedTuple

import numpy as np

from flightnn_jax.integer import certificate
from flightnn_jax.integer.network import Convolution, IntegerNetwork


class Table(NamedTuple):
    """The products of one layer.

    Attributes:
      layer: its name.
      low: the least activation that is proven possible; row i is that of low + i.
      levels: [levels] int32, the numbers that weights are, in their order.
      which: [*shape of the weights] which of them each weight is.
      products: [activations, levels] int32.
    """

    layer: str
    low: int
    levels: np.ndarray
    which: np.ndarray
    products: np.ndarray


class Census(NamedTuple):
    """How compact a network is for units that look products up.

    Attributes:
      entries: of each layer's table, by its name.
      values: how many different numbers the weights of the whole network are.
    """

    entries: dict[str, int]
    values: int


def tables(network: IntegerNetwork) -> tuple[Table, ...]:
    """The tables of all layers with weights, in their order; weights may be of any kind.

    Args:
      network: a valid one. Which activations are possible is proven anew.

    Example:
      >>> from flightnn_jax.integer import Average, CodebookWeights, Dense
      >>> weights = CodebookWeights(np.array([-3, 5], np.int8), np.zeros((3, 1), np.uint8))
      >>> dense = Dense("dense", "average", weights, -7, np.zeros(1, np.int32), None)
      >>> layers = (Average("average", "image", 8, -7), dense)
      >>> net = IntegerNetwork("sum", (2, 2, 3), layers, 3, None, -14, ("x",), {}, None)
      >>> (table,) = tables(net)
      >>> table.low, table.products.tolist()  # sums of four are rounded in units of 256
      (-2, [[6], [3], [0], [-3], [-6]])
    """
    reaches = certificate.reaches(network)
    found = []
    for layer in network.weighted:
        around = layer.around if isinstance(layer, Convolution) else None
        inputs = certificate.padded(layer.weights, reaches[layer.input], around)
        low, high = int(inputs.low.min()), int(inputs.high.max())
        integers = layer.weights.integers()
        levels, which = np.unique(integers, return_inverse=True)
        products = np.arange(low, high + 1, dtype=np.int32)[:, None] * levels
        found.append(Table(layer.name, low, levels, which.reshape(integers.shape), products))
    return tuple(found)


def census(network: IntegerNetwork) -> Census:
    """The entries of all tables, and the numbers of all weights.

    A level that no weight has takes no entry.
    """
    made = tables(network)
    values = np.unique(np.concatenate([table.levels for table in made])) if made else ()
    return Census({table.layer: table.products.size for table in made}, len(values))
