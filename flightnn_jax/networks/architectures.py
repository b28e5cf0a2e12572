"""Networks that others have published, and a perceptron, as records for images of any shape."""

import math

from flightnn_jax.networks.layers import (
    Conv,
    Dense,
    Flatten,
    GlobalAverage,
    Layer,
    MaxPool,
    Shape,
)
from flightnn_jax.networks.records import Network

# Filters and stride of MobileNet's blocks behind its stem of 32.
_BLOCKS = (
    *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)),
    *((512, 1),) * 5,
    *((1024, 2), (1024, 1)),
)
_SMALL = 64  # an image below it is as small as CIFAR's: the stem and the first step keep its size


def mobilenet(
    alpha: float = 1.0, *, classes: int = 1000, input_shape: Shape = (224, 224, 3)
) -> Network:
    """MobileNet V1: a stem and 13 pairs of a depthwise and a 1x1 convolution, with ReLU6.

    Howard et al. 2017. Images below 64 pixels keep their size in the stem and in the first of the
    later steps, as it is usual for CIFAR's.

    Args:
      alpha: how wide it is; every layer has at least 8 filters.
      classes: of the images.
      input_shape: (height, width, channels) of them.

    Example:
      >>> from flightnn_jax.networks import weight_count
      >>> weight_count(mobilenet())
      4209088
      >>> weight_count(mobilenet(0.25, classes=10, input_shape=(32, 32, 3)))
      210160
    """
    if not 0 < alpha <= 4:
        raise ValueError(f"alpha={alpha}: a MobileNet's width is above 0 and up to 4, such as 0.25")
    small = min(input_shape[:2]) < _SMALL

    def filters(usual: int) -> int:
        return max(8, round(usual * alpha))

    width = filters(32)
    layers: list[Layer] = [Conv(width, 3, 1 if small else 2, "relu6")]
    for usual, stride in _BLOCKS:
        stride = 1 if small and usual == 128 else stride
        layers.append(Conv(width, 3, stride, "relu6", groups=width))
        width = filters(usual)
        layers.append(Conv(width, 1, 1, "relu6"))
    layers += [GlobalAverage(), Dense(classes)]
    return Network(f"mobilenet_{alpha:g}", tuple(input_shape), classes, tuple(layers))


def alexnet(
    width: int = 4096, *, classes: int = 1000, input_shape: Shape = (224, 224, 3)
) -> Network:
    """AlexNet of one tower with batch norm, and ReLU.

    Krizhevsky et al. 2012; its two dense layers are 1x1 convolutions of all values.

    Args:
      width: of its dense layers.
      classes: of the images.
      input_shape: (height, width, channels) of them, 63 pixels or more.

    Example:
      >>> from flightnn_jax.networks import walk, weight_count
      >>> weight_count(alexnet())
      62367776
      >>> [step.output_shape for step in walk(alexnet())][-4]
      (1, 1, 9216)
    """
    layers = (
        *(Conv(96, 11, 4, "relu", padding=2), MaxPool(3, 2)),
        *(Conv(256, 5, activation="relu"), MaxPool(3, 2)),
        *(Conv(384, activation="relu"), Conv(384, activation="relu")),
        *(Conv(256, activation="relu"), MaxPool(3, 2)),
        *(Flatten(), Conv(width, 1, 1, "relu"), Conv(width, 1, 1, "relu"), Dense(classes)),
    )
    return Network("alexnet", tuple(input_shape), classes, layers)


def perceptron(*widths: int, classes: int, input_shape: Shape) -> Network:
    """Dense layers with batch norm and ReLU, one for each width, and a dense layer of the logits.

    Example:
      >>> from flightnn_jax.networks import weight_count
      >>> net = perceptron(64, 32, classes=10, input_shape=(8, 8, 3))
      >>> weight_count(net) == 8 * 8 * 3 * 64 + 64 * 32 + 32 * 10
      True
    """
    hidden = [Conv(width, 1, 1, "relu") for width in widths]
    layers: tuple[Layer, ...] = (Flatten(), *hidden, Dense(classes))
    return Network(
        f"perceptron_{'_'.join(map(str, widths or (math.prod(input_shape),)))}",
        tuple(input_shape),
        classes,
        layers,
    )
