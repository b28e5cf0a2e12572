"""From a trained network to an integer network: nothing is learned or measured here."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from flightnn_jax import activations, encoding, networks
from flightnn_jax.integer import affine as maps
from flightnn_jax.integer import certificate, invariants
from flightnn_jax.integer.network import (
    IMAGE,
    Add,
    Average,
    Convolution,
    Dense,
    IntegerNetwork,
    Layer,
    MaxPool,
    Weights,
)
from flightnn_jax.integer.weights import LoweringError, integer_weights, low_exponent

PyTree = Any

_IMAGE_EXPONENT = -7
_MOST_ROUNDED = 22  # shift + slope, so that 128.5 * 2**22 < 2**30: what saturates is beyond
_MOST_ADDED = 19  # likewise in an add, whose inputs are to leave each other room
_LIMIT = (1 << 30) - 1  # of |v|
_ADDED_LIMIT = (1 << 29) - 1  # of each input's
_MOST_LIFT = 22  # 128 << 22 = 2**29


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
    if not -invariants.MOST_SLOPE <= network.slope_exponent < 0:
        raise LoweringError(
            f"slope_exponent={network.slope_exponent}: a leaky ReLU's shift is 1 to "
            f"{invariants.MOST_SLOPE}"
        )
    work = _Lowering(network, params, spec, batch_stats, ranges, affine_terms, epsilon)
    layers = work.layers()
    found = IntegerNetwork(
        name=network.name,
        input_shape=tuple(network.input_shape),
        layers=layers,
        slope=-network.slope_exponent,
        affine_terms=affine_terms,
        output_exponent=work.exponent,
        labels=tuple(labels or map(str, range(network.classes))),
        provenance=dict(provenance or {}),
        golden=None,
    )
    found = certificate.certified(found)
    invariants.check(found)
    return found


class _Lowering:
    """Walks a network and knows what the layer before gives."""

    def __init__(
        self,
        network: networks.Network,
        params: PyTree,
        spec: PyTree,
        batch_stats: PyTree,
        ranges: Mapping[str, Any],
        terms: int | None,
        epsilon: float,
    ) -> None:
        self.network = network
        self.encoded = encoding.encode_params(params, spec)
        self.decoded = encoding.decode_params(self.encoded)
        self.batch_stats, self.ranges = batch_stats, ranges
        self.terms, self.epsilon = terms, epsilon
        self.slope = -network.slope_exponent
        self.before, self.exponent = IMAGE, _IMAGE_EXPONENT
        self.rounded = True  # whether what is there are activations, not logits

    def layers(self) -> tuple[Layer, ...]:
        """All layers, in order of computation."""
        found: list[Layer] = []
        steps = list(networks.walk(self.network))
        for step in steps:
            if not self.rounded:
                raise LoweringError(
                    f"{step.name}: it stands behind {self.before}, whose output is not quantized"
                )
            if isinstance(step.layer, networks.Conv):
                found.append(self.convolution(step))
            elif isinstance(step.layer, networks.Residual):
                found += self.residual(step)
            elif isinstance(step.layer, networks.MaxPool):
                found.append(MaxPool(step.name, self.before))
            elif isinstance(step.layer, networks.GlobalAverage):
                found.append(self.average(step, last=step is steps[-1]))
            else:
                found.append(self.dense(step))
            self.before = step.name
        return tuple(found)

    def convolution(self, step: networks.Step) -> Convolution:
        """One with an activation behind it."""
        name = step.name
        weights, unit, exponent = self.weights(name), self.unit(name), self.step_exponent(name)
        line = self.line(name, unit, exponent)
        acc = certificate.accumulators(weights)
        shift = maps.largest(maps.fits(line, _MOST_ROUNDED - self.slope, self.terms, 1 << 29))
        multiplier, bias = maps.integers_at(line, np.maximum(shift, 0), self.terms)
        if np.any(shift < 0):
            special = maps.saturating(line, acc, self.slope)
            self.refuse(name, (shift < 0) & ~special[2], line)
            multiplier = np.where(shift < 0, special[0], multiplier)
            bias = np.where(shift < 0, special[1], bias)
        affine = maps.clipped(multiplier, bias, acc, _LIMIT)
        self.exponent = exponent
        return self.record(step, weights, affine, np.maximum(shift, 0).astype(np.uint8), exponent)

    def residual(self, step: networks.Step) -> list[Layer]:
        """Both convolutions, the shortcut if it has weights, and the sum."""
        first, *branches = step.inside
        around, exponent_around = self.before, self.exponent
        inner = self.convolution(first)
        exponent = self.step_exponent(step.name)
        most = _MOST_ADDED - self.slope
        sources = [(first.name, self.exponent), (around, exponent_around)]
        fitting = np.ones((most + 1, step.output_shape[-1]), bool)
        lines = []
        for branch, (_, source_exponent) in zip(branches, sources, strict=False):
            self.exponent = source_exponent
            line = self.line(branch.name, self.unit(branch.name), exponent)
            fitting &= maps.fits(line, most, self.terms, 1 << 28)
            self.refuse(branch.name, np.logical_not(fitting.any(axis=0)), line)
            lines.append(line)
        lift = exponent_around - exponent
        if len(branches) == 1:
            lifted = np.arange(most + 1) + lift
            fitting &= ((lifted >= 0) & (lifted <= _MOST_LIFT))[:, None]
            if not fitting.any(axis=0).all():
                raise LoweringError(
                    f"{step.name}: its input has steps of 2**{exponent_around} and its output of "
                    f"2**{exponent}: no shift brings the skip to the sum; measure the ranges on "
                    "more batches"
                )
        shift = maps.largest(fitting)
        found: list[Layer] = [inner]
        for branch, line, (source, source_exponent) in zip(branches, lines, sources, strict=False):
            self.before, self.exponent = source, source_exponent
            weights = self.weights(branch.name)
            integers = maps.integers_at(line, shift, self.terms)
            acc = certificate.accumulators(weights)
            affine = maps.clipped(*integers, acc, _ADDED_LIMIT)
            found.append(self.record(branch, weights, affine, None, exponent))
        skip = around if len(branches) == 1 else branches[1].name
        lifts = None if len(branches) > 1 else (shift + lift).astype(np.uint8)
        none = np.zeros((shift.size, len(certificate.ADD_COLUMNS)), np.int32)
        inputs = (branches[0].name, skip)
        self.exponent = exponent
        shifts = shift.astype(np.uint8)
        return [*found, Add(step.name, inputs, (None, lifts), shifts, exponent, none)]

    def average(self, step: networks.Step, last: bool) -> Average:
        """The sum, which the model divides by the next power of two, and its rounding."""
        height, width, _ = step.input_shape
        divided = self.exponent - (height * width - 1).bit_length()
        if last:
            self.exponent, self.rounded = divided, False
            return Average(step.name, self.before, None, divided)
        exponent = self.step_exponent(step.name)
        shift = exponent - divided
        if not invariants.LEAST_AVERAGE_SHIFT <= shift <= invariants.MOST_SHIFT:
            raise LoweringError(
                f"{step.name}: its range {self.ranges[step.name]} against an input in steps of "
                f"2**{self.exponent} asks for a shift of {shift}: "
                f"{invariants.LEAST_AVERAGE_SHIFT} to {invariants.MOST_SHIFT} are possible; "
                "measure the range on more batches"
            )
        self.exponent = exponent
        return Average(step.name, self.before, shift, exponent)

    def dense(self, step: networks.Step) -> Dense:
        """The logits, whose step is that of its accumulators."""
        weights, unit = self.weights(step.name), self.unit(step.name)
        bias = np.rint(np.ldexp(self.array(step.name, "bias"), -unit))
        if not np.all(np.abs(bias) < 1 << 31):
            raise LoweringError(
                f"{step.name}: a bias of {np.abs(self.array(step.name, 'bias')).max()} in steps of "
                f"2**{unit} has more than 32 bits: measure the range before it on more batches"
            )
        none = np.zeros((weights.shape[-1], len(certificate.COLUMNS)), np.int32)
        source, exponent = self.before, unit - self.exponent
        self.exponent, self.rounded = unit, False
        return Dense(step.name, source, weights, exponent, bias.astype(np.int32), none)

    def record(
        self,
        step: networks.Step,
        weights: Weights,
        affine: maps.Affine,
        shift: np.ndarray | None,
        exponent: int,
    ) -> Convolution:
        assert isinstance(step.layer, networks.Conv)
        none = np.zeros((weights.shape[-1], len(certificate.COLUMNS)), np.int32)
        of_weights = low_exponent(self.codes(step.name))
        source, stride = self.before, step.layer.stride
        return Convolution(
            step.name, source, stride, weights, of_weights, affine, shift, exponent, none
        )

    def codes(self, name: str) -> Any:
        """The encoded kernel of a layer."""
        try:
            return self.encoded[name]["kernel"]
        except KeyError:
            raise LoweringError(f"{name}: the parameters have no kernel of that name") from None

    def weights(self, name: str) -> Weights:
        """The integers of a layer's kernel."""
        return integer_weights(name, self.codes(name))

    def unit(self, name: str) -> int:
        """The exponent of the last bit of a layer's accumulators."""
        return self.exponent + low_exponent(self.codes(name))

    def array(self, name: str, part: str) -> np.ndarray:
        """A parameter that is a vector, quantized if the spec says so; float64."""
        values = np.asarray(self.decoded[name][part], np.float64)
        if not np.isfinite(values).all():
            raise LoweringError(f"{name}: its {part} is not finite")
        return values

    def line(self, name: str, unit: int, exponent: int) -> maps.Line:
        """Batch norm of a convolution; a filter without weights has its offset alone."""
        stats = {part: np.asarray(x) for part, x in self.batch_stats[name].items()}
        scale, bias = self.array(name, "scale"), self.array(name, "bias")
        line = maps.batch_norm(stats, scale, bias, self.epsilon, unit, exponent)
        if not np.isfinite(line).all():
            raise LoweringError(f"{name}: batch norm's statistics are not finite: {stats}")
        some = certificate.partial_sums(self.weights(name)) > 0
        factor, middle = (np.where(some, part, 0.0) for part in (line.factor, line.middle))
        return maps.Line(factor, line.offset, middle)

    def step_exponent(self, name: str) -> int:
        """The exponent of the step of a layer's activations."""
        if name not in self.ranges:
            raise LoweringError(
                f"{name}: it has no activation range: train with a scheme that "
                "quantizes activations"
            )
        return int(activations.activation_exponent(np.asarray(self.ranges[name], np.float32)))

    def refuse(self, name: str, where: np.ndarray, line: maps.Line) -> None:
        """Raises if a filter has no integers."""
        if np.any(where):
            filter_ = int(np.argmax(where))
            raise LoweringError(
                f"{name}: filter {filter_} maps accumulators to {line.factor[filter_]:.3g} acc + "
                f"{line.offset[filter_]:.3g} steps of its output, and no shift has multiplier and "
                "bias in their limits: the layer's range does not fit what it gives; measure it on "
                "more batches"
            )
