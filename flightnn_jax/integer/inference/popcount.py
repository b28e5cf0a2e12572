"""The integer network in JAX with bits in words: products of signs are XORs, sums are popcounts.

So are computed the layers whose weights are -1 and 1 and whose activations are proven to be -1 to
1, but for convolutions in groups. A second bit says which of these are not 0, as the zeros around
an image are and as a rounded activation may be: n of them, of which p differ in sign from their
weights, sum to n - 2 p. Other layers are computed as the reference does.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from flightnn_jax.integer import certificate
from flightnn_jax.integer.inference import operations, shifts
from flightnn_jax.integer.inference.operations import Tensors
from flightnn_jax.integer.network import Convolution, Dense, IntegerNetwork
from flightnn_jax.integer.weights import BinaryWeights

_WORD = 32


class Signs(NamedTuple):
    """Numbers of -1, 0 and 1 as bits.

    Attributes:
      negative: [..., words] uint32, 1 for -1.
      present: [..., words] uint32, 0 for 0, and where a word has more bits than there are numbers.
    """

    negative: jax.Array
    present: jax.Array


def layers(network: IntegerNetwork) -> dict[str, BinaryWeights]:
    """By name the weights of the layers that popcounts can compute.

    Args:
      network: a valid one. What activations can be is proven anew.
    """
    reaches = certificate.reaches(network)

    return {
        layer.name: layer.weights
        for layer in network.weighted
        if isinstance(layer.weights, BinaryWeights)
        and certificate.are_signs(reaches[layer.input])
        and not (isinstance(layer, Convolution) and layer.groups > 1)
    }


def build(network: IntegerNetwork) -> Callable[[jax.Array], Tensors]:
    """The function from images to every layer's output.

    Args:
      network: a valid one; its certificates are not needed.
    """
    words = {
        name: packed(jnp.moveaxis(jnp.asarray(weights.negative), -1, 0) != 0)
        for name, weights in layers(network).items()
    }

    def convolution(layer: Convolution, values: Tensors) -> jax.Array:
        x = values[layer.input]
        if layer.name in words:
            size = layer.weights.shape[0]
            place = (size, layer.stride, layer.around)
            seen = (operations.patches_of(part, *place) for part in signs(x))
            acc = sums(Signs(*seen), words[layer.name])
        else:
            acc = shifts.convolution_sums(x, layer)
        v = operations.affine(acc, layer.affine)
        return operations.behind(layer, v, network.slope)

    def dense(layer: Dense, values: Tensors) -> jax.Array:
        x = values[layer.input]
        known = layer.name in words
        acc = sums(signs(x), words[layer.name]) if known else shifts.shift_dot(x, layer.weights)
        return acc + operations.row(layer.bias, 2)

    table = operations.without_weights(network.slope) | {Convolution: convolution, Dense: dense}
    return lambda images: operations.run(network.layers, table, images)


def packed(bits: jax.Array) -> jax.Array:
    """Bits of the last axis in words, [..., bits] bool to [..., words] uint32; the first is lowest.

    Example:
      >>> packed(jnp.array([True, False, True])).tolist()
      [5]
    """
    filled = jnp.pad(bits, ((0, 0),) * (bits.ndim - 1) + ((0, -bits.shape[-1] % _WORD),))
    words = filled.reshape(*bits.shape[:-1], -1, _WORD).astype(jnp.uint32)
    place = lax.broadcasted_iota(jnp.uint32, words.shape, words.ndim - 1)
    return (words << place).sum(axis=-1, dtype=jnp.uint32)


def signs(x: jax.Array) -> Signs:
    """Activations from -1 to 1, [..., channels] int8, as bits."""
    return Signs(packed(x < 0), packed(x != 0))


def sums(x: Signs, negative: jax.Array) -> jax.Array:
    """Sums of products with weights of -1 and 1, [..., filters] int32.

    Args:
      x: whose last axis counts the words that one sum takes.
      negative: [filters, ...] uint32, whose other axes count as many; 1 for -1.

    Example:
      >>> x = signs(jnp.array([1, -1, 0, -1], jnp.int8))
      >>> weights = packed(jnp.array([[False, True, True, False]]))  # 1, -1, -1, 1
      >>> sums(x, weights).tolist()  # 1 + 1 + 0 - 1
      [1]
    """
    flat = Signs(*(part.reshape(-1, part.shape[-1]) for part in x))
    filters = negative.shape[0]

    def step(total: jax.Array, word: tuple[jax.Array, ...]) -> tuple[jax.Array, None]:
        own, present, weights = word
        differs = (own[:, None] ^ weights[None]) & present[:, None]
        return total + lax.population_count(differs).astype(jnp.int32), None

    zeros = jnp.zeros((flat.negative.shape[0], filters), jnp.int32)
    by_word = (flat.negative.T, flat.present.T, negative.reshape(filters, -1).T)
    differing = lax.scan(step, zeros, by_word)[0]
    count = lax.population_count(flat.present).astype(jnp.int32).sum(axis=-1, keepdims=True)
    return (count - 2 * differing).reshape(*x.negative.shape[:-1], filters)
