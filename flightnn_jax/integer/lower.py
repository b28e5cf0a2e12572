"""From a trained network to an integer network: nothing is learned or measured here."""

import dataclasses
import itertools
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from flightnn_jax import encoding, networks
from flightnn_jax.integer import affine as maps
from flightnn_jax.integer import certificate, invariants, limits
from flightnn_jax.integer.limits import IMAGE
from flightnn_jax.integer.network import (
    Add,
    Affine,
    Average,
    Convolution,
    Dense,
    Flatten,
    IntegerNetwork,
    Layer,
    MaxPool,
)
from flightnn_jax.integer.trained import Source, Trained
from flightnn_jax.integer.weights import IntegerWeights, LoweringError, Scaled
from flightnn_jax.networks.layers import padded_window

PyTree = Any

_IMAGE_EXPONENT = -7
_MAX_ROUNDED = 22  # shift + slope, so that 128.5 * 2**22 < 2**30: what saturates is beyond
_MAX_ADDED = 19  # likewise in an add, whose inputs are to leave each other room
_LIMIT = (1 << 30) - 1  # of |v|
_ADDED_LIMIT = (1 << 29) - 1  # of each input's
_MAX_LIFT = 22  # 128 << 22 = 2**29


def lower(
    network: networks.Network,
    params: PyTree,
    spec: PyTree,
    batch_stats: PyTree,
    ranges: Mapping[str, Any],
    *,
    affine_terms: int | None = None,
    labels: Sequence[str] | None = None,
    provenance: Mapping[str, Any] | None = None,
    activation_bits: int | None = 8,
    signs: Collection[str] = (),
    levels: Mapping[str, int] | None = None,
    epsilon: float = 1e-5,
) -> IntegerNetwork:
    """The integer network of trained parameters, as docs/integers.md defines it.

    Args:
      network: the table that was trained.
      params: trained parameters, not quantized: {layer: {"kernel": ..., ...}} as `models.Model`
        has them.
      spec: the spec tree by which they were quantized in training.
      batch_stats: running `mean` and `variance` of every convolution.
      ranges: the running largest magnitude of every quantized activation.
      affine_terms: makes every multiplier a sum of at most so many signed powers of two, so that
        the network runs on shifts and additions; None leaves them any integers.
      labels: a text for each class; their numbers by default.
      provenance: texts and numbers by name that go with the network.
      activation_bits: of the trained model; only 8 have a form in integers.
      signs: the convolutions whose outputs are signs of batch norm's. Where a max-pool follows,
        batch norm's slope is |scale|.
      levels: how many levels the outputs of these convolutions have, as
        `activations.level_exponent` places them.
      epsilon: what batch norm adds to the variance.

    Returns:
      A certified network that `check` accepts, without golden images.

    Raises:
      LoweringError: if something has no form in integers; it names the layer and the reason.
      IntegerNetworkError: if the network is too large for 32-bit accumulators.
    """
    if activation_bits != 8:
        raise LoweringError(
            f"activations of {'float' if activation_bits is None else activation_bits} bits: "
            "integer networks have 8: train with another scheme"
        )
    if not -limits.MAX_SLOPE <= network.slope_exponent < 0:
        raise LoweringError(
            f"slope_exponent={network.slope_exponent}: a leaky ReLU's shift is 1 to "
            f"{limits.MAX_SLOPE}"
        )
    try:
        encoded = encoding.encode_params(params, spec)
    except ValueError as error:
        raise LoweringError(str(error)) from error
    steps = list(networks.walk(network))
    trained = Trained(
        encoded=encoded,
        batch_stats=batch_stats,
        ranges=ranges,
        terms=affine_terms,
        slope=-network.slope_exponent,
        epsilon=epsilon,
        signs={one.name: two for one, two in itertools.pairwise(steps) if one.name in signs},
        levels=levels or {},
    )
    layers: tuple[Layer, ...] = ()
    pixels = certificate.any_activation(network.input_shape[-1])
    source = Source(IMAGE, _IMAGE_EXPONENT, pixels)
    for step in steps:
        more, source = _layers(trained, step, source, is_last=step is steps[-1])
        layers += more
    lowered = certificate.certified(
        IntegerNetwork(
            name=network.name,
            input_shape=tuple(network.input_shape),
            layers=layers,
            slope=trained.slope,
            affine_terms=affine_terms,
            output_exponent=source.exponent,
            labels=tuple(labels or map(str, range(network.classes))),
            provenance=dict(provenance or {}),
            golden=None,
        )
    )
    invariants.check(lowered)
    return lowered


Lowered = tuple[tuple[Layer, ...], Source]  # the layers of a step, and what the next one reads


def _layers(trained: Trained, step: networks.Step, source: Source, is_last: bool) -> Lowered:
    if not source.rounded:
        raise LoweringError(f"{step.name}: it reads {source.name}, whose output is not quantized")
    if isinstance(step.layer, networks.Conv):
        return _convolution(trained, step, source)
    if isinstance(step.layer, networks.Residual):
        return _residual(trained, step, source)
    if isinstance(step.layer, networks.MaxPool):
        pool = MaxPool(step.name, source.name, **vars(step.layer))
        return (pool,), _behind(trained, pool, [source], source.exponent)
    if isinstance(step.layer, networks.AveragePool):
        return _average_pool(trained, step, source)
    if isinstance(step.layer, networks.Flatten):
        return _flatten(trained, step, source, step.name, 3)
    if isinstance(step.layer, networks.GlobalAverage):
        return _average(trained, step, source, is_last)
    return _dense(trained, step, source)


def _convolution(trained: Trained, step: networks.Step, source: Source) -> Lowered:
    """One with an activation behind it."""
    name = step.name
    if name in trained.signs:
        return _signs(trained, step, source)
    assert isinstance(step.layer, networks.Conv)
    linear = step.layer.activation == "none" and name not in trained.levels
    slope = 0 if linear else trained.slope
    kernel, exponent = trained.kernel(name), trained.step_exponent(name)
    line = trained.line(name, kernel, source, exponent)
    acc = source.accumulators(kernel, step.layer)
    shift = maps.largest(maps.fits(line, _MAX_ROUNDED - slope, trained.terms, 1 << 29))
    multiplier, bias = maps.integers_at(line, np.maximum(shift, 0), trained.terms)
    if np.any(shift < 0):
        special = maps.saturating(line, acc, slope)
        _refuse(name, (shift < 0) & ~special[2], line)
        multiplier = np.where(shift < 0, special[0], multiplier)
        bias = np.where(shift < 0, special[1], bias)
    shifts = np.maximum(shift, 0).astype(np.uint8)
    if name in trained.levels:
        last = trained.levels[name] - 1
        affine = maps.clipped(multiplier, bias, acc, _LIMIT - maps.MAX_MULTIPLIER)
        affine = maps.not_above(maps.between(affine, shifts, slope, last), shifts, last)
    elif step.layer.activation in ("leaky", "none"):
        affine = maps.clipped(multiplier, bias, acc, _LIMIT)
    else:
        top = None if step.layer.activation == "relu" else _steps_to(6, exponent)
        affine = maps.clipped(multiplier, bias, acc, _LIMIT - maps.MAX_MULTIPLIER)
        affine = maps.between(affine, shifts, slope, top)
    layer = _record(step, kernel, source, affine, shifts, exponent)
    layer = dataclasses.replace(layer, linear=linear)
    return (layer,), _behind(trained, layer, [source], exponent)


def _steps_to(end: int, exponent: int) -> int | None:
    """Steps of activations to an end; None where the type ends before."""
    steps = round(end * 2.0**-exponent)
    return steps if steps < limits.MAX_ACTIVATION else None


def _signs(trained: Trained, step: networks.Step, source: Source) -> Lowered:
    """A convolution whose outputs are -1 and 1, in steps of 1."""
    kernel = trained.kernel(step.name)
    line = trained.line(step.name, kernel, source, 0)
    acc = source.accumulators(kernel, step.layer)
    affine = maps.signs(line, acc, trained.slope)
    shift = np.full(len(affine.bias), maps.SIGN_SHIFT, np.uint8)
    layer = _record(step, kernel, source, affine, shift, 0)
    return (layer,), _behind(trained, layer, [source], 0)


def _residual(trained: Trained, step: networks.Step, source: Source) -> Lowered:
    """Both convolutions, the shortcut if it has weights, and the sum."""
    first, *branches = step.inside
    layers, inner = _convolution(trained, first, source)
    exponent = trained.step_exponent(step.name)
    max_shift = _MAX_ADDED - trained.slope
    fitting = np.ones((max_shift + 1, step.output_shape[-1]), bool)
    summed = []
    for branch, reads in zip(branches, (inner, source), strict=False):
        kernel = trained.kernel(branch.name)
        line = trained.line(branch.name, kernel, reads, exponent)
        fitting &= maps.fits(line, max_shift, trained.terms, 1 << 28)
        _refuse(branch.name, np.logical_not(fitting.any(axis=0)), line)
        summed.append((branch, reads, kernel, line))
    lift = source.exponent - exponent
    if len(branches) == 1:
        lifted = np.arange(max_shift + 1) + lift
        fitting &= ((lifted >= 0) & (lifted <= _MAX_LIFT))[:, None]
        if not fitting.any(axis=0).all():
            raise LoweringError(
                f"{step.name}: its input has steps of 2**{source.exponent} and its output of "
                f"2**{exponent}: no shift brings the skip to the sum; measure the ranges on "
                "more batches"
            )
    shift = maps.largest(fitting)
    outputs: list[Source] = []
    for branch, reads, kernel, line in summed:
        integers = maps.integers_at(line, shift, trained.terms)
        acc = reads.accumulators(kernel, branch.layer)
        affine = maps.clipped(*integers, acc, _ADDED_LIMIT)
        layer = _record(branch, kernel, reads, affine, None, exponent)
        layers += (layer,)
        outputs.append(_behind(trained, layer, [reads], exponent))
    one, other = [*outputs, source][:2]
    added = Add(
        name=step.name,
        inputs=(one.name, other.name),
        lift=(None, None if len(branches) > 1 else (shift + lift).astype(np.uint8)),
        shift=shift.astype(np.uint8),
        exponent=exponent,
        certificate=np.zeros((shift.size, len(certificate.ADD_COLUMNS)), np.int32),
    )
    return (*layers, added), _behind(trained, added, [one, other], exponent)


def _average(trained: Trained, step: networks.Step, source: Source, is_last: bool) -> Lowered:
    """The sum, which the model divides by the next power of two, and its rounding."""
    height, width, _ = step.input_shape
    divided = source.exponent - (height * width - 1).bit_length()
    if is_last:
        layer = Average(step.name, source.name, None, divided)
        return (layer,), _behind(trained, layer, [source], divided, height * width)
    exponent = trained.step_exponent(step.name)
    shift = exponent - divided
    if not limits.MIN_AVERAGE_SHIFT <= shift <= limits.MAX_SHIFT:
        raise LoweringError(
            f"{step.name}: its range {trained.ranges[step.name]} against an input in steps of "
            f"2**{source.exponent} asks for a shift of {shift}: {limits.MIN_AVERAGE_SHIFT} to "
            f"{limits.MAX_SHIFT} are possible; measure the range on more batches"
        )
    layer = Average(step.name, source.name, shift, exponent)
    return (layer,), _behind(trained, layer, [source], exponent, height * width)


def _average_pool(trained: Trained, step: networks.Step, source: Source) -> Lowered:
    """A depthwise convolution of ones, its sum shifted as the model does."""
    pool = step.layer
    assert isinstance(pool, networks.AveragePool)
    size, padding, first = padded_window(step.name, pool, step.input_shape)
    channels = step.input_shape[-1]
    ones = np.zeros((size, size, 1, channels), np.int8)
    ones[first : first + pool.size, first : first + pool.size] = 1
    weights = IntegerWeights(ones)
    exponent = trained.step_exponent(step.name)
    shift = exponent - source.exponent + pool.shift
    up = max(0, -shift)
    if max(up, shift) > _MAX_ROUNDED - trained.slope or up >= maps.MAX_MULTIPLIER.bit_length():
        raise LoweringError(
            f"{step.name}: its range {trained.ranges[step.name]} against an input in steps of "
            f"2**{source.exponent} asks for a shift of {shift}: measure the range on more batches"
        )
    acc = certificate.accumulators(
        weights, certificate.padded(weights, source.reach, padding), channels
    )
    factor = np.full(channels, 1 << up)
    layer = Convolution(
        name=step.name,
        input=source.name,
        stride=pool.stride,
        weights=weights,
        weight_exponent=-pool.shift,
        affine=maps.clipped(factor, 0 * factor, acc, _LIMIT),
        shift=np.full(channels, max(0, shift), np.uint8),
        exponent=exponent,
        certificate=np.zeros((channels, len(certificate.COLUMNS)), np.int32),
        groups=channels,
        padding=None if padding == size // 2 else padding,
        linear=bool(source.reach.low.min() < 0),
    )
    return (layer,), _behind(trained, layer, [source], exponent)


def _dense(trained: Trained, step: networks.Step, source: Source) -> Lowered:
    """The logits, whose step is that of its accumulators."""
    if len(step.input_shape) == 3:
        flat, source = _flatten(trained, step, source, f"{step.name}_input", 1)
        dense, source = _dense(trained, step._replace(input_shape=step.input_shape[2:]), source)
        return flat + dense, source
    weights, exponent = trained.kernel(step.name)
    unit = source.exponent + exponent
    real = trained.vector(step.name, "bias")
    bias = np.rint(np.ldexp(real, -unit))
    if not np.all(np.abs(bias) < 1 << 31):
        raise LoweringError(
            f"{step.name}: a bias of {np.abs(real).max()} in steps of 2**{unit} has more than 32 "
            "bits: measure the range before it on more batches"
        )
    none = np.zeros((weights.shape[-1], len(certificate.COLUMNS)), np.int32)
    layer = Dense(step.name, source.name, weights, exponent, bias.astype(np.int32), none)
    return (layer,), _behind(trained, layer, [source], unit)


def _flatten(
    trained: Trained, step: networks.Step, source: Source, name: str, axes: int
) -> Lowered:
    """All values in a row."""
    layer, (height, width, _) = Flatten(name, source.name, axes), step.input_shape
    return (layer,), _behind(trained, layer, [source], source.exponent, height * width)


def _behind(
    trained: Trained, layer: Layer, given: list[Source], exponent: int, positions: int = 1
) -> Source:
    """A layer as the next one reads it."""
    reaches = [source.reach for source in given]
    reach = certificate.of_layer(layer, reaches, positions, trained.slope).output
    is_logits = isinstance(layer, Dense) or (isinstance(layer, Average) and layer.shift is None)
    return Source(layer.name, exponent, reach, rounded=not is_logits)


def _record(
    step: networks.Step,
    kernel: Scaled,
    source: Source,
    affine: Affine,
    shift: np.ndarray | None,
    exponent: int,
) -> Convolution:
    assert isinstance(step.layer, networks.Conv)
    return Convolution(
        name=step.name,
        input=source.name,
        stride=step.layer.stride,
        weights=kernel.weights,
        weight_exponent=kernel.exponent,
        affine=affine,
        shift=shift,
        exponent=exponent,
        certificate=np.zeros((kernel.weights.shape[-1], len(certificate.COLUMNS)), np.int32),
        groups=step.layer.groups,
        padding=None if step.layer.around == step.layer.size // 2 else step.layer.padding,
    )


def _refuse(name: str, where: np.ndarray, line: maps.Line) -> None:
    """Raises if a filter has no integers."""
    if np.any(where):
        filter_ = int(np.argmax(where))
        raise LoweringError(
            f"{name}: filter {filter_} maps accumulators to {line.factor[filter_]:.3g} acc + "
            f"{line.offset[filter_]:.3g} steps of its output, and no shift has multiplier and "
            "bias in their limits: the layer's range does not fit what it gives; measure it on "
            "more batches"
        )
