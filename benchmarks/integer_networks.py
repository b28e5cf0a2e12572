"""Integer networks of the paper's shapes with random weights, for speed alone.

Weights are what training leaves: normal numbers rounded to sums of powers of two, with k = 1 in
every second filter and 2 in the others. Activations are spread over the range of int8.
"""

import numpy as np

from flightnn_jax import integer, networks

_SHIFT = 12  # of every activation
_SPREAD = 40.0  # standard deviation of activations


def random_network(network: networks.Network, seed: int = 0) -> integer.IntegerNetwork:
    """An integer network with the layers of `network`.

    Example:
      >>> made = random_network(networks.network("net4", width=8))
      >>> [layer.name for layer in made.layers][-2:]
      ['conv4', 'average']
    """
    rng = np.random.default_rng(seed)
    layers: list[integer.Layer] = []
    source = integer.IMAGE
    for step in networks.walk(network):
        layers += _layers(rng, step, source)
        source = layers[-1].name
    if isinstance(layers[-1], integer.Average):
        layers[-1] = integer.Average(layers[-1].name, layers[-1].input, None, -9)
    made = integer.IntegerNetwork(
        name=network.name,
        input_shape=network.input_shape,
        layers=tuple(layers),
        slope=-network.slope_exponent,
        affine_terms=None,
        output_exponent=-9,
        labels=tuple(f"class {i}" for i in range(network.classes)),
        provenance={"seed": seed},
        golden=None,
    )
    made = integer.certified(made)
    integer.check(made)
    return made


def random_weights(rng: np.random.Generator, shape: integer.Shape) -> integer.ShiftWeights:
    """Normal numbers as sums of one power of two in half of the filters, of two in the others."""
    rest = rng.normal(size=shape)
    top = np.round(np.log2(np.abs(rest).max()))
    k = (1 + np.arange(shape[-1]) % 2).astype(np.uint8)
    signs, shifts = [], []
    for j in range(2):
        exponent = np.clip(np.round(np.log2(np.maximum(np.abs(rest), 1e-9))), top - 7, top)
        sign = np.where(rest < 0, -1, 1) * (k > j)
        rest = rest - sign * 2.0**exponent
        signs.append(sign.astype(np.int8))
        shifts.append(((exponent - top + 7) * (k > j)).astype(np.uint8))
    return integer.ShiftWeights(np.stack(signs), np.stack(shifts), k)


def _layers(rng: np.random.Generator, step: networks.Step, source: str) -> list[integer.Layer]:
    if isinstance(step.layer, networks.Conv):
        return [_convolution(rng, step, source)]
    if isinstance(step.layer, networks.MaxPool):
        return [integer.MaxPool(step.name, source)]
    if isinstance(step.layer, networks.GlobalAverage):
        positions = step.input_shape[0] * step.input_shape[1]
        return [integer.Average(step.name, source, max(0, positions.bit_length() - 2), -5)]
    if isinstance(step.layer, networks.Dense):
        assert step.kernel_shape is not None
        units = step.layer.units
        weights = random_weights(rng, step.kernel_shape)
        bias, none = np.zeros(units, np.int32), np.zeros((units, 10), np.int32)
        return [integer.Dense(step.name, source, weights, -8, bias, none)]
    first, second, *shortcut = step.inside
    made: list[integer.Layer] = [_convolution(rng, first, source)]
    made.append(_convolution(rng, second, made[0].name, sums=True))
    made += [_convolution(rng, inside, source, sums=True) for inside in shortcut]
    channels = step.output_shape[-1]
    lift = None if shortcut else np.full(channels, _SHIFT, np.uint8)
    other = made[-1].name if shortcut else source
    shift, none = np.full(channels, _SHIFT, np.uint8), np.zeros((channels, 3), np.int32)
    made.append(integer.Add(step.name, (second.name, other), (None, lift), shift, -5, none))
    return made


def _convolution(
    rng: np.random.Generator, step: networks.Step, source: str, sums: bool = False
) -> integer.Convolution:
    assert step.kernel_shape is not None
    assert isinstance(step.layer, networks.Conv)
    weights = random_weights(rng, step.kernel_shape)
    filters = step.kernel_shape[-1]
    squares = (weights.integers().astype(np.float64) ** 2).sum(axis=(0, 1, 2))
    multiplier = np.round((1 << _SHIFT) / np.sqrt(squares) * rng.uniform(0.7, 1.3, filters))
    bias = rng.normal(size=filters) * _SPREAD / 4 * (1 << _SHIFT)
    most = np.int32(((1 << 29) - 1) // np.maximum(multiplier, 1).max())
    low, high = (np.full(filters, sign * most, np.int32) for sign in (-1, 1))
    affine = integer.Affine(multiplier.astype(np.int32), bias.astype(np.int32), low, high)
    return integer.Convolution(
        name=step.name,
        input=source,
        stride=step.layer.stride,
        weights=weights,
        weight_exponent=-9,
        affine=affine,
        shift=None if sums else np.full(filters, _SHIFT, np.uint8),
        exponent=-5,
        certificate=np.zeros((filters, 10), np.int32),
    )
