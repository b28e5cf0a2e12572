"""The integer network in JAX by tables: a product is looked up, and sums are of what was found.

Nothing is multiplied but in affine maps. It shows that a unit with a table of products gives the
integers of the other paths; it is slow, for every product is a read from memory.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from flightnn_jax.integer import tables
from flightnn_jax.integer.inference import operations
from flightnn_jax.integer.inference.operations import Tensors
from flightnn_jax.integer.network import Convolution, Dense, IntegerNetwork


def build(network: IntegerNetwork) -> Callable[[jax.Array], Tensors]:
    """The function from images to every layer's output.

    Args:
      network: a valid one; its certificates are not needed.
    """
    known = {table.layer: table for table in tables.tables(network)}

    def convolution(layer: Convolution, values: Tensors) -> jax.Array:
        seen = operations.windows_of(values[layer.input], layer)
        rows = seen.reshape(-1, *seen.shape[-2:])
        acc = looked_up(rows, known[layer.name]).reshape(*seen.shape[:3], -1)
        v = operations.affine(acc, layer.affine)
        return operations.behind(layer, v, network.slope)

    def dense(layer: Dense, values: Tensors) -> jax.Array:
        sums = looked_up(values[layer.input], known[layer.name])
        return sums + operations.row(layer.bias, 2)

    table = operations.without_weights(network.slope) | {Convolution: convolution, Dense: dense}
    return lambda images: operations.run(network.layers, table, images)


def looked_up(x: jax.Array, table: tables.Table) -> jax.Array:
    """Sums of products from a table, [rows, filters] int32.

    Args:
      x: [rows, inputs] int8, or [rows, groups, inputs], of which filters read their own group.
      table: of weights whose axes but the last count `inputs` values.
    """
    x = x[:, None] if x.ndim == 2 else x
    filters = table.which.shape[-1]
    products = jnp.asarray(table.products.reshape(-1))
    index = jnp.asarray(table.which.reshape(-1, filters), jnp.int32)
    first = (x.astype(jnp.int32) - table.low) * len(table.levels)  # of the row of each activation

    def step(total: jax.Array, of_input: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        row, level = of_input
        row = row if row.shape[1] == 1 else jnp.repeat(row, filters // row.shape[1], axis=1)
        return total + products[row + level[None]], None

    zeros = jnp.zeros((x.shape[0], filters), jnp.int32)
    return jax.lax.scan(step, zeros, (jnp.moveaxis(first, 2, 0), index))[0]
