"""How many bits change from cycle to cycle while a network runs, which decides its energy.

Counted over whole layers, under jit, of the activations that the integer inference hands from layer
to layer. The order is that of `hardware.activity.shift_trace`: one unit computes one output after
the other, an output being a position of the window and one term of a filter. It takes tap after tap
in the order of the weights' axes (dy, dx, input), padding included, and its accumulator is cleared
before each output. A filter with k = 2 is two passes with sums of their own, as the paper's figure
3 draws it. Changes from one output to the next are not counted, so the order of outputs, filters
and images makes no difference.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from flightnn_jax.integer import inference
from flightnn_jax.integer.inference import operations
from flightnn_jax.integer.limits import IMAGE
from flightnn_jax.integer.network import Convolution, Dense, IntegerNetwork
from flightnn_jax.integer.weights import Weights

BLOCK = 1 << 16
"""Outputs that are computed at once; what is kept for them fits into a processor's cache."""

Four = tuple[jax.Array, jax.Array, jax.Array, jax.Array]


class Means(NamedTuple):
    """Bits that change in a cycle, on average.

    Attributes:
      activation: of 8 bits.
      weight: of the code of 4 bits.
      product: of 16 bits.
      accumulator: of 24 bits.
    """

    activation: float
    weight: float
    product: float
    accumulator: float


ACTIVATION_BITS, PRODUCT_BITS, ACCUMULATOR_BITS = 8, 16, 24


class Changes(NamedTuple):
    """Bits that changed in a layer, all outputs and images together: exact integers.

    Attributes:
      activation: of 8 bits, over the `windows`; every filter sees the same.
      weight: of the 4-bit codes, over the `filters`; every window meets the same.
      product: of 16 bits, over windows and filters.
      accumulator: of 24 bits, likewise.
      windows: positions of all images.
      filters: with one term; for weights that are integers, all of them.
      cycles: pairs of taps that follow each other in an output.
    """

    activation: int
    weight: int
    product: int
    accumulator: int
    windows: int
    filters: int
    cycles: int

    def distances(self) -> Means:
        """Means for each cycle; 0 where there was none.

        Example:
          >>> Changes(6, 2, 12, 18, windows=3, filters=2, cycles=1).distances()
          Means(activation=2.0, weight=1.0, product=2.0, accumulator=3.0)
        """
        outputs = self.windows * self.filters
        pairs = (self.windows, self.filters, outputs, outputs)
        return Means(
            *(
                changed / (count * self.cycles) if count * self.cycles else 0.0
                for changed, count in zip(self[:4], pairs, strict=True)
            )
        )


def collect(network: IntegerNetwork, images: npt.ArrayLike) -> dict[str, Changes]:
    """Runs a network on images and counts the changes in each layer with weights.

    Args:
      network: valid in the sense of `invariants.check`.
      images: [batch, height, width, channels] uint8. One after the other is computed, so that
        memory does not grow with the batch.

    Returns:
      By the layers' names, in the order of computation.

    Raises:
      ValueError: if the images are not what the network takes, or there are none.

    Example:
      >>> from flightnn_jax.integer import Average, Dense, IntegerWeights
      >>> weights = IntegerWeights(np.array([[1], [2]], np.int8))
      >>> dense = Dense("dense", "sums", weights, 0, np.zeros(1, np.int32), np.zeros((1, 10)))
      >>> layers = (Average("sums", "image", 0, -7), dense)
      >>> network = IntegerNetwork("two", (1, 1, 2), layers, 3, None, -7, ("sum",), {}, None)
      >>> collect(network, np.array([[[[129, 131]]]], np.uint8))["dense"][:4]  # 1 + 2 * 3 = 7
      (1, 2, 3, 2)
    """
    batch = np.asarray(images)
    if batch.ndim != 1 + len(network.input_shape) or not len(batch):
        raise ValueError(
            f"images of shape {batch.shape}: give (batch, height, width, channels), at least one"
        )
    wide = [x.name for x in network.weighted if isinstance(x, Convolution) and not x.is_plain]
    if wide:
        raise ValueError(
            f"{', '.join(wide):.80}: bits that change are counted for convolutions of one group "
            "with the usual zeros around: estimate this network without its activity"
        )
    outputs_of = inference.make_layer_outputs(network)
    layers = network.weighted
    factors = {layer.name: jnp.asarray(_factors(layer.weights)) for layer in layers}
    counts = {layer.name: np.zeros(3, np.int64) for layer in layers}
    windows = dict.fromkeys(counts, 0)
    for image in batch:
        values = outputs_of(image[None])
        values[IMAGE] = operations.image_activations(jnp.asarray(image[None]))
        for layer in layers:
            rows = _windows(values[layer.input], layer)
            counts[layer.name] += _count(rows, factors[layer.name])
            windows[layer.name] += len(rows)
    return {
        layer.name: _changes(layer.weights, counts[layer.name], windows[layer.name])
        for layer in layers
    }


def _changes(weights: Weights, counts: np.ndarray, windows: int) -> Changes:
    codes = weights.codes()  # of each filter of one term, tap after tap
    filters, taps = codes.shape
    weight = int(np.bitwise_count(codes[:, 1:] ^ codes[:, :-1]).sum(dtype=np.int64))
    a, p, s = (int(n) for n in counts)
    return Changes(a, weight, p, s, windows, filters, taps - 1)


def _factors(weights: Weights) -> np.ndarray:
    """What each tap of each filter of one term multiplies with, [taps, filters] int32."""
    taps = int(np.prod(weights.shape[:-1]))
    parts = [weights.product(np.int32(1), *part.operands) for part in weights.summands()]
    return np.concatenate([np.zeros((taps, 0), np.int32), *parts], axis=1)


@functools.partial(jax.jit, static_argnames=("size", "stride"))
def _patches(x: jax.Array, size: int, stride: int) -> jax.Array:
    patches = operations.patches_of(x, size, stride)
    return patches.reshape(-1, patches.shape[-1])


def _windows(x: jax.Array, layer: Convolution | Dense) -> np.ndarray:
    """What each output sees of an image, [windows, taps] int8."""
    if isinstance(layer, Dense):
        return np.asarray(x)
    return np.asarray(_patches(x, layer.weights.shape[0], layer.stride))


def _count(rows: np.ndarray, factors: jax.Array) -> np.ndarray:
    """Bits of activations, products and accumulators that change, [3] int64."""
    size = min(len(rows), max(1, BLOCK // max(1, factors.shape[1])))
    # Windows of zeros fill the last block up: all that they add is zero.
    padded = np.pad(rows, ((0, -len(rows) % size), (0, 0)))
    total = np.zeros(3, np.int64)
    for start in range(0, len(padded), size):
        blocks = _count_block(padded[start : start + size], factors)
        total += [np.asarray(block).sum(dtype=np.int64) for block in blocks]
    return total


@jax.jit
def _count_block(rows: jax.Array, factors: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The same, [rows] for activations and [rows, filters] for the others, int32.

    A layer has at most 2**26 weights, so 24 bits a tap stay within 31 bits.
    """
    wide = rows.astype(jnp.int32)
    first = wide[:, :1] * factors[:1]
    none = jnp.zeros_like(first)

    def step(carry: Four, tap: tuple[jax.Array, jax.Array]) -> tuple[Four, None]:
        product, total, of_products, of_totals = carry
        x, factor = tap
        new = x[:, None] * factor[None]
        of_products += _changed(product, new, PRODUCT_BITS)
        of_totals += _changed(total, total + new, ACCUMULATOR_BITS)
        return (new, total + new, of_products, of_totals), None

    carry, _ = jax.lax.scan(step, (first, first, none, none), (wide.T[1:], factors[1:]))
    of_activations = _changed(wide[:, 1:], wide[:, :-1], ACTIVATION_BITS)
    return of_activations.sum(axis=1), carry[2], carry[3]


def _changed(before: jax.Array, after: jax.Array, bits: int) -> jax.Array:
    return jax.lax.population_count((before ^ after) & ((1 << bits) - 1))
