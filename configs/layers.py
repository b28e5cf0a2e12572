"""Networks of further layers: MobileNet, AlexNet, a perceptron and others, in shift weights.

    python -m launch.train --config=configs/layers.py:mobilenet,digits --workdir=/tmp/mobile
    python -m launch.lower --workdir=/tmp/mobile
    python -m launch.verify --run=/tmp/mobile
    python -m launch.check /tmp/mobile/integers.safetensors
    python -m launch.estimate --integers=/tmp/mobile/integers.safetensors

ARGUMENTS: a network (mobilenet, alexnet, perceptron or bottlenecks), a data set (digits, cifar10 or
imagenet2012, which AlexNet needs), and if you like `smoke`, a run of a few steps, and `224`, for
ImageNet's photographs at 224x224 in place of 64x64. A MobileNet has alpha 0.25, and a scale for
each filter, which its depthwise layers of nine weights a filter need. The network `bottlenecks` has
MobileNetV2's blocks without their sums: a 1x1 and a depthwise convolution with ReLU6, and a 1x1
convolution without activation; an average pool reads the last.
"""

from flightnn_jax import networks
from flightnn_jax.networks import AveragePool, Conv, Dense, GlobalAverage, Layer, Network, Shape
from flightnn_jax.training.config import Config

_CLASSES = {"digits": 10, "cifar10": 10, "imagenet2012": 1000}
_SIZES = {"digits": 16, "cifar10": 32, "imagenet2012": 64}


def get_config(arguments: str = "mobilenet,digits") -> Config:
    """The config for "NETWORK,DATASET", with ",smoke" and ",224" if wanted."""
    name, dataset, *rest = (arguments or "mobilenet,digits").split(",")
    photographs = dataset == "imagenet2012"
    known = {"smoke", "224"} if photographs else {"smoke"}
    if dataset not in _CLASSES or set(rest) - known or len(rest) > len(set(rest)):
        raise ValueError(
            f"{arguments!r}: NETWORK,DATASET, with a data set of {', '.join(_CLASSES)}; behind "
            "them smoke if wanted, and 224 with imagenet2012"
        )
    size = 224 if "224" in rest else _SIZES[dataset]
    shape, classes = (size, size, 3), _CLASSES[dataset]
    if name == "mobilenet":
        network = networks.mobilenet(0.25, classes=classes, input_shape=shape)
    elif name == "alexnet":
        network = networks.alexnet(classes=classes, input_shape=shape)
    elif name == "perceptron":
        network = networks.perceptron(128, 64, classes=classes, input_shape=shape)
    elif name == "bottlenecks":
        network = _bottlenecks(classes, shape)
    else:
        raise ValueError(f"network {name!r}: choose mobilenet, alexnet, perceptron or bottlenecks")
    config = Config(
        network=network,
        dataset=dataset,
        image_size=None if dataset == "cifar10" else size,
        scheme="lightnn2",
        filter_scales=True,
        epochs=12,
        batch_size=32 if dataset == "digits" else 128,
        learning_rate=3e-3,
    )
    if "smoke" in rest:
        return config.override({"epochs": "2", "batch_size": "128"})
    return config


def _bottlenecks(classes: int, shape: Shape) -> Network:
    layers: list[Layer] = [Conv(8, 3, 1, "relu6")]
    width = 8
    for filters, stride in ((8, 1), (16, 2), (16, 1)):
        layers += [
            Conv(4 * width, 1, 1, "relu6"),
            Conv(4 * width, 3, stride, "relu6", groups=4 * width),
            Conv(filters, 1, 1, "none"),
        ]
        width = filters
    layers += [AveragePool(), Conv(64, 1, 1, "relu6"), GlobalAverage(), Dense(classes)]
    return Network("bottlenecks", shape, classes, tuple(layers))
