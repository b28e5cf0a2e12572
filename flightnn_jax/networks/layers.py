"""The layers of a network as records, and the shape that each gives. No JAX."""

import dataclasses
from typing import Any

Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Conv:
    """A convolution without bias, then batch norm.

    An activation and its quantizer follow; in a `Residual` the second convolution and the shortcut
    are summed before them.

    Attributes:
      filters: number of output channels.
      size: height and width of the window, odd.
      stride: step of the window in both directions.
      padding: zeros on each side of the image, below `size`; None for size // 2.
      groups: of channels and filters, which must divide both; filters read the channels of their
        own group. As many as channels make a depthwise convolution.
      activation: "leaky", the leaky ReLU of the network; "relu"; "relu6", which ends at 6; or
        "none", which keeps negative values as they are.
      norm: whether there is batch norm; without it a bias is added.
    """

    filters: int
    size: int = 3
    stride: int = 1
    activation: str = "leaky"
    norm: bool = True
    padding: int | None = None
    groups: int = 1

    @property
    def around(self) -> int:
        """Zeros on each side."""
        return self.size // 2 if self.padding is None else self.padding


@dataclasses.dataclass(frozen=True)
class MaxPool:
    """The largest value of each window, of those that lie inside of the image.

    Attributes:
      size: height and width of the window. For 2x2 squares height and width must be even.
      stride: step of the window in both directions.
      padding: places on each side of the image, below `size`.
    """

    size: int = 2
    stride: int = 2
    padding: int = 0

    @property
    def is_plain(self) -> bool:
        """Whether its windows are 2x2 squares beside each other."""
        return (self.size, self.stride, self.padding) == (2, 2, 0)


@dataclasses.dataclass(frozen=True)
class AveragePool:
    """The sum of each window, divided by the power of two that is not below its places.

    That is the average of 1, 2x2 and 4x4 places, and less of others; the weights behind it take up
    the factor. Its output is quantized with a range of its own, to the nearest step, ties to the
    even one. In integers it is a depthwise convolution of ones, whose output is linear where what
    it reads may be negative.

    Attributes:
      size: height and width of the window.
      stride: step of the window in both directions.
      padding: zeros on each side of the image, below `size`; they count as places.
    """

    size: int = 2
    stride: int = 2
    padding: int = 0

    @property
    def shift(self) -> int:
        """By which the sum goes to the right."""
        return (self.size**2 - 1).bit_length()


@dataclasses.dataclass(frozen=True)
class Flatten:
    """All values as channels of one pixel: a 1x1 `Conv` behind it is a dense layer with norm."""


@dataclasses.dataclass(frozen=True)
class Residual:
    """Two convolutions and a shortcut around them.

    The output is quantize(leaky(norm(second(h)) + s)), h = quantize(leaky(norm(first(x)))), where
    s is x, or norm(shortcut(x)).

    Attributes:
      first: the convolution that carries the block's stride.
      second: the one whose output meets the shortcut.
      shortcut: None where the input is added as it is.
    """

    first: Conv
    second: Conv
    shortcut: Conv | None = None


@dataclasses.dataclass(frozen=True)
class GlobalAverage:
    """The sum over all positions, divided by the power of two that is not below their number.

    That is the average wherever height x width is a power of two, as in networks 1 to 7. Network
    8 ends at 7x7: its sums are divided by 64 instead of 49, so that hardware needs a shift only;
    the weights of the dense layer behind take up the constant factor.
    """


@dataclasses.dataclass(frozen=True)
class Dense:
    """A matrix and a bias; the outputs are the logits, neither normalised nor quantized.

    Attributes:
      units: number of outputs.
    """

    units: int


Layer = Conv | MaxPool | AveragePool | Residual | GlobalAverage | Flatten | Dense
ACTIVATIONS = ("leaky", "relu", "relu6", "none")
LATER: dict[type, tuple[str, ...]] = {
    Conv: ("activation", "norm", "padding", "groups"),
    MaxPool: ("size", "stride", "padding"),
}
"""Fields that JSON has only where they are not the default."""

KINDS = {
    Conv: "conv",
    MaxPool: "pool",
    AveragePool: "mean",
    Residual: "block",
    GlobalAverage: "average",
    Flatten: "flat",
    Dense: "dense",
}
"""What JSON and the names of layers call them."""


def is_count(value: Any) -> bool:
    """Whether a value is a whole number above 0."""
    return type(value) is int and value >= 1


def _check_sizes(name: str, layer: Layer) -> None:
    """What a layer's own numbers must be."""
    others = ("activation", "norm", "padding")
    sizes = [value for part, value in vars(layer).items() if part not in others]
    if not all(map(is_count, sizes)) or (isinstance(layer, Conv) and layer.size % 2 == 0):
        raise ValueError(
            f"{name}: {layer}: filters, units, size, stride and groups are whole numbers above 0, "
            "and a window has an odd size (1, 3, 5, ...), so that it has a middle"
        )
    if isinstance(layer, Conv) and (
        layer.activation not in ACTIVATIONS or type(layer.norm) is not bool
    ):
        raise ValueError(
            f"{name}: activation={layer.activation!r} and norm={layer.norm!r}: an activation is "
            f"one of {', '.join(ACTIVATIONS)}, and norm True or False"
        )
    padding = layer.padding if isinstance(layer, Conv | MaxPool | AveragePool) else None
    if padding is not None and (type(padding) is not int or not 0 <= padding < vars(layer)["size"]):
        raise ValueError(f"{name}: {layer}: padding is from 0 to the window's size - 1")


def output_shape(name: str, layer: Layer, shape: Shape) -> Shape:
    """What a layer gives for an input of a shape.

    Raises:
      ValueError: if they do not fit; it names the layer and what to do.
    """
    _check_sizes(name, layer)
    if isinstance(layer, Dense):
        if len(shape) != 1 and shape[:2] != (1, 1):
            raise ValueError(
                f"{name}: a dense layer on the shape {shape}: put GlobalAverage() before it, or "
                "Flatten()"
            )
        return (layer.units,)
    if len(shape) != 3:
        raise ValueError(
            f"{name}: it needs (height, width, channels), but its input has the shape {shape}: "
            "behind GlobalAverage() there can be a Dense layer only"
        )
    height, width, channels = shape
    if isinstance(layer, Conv):
        if channels % layer.groups or layer.filters % layer.groups:
            raise ValueError(
                f"{name}: {channels} channels and {layer.filters} filters in {layer.groups} "
                "groups: the number of groups divides both"
            )
        return (*_windows(name, (height, width), layer, layer.around), layer.filters)
    if isinstance(layer, MaxPool):
        if layer.is_plain and (height % 2 or width % 2):
            raise ValueError(
                f"{name}: a 2x2 pool on {height}x{width}: height and width must be even; leave "
                "the pool out, give the convolution before it stride=2 instead, or choose an input "
                "shape that stays even down to this layer"
            )
        return (*_windows(name, (height, width), layer, layer.padding), channels)
    if isinstance(layer, AveragePool):
        padded_window(name, layer, shape)
        return (*_windows(name, (height, width), layer, layer.padding), channels)
    return (1, 1, height * width * channels) if isinstance(layer, Flatten) else (channels,)


def padded_window(name: str, pool: AveragePool, shape: Shape) -> tuple[int, int, int]:
    """A window of odd size with the same places and zeros: its size, padding, and first place.

    A window of even size has a row and a column of zeros more, before or behind its own, whichever
    leaves as many windows.
    """
    if pool.size % 2:
        return pool.size, pool.padding, 0
    rests = [(length + 2 * pool.padding - pool.size) % pool.stride for length in shape[:2]]
    if all(rest != pool.stride - 1 for rest in rests):
        return pool.size + 1, pool.padding + 1, 1
    if all(rests):
        return pool.size + 1, pool.padding, 0
    raise ValueError(
        f"{name}: {pool} on {shape[0]}x{shape[1]}: a window of even size with this stride has no "
        "odd one beside it that leaves as many: take an odd size, or a stride of 2 on an even image"
    )


def _windows(name: str, shape: Shape, layer: Conv | MaxPool | AveragePool, around: int) -> Shape:
    """How many windows there are along each axis."""
    if min(shape) + 2 * around < layer.size:
        raise ValueError(
            f"{name}: a window of {layer.size}x{layer.size} on {shape[0]}x{shape[1]} with {around} "
            "around it: make the window smaller, the image larger, or the padding wider"
        )
    return tuple((length + 2 * around - layer.size) // layer.stride + 1 for length in shape)
