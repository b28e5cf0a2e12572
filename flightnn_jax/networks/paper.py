"""The paper's eight networks, at their own or another size."""

from typing import NamedTuple

from flightnn_jax.networks.layers import (
    Conv,
    Dense,
    GlobalAverage,
    Layer,
    MaxPool,
    Residual,
    Shape,
)
from flightnn_jax.networks.records import Network


class _Row(NamedTuple):
    """A row of the table that `network` looks up.

    Attributes:
      residual: whether it is a ResNet, or else a VGG.
      repeats: blocks a stage of a ResNet, convolutions a stage of a VGG.
      stages: their number; each is twice as wide as the one before.
      width: filters of the last stage, which the paper calls the width.
      classes: of the data set.
      size: height and width of its images.
    """

    residual: bool
    repeats: int
    stages: int
    width: int
    classes: int
    size: int = 32


_ROWS = {
    "net1": _Row(residual=False, repeats=2, stages=3, width=64, classes=10),
    "net2": _Row(residual=True, repeats=2, stages=4, width=128, classes=10),
    "net3": _Row(residual=False, repeats=2, stages=3, width=512, classes=10),
    "net4": _Row(residual=False, repeats=1, stages=3, width=64, classes=10),
    "net5": _Row(residual=False, repeats=1, stages=3, width=128, classes=10),
    "net6": _Row(residual=True, repeats=2, stages=4, width=128, classes=100),
    "net7": _Row(residual=True, repeats=2, stages=4, width=256, classes=100),
    "net8": _Row(residual=True, repeats=1, stages=4, width=256, classes=1000, size=224),
}

NAMES = tuple(_ROWS)


def network(
    name: str | int,
    *,
    width: int | None = None,
    classes: int | None = None,
    input_shape: Shape | None = None,
    slope_exponent: int = -3,
) -> Network:
    """One of the paper's networks, at its own or another size.

    Args:
      name: 'net1' to 'net8', or the paper's number.
      width: filters of the widest layer; the others keep their ratio to it. Figure 6 sweeps it.
      classes: number of classes; the paper's data set decides by default.
      input_shape: (height, width, channels) of an image; likewise.
      slope_exponent: of the leaky ReLU; -3 multiplies negative values by 1/8.

    Raises:
      ValueError: if the name is unknown, or a size does not fit.

    Example:
      >>> from flightnn_jax.networks import weight_count
      >>> net = network("net7", width=64)
      >>> net.classes, weight_count(net)
      (100, 180952)
    """
    key = f"net{name}" if isinstance(name, int) or name.isdecimal() else name
    if key not in _ROWS:
        raise ValueError(f"network {name!r} is unknown: choose one of {', '.join(NAMES)}")
    row = _ROWS[key]
    width = row.width if width is None else width
    classes = row.classes if classes is None else classes
    input_shape = (row.size, row.size, 3) if input_shape is None else tuple(input_shape)
    halvings = 2 ** (row.stages - 1)
    if width < halvings or width % halvings:
        raise ValueError(
            f"width={width}: the stages of {key} have 1/{halvings} to 1/1 of the width as filters, "
            f"so it must be a multiple of {halvings} (the paper's is {row.width})"
        )
    stages = tuple(width * 2**i // halvings for i in range(row.stages))
    layers = (_resnet if row.residual else _vgg)(row, stages, classes)
    return Network(key, input_shape, classes, layers, slope_exponent)


def _vgg(row: _Row, stages: Shape, classes: int) -> tuple[Layer, ...]:
    """Convolutions with a pool between stages, and a last convolution to the classes."""
    layers: list[Layer] = []
    for filters in stages:
        layers += [MaxPool()] * bool(layers) + [Conv(filters)] * row.repeats
    return (*layers, Conv(classes), GlobalAverage())


def _resnet(row: _Row, stages: Shape, classes: int) -> tuple[Layer, ...]:
    """A stem, residual blocks, and a dense layer; every stage but the first halves the image.

    With one block a stage, on large images, the stem is 7x7 with stride 2 and a pool, and the
    shortcuts between stages are 3x3 instead of 1x1: the paper does not say so, but only these
    shapes give its number of parameters.
    """
    large = row.repeats == 1
    layers: list[Layer] = [Conv(stages[0], 7, 2), MaxPool()] if large else [Conv(stages[0])]
    for filters in stages:
        block = plain = Residual(Conv(filters), Conv(filters))
        if filters != stages[0]:
            shortcut = Conv(filters, 3 if large else 1, 2)
            block = Residual(Conv(filters, stride=2), Conv(filters), shortcut)
        layers += [block] + [plain] * (row.repeats - 1)
    return (*layers, GlobalAverage(), Dense(classes))
