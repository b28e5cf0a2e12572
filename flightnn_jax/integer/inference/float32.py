"""The float32 network in deployed form: what is trained and evaluated, and equals the integers.

Convolutions run in float32, on real weights and activations; the affine map behind them is that
of the integer network. Where the certificate says that float32 sums are exact, one convolution
does; elsewhere the input's channels are split so that each part is exact, and the parts are
added as integers.
"""

import functools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from flightnn_jax import numerics
from flightnn_jax.integer import certificate
from flightnn_jax.integer.inference import operations
from flightnn_jax.integer.inference.operations import Tensors
from flightnn_jax.integer.limits import IMAGE, MIN_ACTIVATION, IntegerNetworkError
from flightnn_jax.integer.network import Convolution, Dense, IntegerNetwork
from flightnn_jax.integer.weights import Weights

_IMAGE_EXPONENT = -7
_MAX_EXPONENT = 60  # products of two such steps, and their sums, are far within float32


def function_of(
    network: IntegerNetwork, kernels: Mapping[str, jax.Array] | None = None
) -> Callable[[ArrayLike], Tensors]:
    """The network as a jitted function of images.

    Args:
      network: that `check` accepts.
      kernels: the quantized float32 weights that were trained, by the layers' names; those of the
        network by default. They are the same numbers if the network was lowered from them, and
        then the outputs show that the integers are the network that was trained.

    Returns:
      A function of [batch, *input_shape] uint8 that gives every layer's output by name, [batch,
      *shape] int8 or int32: activations and sums as the integers that they stand for.

    Raises:
      IntegerNetworkError: if float32 cannot hold a layer, because of its exponents or its size.
    """
    sources = _source_exponents(network)
    parts = {
        layer.name: _parts(
            layer, sources[layer.name], None if kernels is None else kernels[layer.name]
        )
        for layer in network.weighted
    }

    def sums(layer: Convolution | Dense, values: Tensors) -> jax.Array:
        return _sums(layer, values[layer.input], sources[layer.name], parts[layer.name])

    def convolution(layer: Convolution, values: Tensors) -> jax.Array:
        v = operations.affine(sums(layer, values), layer.affine)
        return v if layer.shift is None else operations.activate(v, layer.shift, network.slope)

    def dense(layer: Dense, values: Tensors) -> jax.Array:
        return sums(layer, values) + operations.row(layer.bias, 2)

    table = operations.without_weights(network.slope) | {Convolution: convolution, Dense: dense}
    return jax.jit(lambda images: operations.run(network, table, images))


def _source_exponents(network: IntegerNetwork) -> dict[str, int]:
    """For each layer, the exponent of what it reads."""
    exponents, sources = {IMAGE: _IMAGE_EXPONENT}, {}
    for layer in network.layers:
        sources[layer.name] = exponents[layer.inputs[0]]
        exponents[layer.name] = getattr(layer, "exponent", sources[layer.name])
    return sources


_Part = tuple[slice, jax.Array, int]  # channels of the input, float32 weights, exponent of the sums


def _parts(layer: Convolution | Dense, exponent: int, kernel: jax.Array | None) -> list[_Part]:
    """The weights in parts whose float32 sums are exact, for inputs of 2**exponent."""
    unit = layer.weight_exponent
    if max(abs(exponent), abs(unit)) > _MAX_EXPONENT:
        raise IntegerNetworkError(
            f"{layer.name}: steps of 2**{exponent} and weights of 2**{unit}: in float32 form they "
            f"are from 2**-{_MAX_EXPONENT} to 2**{_MAX_EXPONENT}; run the integers instead"
        )
    if kernel is None:
        kernel = jnp.asarray(np.ldexp(layer.weights.integers().astype(np.float32), unit))
    return [
        (channels, kernel[..., channels, :], exponent + unit)
        for channels in exact_slices(layer.name, layer.weights)
    ]


def exact_slices(name: str, weights: Weights) -> list[slice]:
    """Runs of input channels in which no partial sum reaches 2**24, whatever its order.

    Args:
      name: of the layer, for errors.
      weights: its integers.

    Raises:
      IntegerNetworkError: if one channel alone is too large.

    Example:
      >>> from flightnn_jax.integer import IntegerWeights
      >>> exact_slices("dense", IntegerWeights(np.full((40000, 1), -8, np.int8)))
      [slice(0, 16383, None), slice(16383, 32766, None), slice(32766, 40000, None)]
    """
    *_, inputs, filters = weights.shape
    sizes = weights.sizes().reshape(-1, inputs, filters).sum(axis=0, dtype=np.int64)
    sizes *= -MIN_ACTIVATION
    slices, start, total = [], 0, np.zeros(filters, np.int64)
    for channel in range(inputs):
        if sizes[channel].max(initial=0) >= certificate.FLOAT_INTEGERS:
            raise IntegerNetworkError(
                f"{name}: the sums over input channel {channel} alone reach "
                f"{sizes[channel].max()}: float32 is exact below {certificate.FLOAT_INTEGERS}"
            )
        if (total + sizes[channel]).max(initial=0) >= certificate.FLOAT_INTEGERS:
            slices.append(slice(start, channel))
            start, total = channel, np.zeros(filters, np.int64)
        total += sizes[channel]
    return [*slices, slice(start, inputs)]


def _sums(layer: Convolution | Dense, x: jax.Array, exponent: int, parts: list[_Part]) -> jax.Array:
    """int32 accumulators by float32 sums of real products."""
    real = x.astype(jnp.float32) * numerics.power_of_two(exponent)
    integers = []
    for channels, kernel, unit in parts:
        if isinstance(layer, Dense):
            sums = jnp.dot(real[..., channels], kernel, precision="highest")
        else:
            padding = layer.weights.shape[0] // 2
            sums = jax.lax.conv_general_dilated(
                real[..., channels],
                kernel,
                (layer.stride, layer.stride),
                ((padding, padding), (padding, padding)),
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
                precision="highest",
            )
        integers.append((sums * numerics.power_of_two(-unit)).astype(jnp.int32))
    return functools.reduce(jnp.add, integers)
