"""What training left of a network, and what has become of it so far, as lowering reads both."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from flightnn_jax import activations, encoding, networks
from flightnn_jax.formats.base import Codes
from flightnn_jax.integer import affine as maps
from flightnn_jax.integer import certificate
from flightnn_jax.integer.certificate import Range
from flightnn_jax.integer.weights import LoweringError, Scaled

PyTree = Any


class Source(NamedTuple):
    """What a layer reads.

    Attributes:
      name: of the layer before, or `IMAGE`.
      exponent: its integers stand for multiples of 2**exponent.
      reach: what they can be.
      rounded: whether they are activations; logits otherwise.
    """

    name: str
    exponent: int
    reach: Range
    rounded: bool = True

    def accumulators(self, kernel: Scaled, conv: networks.Layer) -> Range:
        """What the accumulators of a convolution can be that reads it."""
        assert isinstance(conv, networks.Conv)
        inputs = certificate.padded(kernel.weights, self.reach, conv.around)
        return certificate.accumulators(kernel.weights, inputs, conv.groups)


@dataclasses.dataclass(frozen=True)
class Trained:
    """What training left.

    Attributes:
      encoded: parameters, with codes in place of what is quantized.
      batch_stats: running statistics by layer.
      ranges: of activations by layer.
      terms: see `affine_terms`.
      slope: of the leaky ReLU, as a shift.
      epsilon: of batch norm.
      signs: the convolutions that hand on signs, with what follows them.
      levels: of those that hand on levels, how many.
    """

    encoded: PyTree
    batch_stats: PyTree
    ranges: Mapping[str, Any]
    terms: int | None
    slope: int
    epsilon: float
    signs: Mapping[str, networks.Step]
    levels: Mapping[str, int]

    def kernel(self, name: str) -> Scaled:
        """The integers of a layer's kernel."""
        try:
            codes = self.encoded[name]["kernel"]
        except KeyError:
            raise LoweringError(f"{name}: the parameters have no kernel of that name") from None
        if not isinstance(codes, Codes):
            raise LoweringError(
                f"{name}: weights that are {type(codes).__name__}, not codes of a format: float "
                "weights (full precision) have no integers; train with another scheme"
            )
        try:
            return codes.to_weights()
        except LoweringError as error:
            raise LoweringError(f"{name}: {error}") from None

    def vector(self, name: str, part: str) -> np.ndarray:
        """A parameter that is a vector, quantized if the spec says so; float64."""
        values = np.asarray(encoding.decode_params(self.encoded[name][part]), np.float64)
        if not np.isfinite(values).all():
            raise LoweringError(f"{name}: its {part} is not finite")
        return values

    def line(self, name: str, kernel: Scaled, source: Source, exponent: int) -> maps.Line:
        """Batch norm of a convolution, or its bias; without weights a filter's offset alone."""
        unit = source.exponent + kernel.exponent
        if name not in self.batch_stats:
            offset = np.ldexp(self.vector(name, "bias"), -exponent)
            return maps.Line(np.ldexp(np.ones_like(offset), unit - exponent), offset, 0 * offset)
        stats = {part: np.asarray(x) for part, x in self.batch_stats[name].items()}
        scale, bias = self.vector(name, "scale"), self.vector(name, "bias")
        if name in self.signs and isinstance(self.signs[name].layer, networks.MaxPool):
            scale = np.abs(scale)
        line = maps.batch_norm(stats, scale, bias, self.epsilon, unit, exponent)
        if not np.isfinite(line).all():
            raise LoweringError(f"{name}: batch norm's statistics are not finite: {stats}")
        some = certificate.partial_sums(kernel.weights) > 0
        factor, middle = (np.where(some, part, 0.0) for part in (line.factor, line.middle))
        return maps.Line(factor, line.offset, middle)

    def step_exponent(self, name: str) -> int:
        """The exponent of the step of a layer's activations."""
        if name in self.levels:
            return activations.level_exponent(self.levels[name])
        if name not in self.ranges:
            raise LoweringError(
                f"{name}: it has no activation range: train with a scheme that "
                "quantizes activations"
            )
        return int(activations.activation_exponent(np.asarray(self.ranges[name], np.float32)))
