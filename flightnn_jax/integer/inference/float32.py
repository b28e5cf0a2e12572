"""The float32 network in deployed form: what is trained and evaluated, and equals the integers.

Convolutions run in float32, on real weights and activations; the affine map behind them is that
of the integer network. Where the certificate says that float32 sums are exact, one convolution
does; elsewhere the input's channels are split so that each part is exact, and the parts are
added as integers.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from flightnn_jax import numerics
from flightnn_jax.integer import certificate
from flightnn_jax.integer.network import (
    IMAGE,
    Add,
    Average,
    Convolution,
    Dense,
    IntegerNetwork,
    IntegerNetworkError,
    Layer,
    ShiftWeights,
    Weights,
)

_IMAGE_EXPONENT = -7
_MOST_EXPONENT = 60  # products of two such steps, and their sums, are far within float32
_WINDOW = ("NHWC", "HWIO", "NHWC")

Outputs = dict[str, jax.Array]


def function_of(
    network: IntegerNetwork, kernels: Mapping[str, jax.Array] | None = None
) -> Callable[[ArrayLike], Outputs]:
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
    weights = {
        layer.name: _parts(layer, exponent, None if kernels is None else kernels[layer.name])
        for layer, exponent in _weighted(network)
    }

    def run(images: ArrayLike) -> Outputs:
        found: Outputs = {IMAGE: (jnp.asarray(images).astype(jnp.int32) - 128).astype(jnp.int8)}
        for layer in network.layers:
            if isinstance(layer, Convolution | Dense):
                acc = _sums(layer, found[layer.input], weights[layer.name])
                found[layer.name] = _affine(layer, acc, network.slope)
            else:
                found[layer.name] = _without_weights(layer, found, network.slope)
        return {layer.name: found[layer.name] for layer in network.layers}

    return jax.jit(run)


def _weighted(network: IntegerNetwork) -> list[tuple[Convolution | Dense, int]]:
    """Layers with weights, each with the exponent of its input."""
    exponents = {IMAGE: _IMAGE_EXPONENT}
    found = []
    for layer in network.layers:
        source = exponents[layer.inputs[0] if isinstance(layer, Add) else layer.input]
        exponents[layer.name] = getattr(layer, "exponent", source)
        if isinstance(layer, Convolution | Dense):
            found.append((layer, source))
    return found


_Part = tuple[slice, jax.Array, int]  # channels of the input, float32 weights, exponent of the sums


def _parts(
    layer: Convolution | Dense, exponent: int, kernel: jax.Array | None
) -> tuple[int, list[_Part]]:
    """The exponent of the input, and the weights in parts whose float32 sums are exact."""
    unit = layer.weight_exponent
    if max(abs(exponent), abs(unit)) > _MOST_EXPONENT:
        raise IntegerNetworkError(
            f"{layer.name}: steps of 2**{exponent} and weights of 2**{unit}: in float32 form they "
            f"are from 2**-{_MOST_EXPONENT} to 2**{_MOST_EXPONENT}; run the integers instead"
        )
    if kernel is None:
        kernel = jnp.asarray(np.ldexp(layer.weights.integers().astype(np.float32), unit))
    return exponent, [
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
      >>> from flightnn_jax.integer.network import IntegerWeights
      >>> exact_slices("dense", IntegerWeights(np.full((40000, 1), -8, np.int8)))
      [slice(0, 16383, None), slice(16383, 32766, None), slice(32766, 40000, None)]
    """
    *_, inputs, filters = weights.shape
    sizes = np.zeros((inputs, filters), np.int64)
    terms: list[Weights] = [weights]
    if isinstance(weights, ShiftWeights):
        rows = range(weights.sign.shape[0])
        terms = [
            ShiftWeights(weights.sign[j : j + 1], weights.shift[j : j + 1], weights.k) for j in rows
        ]
    for term in terms:
        sizes += np.abs(term.integers()).reshape(-1, inputs, filters).sum(axis=0, dtype=np.int64)
    sizes *= -certificate.LEAST
    found, start, total = [], 0, np.zeros(filters, np.int64)
    for channel in range(inputs):
        if sizes[channel].max(initial=0) >= certificate.FLOAT_INTEGERS:
            raise IntegerNetworkError(
                f"{name}: the sums over input channel {channel} alone reach "
                f"{sizes[channel].max()}: float32 is exact below {certificate.FLOAT_INTEGERS}"
            )
        if (total + sizes[channel]).max(initial=0) >= certificate.FLOAT_INTEGERS:
            found.append(slice(start, channel))
            start, total = channel, np.zeros(filters, np.int64)
        total += sizes[channel]
    return [*found, slice(start, inputs)]


def _sums(layer: Convolution | Dense, x: jax.Array, weights: tuple[int, list[_Part]]) -> jax.Array:
    """int32 accumulators by float32 sums of real products."""
    exponent, parts = weights
    real = x.astype(jnp.float32) * numerics.power_of_two(exponent)
    total = jnp.zeros((), jnp.int32)
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
                dimension_numbers=_WINDOW,
                precision="highest",
            )
        integers = (sums * numerics.power_of_two(-unit)).astype(jnp.int32)
        total = integers if total.ndim == 0 else total + integers
    return total


def _affine(layer: Convolution | Dense, acc: jax.Array, slope: int) -> jax.Array:
    if isinstance(layer, Dense):
        return acc + _channels(layer.bias, acc)
    low, high, multiplier, bias = (
        _channels(x, acc)
        for x in (
            layer.affine.low,
            layer.affine.high,
            layer.affine.multiplier,
            layer.affine.bias,
        )
    )
    v = jnp.clip(acc, low, high) * multiplier + bias
    return v if layer.shift is None else _activate(v, layer.shift, slope)


def _channels(values: np.ndarray, like: jax.Array) -> jax.Array:
    """[channels] as int32 that broadcast against the last axis."""
    return jnp.asarray(values.astype(np.int32)).reshape((1,) * (like.ndim - 1) + (-1,))


def _activate(v: jax.Array, shift: np.ndarray, slope: int) -> jax.Array:
    positive = _channels(shift, v)
    return _saturated(_even(v, jnp.where(v >= 0, positive, positive + slope)))


def _even(v: jax.Array, shift: jax.Array) -> jax.Array:
    """The integer v / 2**shift rounded half to even, for 0 <= shift <= 30 and |v| < 2**30."""
    half = (jnp.int32(1) << shift) >> 1
    odd = (v >> shift) & 1
    return (v + jnp.where(shift > 0, half - 1 + odd, 0)) >> shift


def _saturated(v: jax.Array) -> jax.Array:
    return jnp.clip(v, certificate.LEAST, certificate.MOST).astype(jnp.int8)


def _without_weights(layer: Layer, found: Outputs, slope: int) -> jax.Array:
    if isinstance(layer, Add):
        branches = [
            found[name].astype(jnp.int32) << (0 if lift is None else _channels(lift, found[name]))
            for name, lift in zip(layer.inputs, layer.lift, strict=True)
        ]
        return _activate(branches[0] + branches[1], layer.shift, slope)
    assert not isinstance(layer, Convolution | Dense)
    x = found[layer.input]
    if isinstance(layer, Average):
        sums = jnp.sum(x.astype(jnp.int32), (1, 2))
        if layer.shift is None:
            return sums
        left, right = max(0, -layer.shift), max(0, layer.shift)
        return _saturated(_even(sums << left, jnp.int32(right)))
    rows = jnp.maximum(x[:, ::2], x[:, 1::2])
    return jnp.maximum(rows[:, :, ::2], rows[:, :, 1::2])
