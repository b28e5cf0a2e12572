"""The float32 form of an integer network: by it a trained network is evaluated.

Convolutions run in float32, on real weights and activations; the affine map behind them is that
of the integer network. The input's channels are split so that the float32 sums of each part are
exact, and the parts are added as integers.

The form has two halves: a `Program`, which is compiled, and its numbers, which are arguments. All
that training moves is numbers, so one compiled program serves every epoch of a run.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from flightnn_jax.integer import certificate
from flightnn_jax.integer.inference import operations
from flightnn_jax.integer.inference.operations import Tensors
from flightnn_jax.integer.limits import IMAGE, MIN_ACTIVATION, IntegerNetworkError
from flightnn_jax.integer.network import Affine, Convolution, Dense, IntegerNetwork, Layer
from flightnn_jax.integer.weights import Weights
from flightnn_jax.platforms import Platform, has_matrix_units, resolved

_IMAGE_EXPONENT = -7
_MAX_EXPONENT = 60  # products of two such steps, and their sums, are far within float32

Numbers = Mapping[str, Mapping[str, Any]]  # of each layer, by the names of its record's fields


class Program(NamedTuple):
    """What is compiled. Hashable.

    Attributes:
      layers: the records, without what depends on weights, statistics and ranges.
      channels: for each layer, how many input channels a float32 sum takes; 0 without weights.
      slope: of the leaky ReLU.
      narrow: for each layer, whether its operands are bfloat16, which holds them exactly.
    """

    layers: tuple[Layer, ...]
    channels: tuple[int, ...]
    slope: int
    narrow: tuple[bool, ...]


def form_of(
    network: IntegerNetwork,
    kernels: Mapping[str, ArrayLike] | None = None,
    platform: Platform = "cpu",
) -> tuple[Program, Numbers]:
    """The program of a network and its numbers, as NumPy arrays.

    Args:
      network: that `check` accepts.
      kernels: the quantized float32 weights that were trained, by the layers' names; those of the
        network by default, and of a layer that has none, as an average pool. They are the same
        numbers if the network was lowered from them, and then the outputs show that the integers
        are the network that was trained.
      platform: where the program is to run; matrix units take narrow operands.

    Raises:
      IntegerNetworkError: if float32 cannot hold a layer, because of its exponents or its size.
    """
    sources = _source_exponents(network)
    channels, narrow, numbers = [], [], {}
    for layer in network.layers:
        fields = {name: getattr(layer, name, None) for name in ("bias", "shift", "lift")}
        own = {name: value for name, value in fields.items() if value is not None}
        if isinstance(layer, Convolution):
            own["affine"] = vars(layer.affine)
        at_once = 0
        if isinstance(layer, Convolution | Dense):
            kernel = None if kernels is None else kernels.get(layer.name)
            own |= _weights(layer, sources[layer.name], kernel)
            at_once = _channels(layer.name, layer.weights)
        channels.append(at_once)
        narrow.append(has_matrix_units(platform) and "kernel" in own and _is_narrow(own["kernel"]))
        numbers[layer.name] = own
    layers = tuple(_without_numbers(layer) for layer in network.layers)
    return Program(layers, tuple(channels), network.slope, tuple(narrow)), numbers


def layer_outputs(program: Program, numbers: Numbers, images: jax.Array) -> Tensors:
    """Every layer's output by name, [batch, *shape] int8 activations or int32 sums.

    Args:
      program: of `form_of`; static under jit.
      numbers: its numbers, or those of another state of the same training.
      images: [batch, *input_shape] uint8.
    """
    names = [layer.name for layer in program.layers]
    channels = dict(zip(names, program.channels, strict=True))
    narrow = dict(zip(names, program.narrow, strict=True))

    def sums(layer: Convolution | Dense, values: Tensors) -> jax.Array:
        x, name = values[layer.input], layer.name
        return _sums(x, numbers[name], layer, channels[name], narrow[name])

    def convolution(layer: Convolution, values: Tensors) -> jax.Array:
        v = operations.affine(sums(layer, values), layer.affine)
        return operations.behind(layer, v, program.slope)

    def dense(layer: Dense, values: Tensors) -> jax.Array:
        return sums(layer, values) + operations.row(layer.bias, 2)

    table = operations.without_weights(program.slope) | {Convolution: convolution, Dense: dense}
    layers = [_with_numbers(layer, numbers[layer.name]) for layer in program.layers]
    return operations.run(layers, table, images)


_jitted = jax.jit(layer_outputs, static_argnums=0)


def function_of(
    network: IntegerNetwork,
    kernels: Mapping[str, ArrayLike] | None = None,
    platform: str | None = None,
) -> Callable[[ArrayLike], Tensors]:
    """The network as a compiled function of images; arguments and errors are those of `form_of`.

    Without a platform it is for the one that JAX runs on.

    Returns:
      A function of [batch, *input_shape] uint8 that gives what `layer_outputs` does.
    """
    return functools.partial(_jitted, *form_of(network, kernels, resolved(platform)))


def _without_numbers(layer: Layer) -> Layer:
    """The record with None or nothing in place of what training moves."""
    moves = ("weights", "weight_exponent", "affine", "bias", "shift", "lift", "exponent")
    names = {field.name for field in dataclasses.fields(layer)} & {*moves, "certificate"}
    gone: dict[str, Any] = dict.fromkeys(names)
    return dataclasses.replace(layer, **gone)


def _with_numbers(layer: Layer, own: Mapping[str, Any]) -> Layer:
    """The record with these numbers in their fields."""
    changes = {name: own[name] for name in ("bias", "shift", "lift") if name in own}
    if "affine" in own:
        changes["affine"] = Affine(**own["affine"])
    return dataclasses.replace(layer, **changes)


def _source_exponents(network: IntegerNetwork) -> dict[str, int]:
    """For each layer, the exponent of what it reads."""
    exponents, sources = {IMAGE: _IMAGE_EXPONENT}, {}
    for layer in network.layers:
        sources[layer.name] = exponents[layer.inputs[0]]
        exponents[layer.name] = getattr(layer, "exponent", sources[layer.name])
    return sources


def _weights(layer: Convolution | Dense, exponent: int, kernel: ArrayLike | None) -> dict[str, Any]:
    """Real weights, the step of the input's activations, and units of the sums in one."""
    unit = layer.weight_exponent
    if max(abs(exponent), abs(unit)) > _MAX_EXPONENT:
        raise IntegerNetworkError(
            f"{layer.name}: steps of 2**{exponent} and weights of 2**{unit}: in float32 form they "
            f"are from 2**-{_MAX_EXPONENT} to 2**{_MAX_EXPONENT}; run the integers instead"
        )
    if kernel is None:
        kernel = np.ldexp(layer.weights.integers().astype(np.float32), unit)
    step, per_one = (np.float32(2.0**e) for e in (exponent, -exponent - unit))
    return {"kernel": np.asarray(kernel), "step": step, "per_one": per_one}


def _channels(name: str, weights: Weights) -> int:
    """How many input channels a float32 sum takes: as many as weights of the kind allow.

    It depends on the shape and the kind alone, so that it stays as it is while weights change.
    """
    window = math.prod(weights.shape[:-2])
    largest = -MIN_ACTIVATION * weights.max_size * window
    channels = max(1, (certificate.FLOAT_INTEGERS - 1) // largest)
    for part in _slices(weights.shape[-2], channels):
        _check_exact(name, weights, part)
    return channels


def _slices(inputs: int, channels: int) -> list[slice]:
    return [slice(start, min(start + channels, inputs)) for start in range(0, inputs, channels)]


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
    return _slices(weights.shape[-2], _channels(name, weights))


def _check_exact(name: str, weights: Weights, part: slice) -> None:
    sizes = weights.sizes()[..., part, :].reshape(-1, weights.shape[-1])
    largest = -MIN_ACTIVATION * sizes.sum(axis=0, dtype=np.int64).max(initial=0)
    if largest >= certificate.FLOAT_INTEGERS:
        raise IntegerNetworkError(
            f"{name}: the sums over input channel {part.start} alone reach {largest}: float32 is "
            f"exact below {certificate.FLOAT_INTEGERS}"
        )


def _is_narrow(kernel: np.ndarray) -> bool:
    """Whether bfloat16 holds every weight; it holds every activation."""
    return np.array_equal(kernel.astype(jnp.bfloat16).astype(np.float32), kernel)


def _sums(
    x: jax.Array,
    own: Mapping[str, Any],
    layer: Convolution | Dense,
    channels: int,
    narrow: bool,
) -> jax.Array:
    """int32 accumulators by float32 sums of real products."""
    kind, precision = (jnp.bfloat16, None) if narrow else (jnp.float32, "highest")
    real = (x.astype(jnp.float32) * own["step"]).astype(kind)
    integers = []
    groups = layer.groups if isinstance(layer, Convolution) else 1
    of_groups = real.reshape(*real.shape[:-1], groups, -1)
    for part in _slices(x.shape[-1] // groups, channels):
        kernel = jnp.asarray(own["kernel"])[..., part, :].astype(kind)
        read = of_groups[..., part].reshape(*real.shape[:-1], -1)
        if isinstance(layer, Dense):
            sums = jnp.dot(read, kernel, precision=precision, preferred_element_type=jnp.float32)
        else:
            padding = kernel.shape[0] // 2 if layer.padding is None else layer.padding
            sums = jax.lax.conv_general_dilated(
                read,
                kernel,
                (layer.stride, layer.stride),
                ((padding, padding), (padding, padding)),
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
                feature_group_count=groups,
                precision=precision,
                preferred_element_type=jnp.float32,
            )
        integers.append((sums * own["per_one"]).astype(jnp.int32))
    return functools.reduce(jnp.add, integers)
