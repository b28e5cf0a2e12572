"""The integer network as records of NumPy arrays. docs/integers.md says what they compute.

No JAX: whoever loads a network needs NumPy alone.
"""

import dataclasses
from typing import Any

import numpy as np

from flightnn_jax.integer.limits import Shape
from flightnn_jax.integer.weights import Weights


class _OneInput:
    """A layer that reads one tensor."""

    input: str

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names that the layer reads."""
        return (self.input,)


@dataclasses.dataclass(frozen=True)
class Affine:
    """What turns accumulators into v: clip(acc, low, high) * multiplier + bias, for each filter.

    Attributes:
      multiplier: [filters] int32.
      bias: [filters] int32.
      low: [filters] int32.
      high: [filters] int32, not below `low`.
    """

    multiplier: np.ndarray
    bias: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclasses.dataclass(frozen=True)
class Convolution(_OneInput):
    """A convolution and its affine map, and the activation behind it unless an `Add` follows.

    Attributes:
      name: its own.
      input: name of the layer that it reads, or 'image'.
      stride: in both directions.
      weights: [size, size, inputs, filters].
      weight_exponent: a weight stands for its integer times 2**weight_exponent.
      affine: see `Affine`.
      shift: [filters] uint8, of the activation; None where the output is sums.
      exponent: activations stand for a 2**exponent; for sums, that of the `Add` behind.
      certificate: [filters, 10] int32, the columns of docs/integers.md.
      groups: of channels and filters; those of a group read those of the same group alone.
      padding: zeros on each side of the input; None for half of the window, as many as it takes.
      linear: whether activations keep negative values as they are; without it they are those of
        a leaky ReLU.
    """

    name: str
    input: str
    stride: int
    weights: Weights
    weight_exponent: int
    affine: Affine
    shift: np.ndarray | None
    exponent: int
    certificate: np.ndarray
    groups: int = 1
    padding: int | None = None
    linear: bool = False

    @property
    def output(self) -> str:
        """What it gives: "sum", "linear" or "activation"."""
        if self.shift is None:
            return "sum"
        return "linear" if self.linear else "activation"

    def slope_of(self, slope: int) -> int:
        """By how much further negative values are shifted, in a network of this slope."""
        return 0 if self.linear else slope

    @property
    def around(self) -> int:
        """Zeros on each side."""
        return self.weights.shape[0] // 2 if self.padding is None else self.padding

    @property
    def is_plain(self) -> bool:
        """Whether there is one group, and zeros for half of a window around it."""
        return self.groups == 1 and self.padding is None


@dataclasses.dataclass(frozen=True)
class Add:
    """The sum of two tensors of one shape, and the activation behind it.

    Attributes:
      name: its own.
      inputs: two names.
      lift: for each input [channels] uint8 where it is activations, None where it is sums.
      shift: [channels] uint8.
      exponent: of the output.
      certificate: [channels, 3] int32.
    """

    name: str
    inputs: tuple[str, str]
    lift: tuple[np.ndarray | None, np.ndarray | None]
    shift: np.ndarray
    exponent: int
    certificate: np.ndarray


@dataclasses.dataclass(frozen=True)
class MaxPool(_OneInput):
    """The largest of each window, of what lies inside of the input.

    Attributes:
      name: its own.
      input: name of activations.
      size: of the window, in both directions.
      stride: likewise.
      padding: places on each side of the input, in which nothing counts.
    """

    name: str
    input: str
    size: int = 2
    stride: int = 2
    padding: int = 0

    @property
    def is_plain(self) -> bool:
        """Whether its windows are 2x2 squares beside each other."""
        return (self.size, self.stride, self.padding) == (2, 2, 0)


@dataclasses.dataclass(frozen=True)
class Flatten(_OneInput):
    """All values of an input in one row, channel after channel of pixel after pixel.

    Attributes:
      name: its own.
      input: name of activations with height, width and channels.
      axes: of the output: 1, or 3 for one pixel of so many channels.
    """

    name: str
    input: str
    axes: int


@dataclasses.dataclass(frozen=True)
class Average(_OneInput):
    """The sum over all positions, rounded to activations unless it is the logits.

    Attributes:
      name: its own.
      input: name of activations.
      shift: to the right, negative for the left; None where the sums are the output.
      exponent: of the output.
    """

    name: str
    input: str
    shift: int | None
    exponent: int


@dataclasses.dataclass(frozen=True)
class Dense(_OneInput):
    """A matrix and a bias, which give the logits.

    Attributes:
      name: its own.
      input: name of activations without height and width.
      weights: [inputs, units].
      weight_exponent: as in `Convolution`.
      bias: [units] int32.
      certificate: [units, 10] int32.
    """

    name: str
    input: str
    weights: Weights
    weight_exponent: int
    bias: np.ndarray
    certificate: np.ndarray


Layer = Convolution | Add | MaxPool | Average | Dense | Flatten


@dataclasses.dataclass(frozen=True)
class Golden:
    """A few images and what every layer gives for them.

    Attributes:
      images: [n, height, width, channels] uint8.
      outputs: for each layer's name [n, *shape of its output] int8 or int32.
    """

    images: np.ndarray
    outputs: dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Digests:
    """What every layer gives for many more images, as SHA-256 in lower-case hexadecimal.

    Attributes:
      images: how many; they follow from the golden images and the seed.
      seed: a whole number below 2**32.
      outputs: for each layer's name the digest of its outputs.
      sums: that of v before rounding, for each convolution with an activation and each add.
    """

    images: int
    seed: int
    outputs: dict[str, str]
    sums: dict[str, str]


@dataclasses.dataclass(frozen=True)
class IntegerNetwork:
    """A network in integers.

    Attributes:
      name: such as 'net1'.
      input_shape: (height, width, channels) of an image of bytes.
      layers: in the order of computation; the last one's output are the logits.
      slope: the leaky ReLU multiplies negative values by 2**-slope.
      affine_terms: every multiplier is a sum of at most so many signed powers of two; None
        where multipliers are any integers.
      output_exponent: real logits are logits times 2**output_exponent.
      labels: a text for each class.
      provenance: where the network comes from: texts and numbers by name.
      golden: images with all layers' outputs; None for none.
      digests: of many more images; None for none, and where there are no golden images.
    """

    name: str
    input_shape: Shape
    layers: tuple[Layer, ...]
    slope: int
    affine_terms: int | None
    output_exponent: int
    labels: tuple[str, ...]
    provenance: dict[str, Any]
    golden: Golden | None
    digests: Digests | None = None

    @property
    def weighted(self) -> tuple[Convolution | Dense, ...]:
        """The layers that have weights."""
        return tuple(layer for layer in self.layers if isinstance(layer, Convolution | Dense))

    @property
    def rounded(self) -> tuple[Convolution | Add, ...]:
        """The layers whose v is rounded to activations."""
        layers = (layer for layer in self.layers if isinstance(layer, Convolution | Add))
        return tuple(layer for layer in layers if layer.shift is not None)
