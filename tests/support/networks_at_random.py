"""Valid integer networks of random integers, with right certificates, of every kind of layer.

Not trained: what they compute means nothing, but their activations are spread over the whole
range, some filters are empty, and `extreme` ones have the affine maps that are allowed only just.
"""

import dataclasses
import functools
import math

import numpy as np

from flightnn_jax import networks
from flightnn_jax.integer import (
    IMAGE,
    Add,
    Affine,
    Average,
    BinaryWeights,
    CodebookWeights,
    Convolution,
    Dense,
    Flatten,
    IntegerNetwork,
    IntegerWeights,
    MaxPool,
    ShiftWeights,
    certificate,
    invariants,
    shapes,
)

KINDS = ("vgg", "resnet")  # "mobile" besides
# Of `random_networks`; "binary" and "codebook" besides.
WEIGHTS = ("shift1", "shift2", "shift3", "integer")


def random_network(
    seed=0, kind="vgg", weights="shift2", affine_terms=None, extreme=False, size=8, width=4, slope=3
):
    """A network that `check` accepts.

    Args:
      seed: of everything.
      kind: "vgg" (convolutions, pools, average as logits), "resnet" (large stem, both kinds of
        skips, an add of two activations, average, dense) or "mobile" (groups, depthwise layers,
        padding, pools of all windows, flat inputs).
      weights: "shift" and the most terms, "integer" or "binary".
      affine_terms: as in `IntegerNetwork`.
      extreme: multipliers of 0 and of both signs up to 2**15, biases up to 2**29, clips that
        always or never take hold, shifts from 0 to the largest.
      size: height and width of the image, a multiple of 4 (resnet: of 8).
      width: filters of the first layer, 2 or more.
      slope: of the leaky ReLU.
    """
    draw = _Draw(np.random.default_rng(seed), weights, affine_terms, extreme, slope)
    layers = {"vgg": _vgg, "resnet": _resnet, "mobile": _mobile}[kind](draw, size, width)
    classes = 5
    network = IntegerNetwork(
        name=f"random_{kind}",
        input_shape=(size, size, 3),
        layers=tuple(layers),
        slope=slope,
        affine_terms=affine_terms,
        output_exponent=-9,
        labels=tuple(f"class {i}" for i in range(classes)),
        provenance={"seed": seed, "kind": kind},
        golden=None,
    )
    network = certificate.certified(network)
    invariants.check(network)
    return network


def of_signs(network):
    """The network, of slope 1, whose convolutions but the last layer hand on -1, 0 and 1."""
    return _of_few(network, 1, -1)


def of_two_signs(network, seed=0):
    """The network, of slope 1, whose convolutions but the last layer hand on -1 and 1, never 0.

    A sign changes between two neighbouring sums, which become -5 and 3 quarters, or 3 and -5.
    """
    rng = np.random.default_rng(seed)
    for layer in network.layers[:-1]:
        if isinstance(layer, Convolution) and layer.shift is not None:
            *_, filters = layer.weights.shape
            change, up = rng.integers(-3, 3, filters), rng.choice([-1, 1], filters)
            numbers = (8 * up, -8 * up * change - 4 * up - 1, change, change + 1)
            affine = Affine(*(column.astype(np.int32) for column in numbers))
            shift = np.full(filters, 2, np.uint8)
            network = with_layer(network, layer.name, affine=affine, shift=shift)
    return certificate.certified(network)


def of_levels(network):
    """The network, whose convolutions but the last layer hand on 0 to 7."""
    return _of_few(network, 7, 0)


def _of_few(network, largest, sign):
    """Sums are clipped to 0 or -m and to m, and m becomes the largest activation."""
    for layer in network.layers[:-1]:
        if isinstance(layer, Convolution) and layer.shift is not None:
            *window, filters = layer.weights.shape
            most = max(1, int(math.prod(window) ** 0.5 / 2))
            numbers = (((10 * largest + 4) << 13) // (10 * most), 0, sign * most, most)
            affine = Affine(*(np.full(filters, x, np.int32) for x in numbers))
            shift = np.full(filters, 13, np.uint8)
            network = with_layer(network, layer.name, affine=affine, shift=shift)
    return certificate.certified(network)


def of_linear(network):
    """The network, every other of whose convolutions with activations keeps negative values."""
    layers = [x for x in network.layers if isinstance(x, Convolution) and x.shift is not None]
    for layer in layers[::2]:
        network = with_layer(network, layer.name, linear=True)
    return certificate.certified(network)


def random_chain(seed, shape=None, windows=(1, 3, 5, 7), weights=None):
    """A network of any number of today's layers, for an image of any shape.

    Args:
      seed: of everything.
      shape: (height, width, channels) of the image, or (channels,) for a dense layer alone; at
        random by default.
      windows: the sizes that convolutions may have.
      weights: of WEIGHTS; at random by default.
    """
    rng = np.random.default_rng(seed)
    shape = shape or (*rng.integers(1, 13, 2).tolist(), int(rng.choice([1, 2, 3, 5])))
    slope, terms = int(rng.integers(1, 8)), [None, 1, 2, 3][rng.integers(4)]
    draw = _Draw(rng, weights or str(rng.choice(WEIGHTS)), terms, bool(rng.random() < 0.3), slope)
    layers = _chain(draw, shape, windows) if len(shape) == 3 else [draw.dense(IMAGE, shape[0])]
    *_, last = layers
    network = IntegerNetwork(
        name=f"chain{seed}",
        input_shape=shape,
        layers=tuple(layers),
        slope=slope,
        affine_terms=terms,
        output_exponent=-9,
        labels=(),
        provenance={"seed": seed},
        golden=None,
    )
    classes = shapes.outputs(network)[last.name].shape[0]
    network = dataclasses.replace(network, labels=tuple(f"class {i}" for i in range(classes)))
    network = certificate.certified(network)
    invariants.check(network)
    return network


def random_windows(seed, shape=(5, 4, 4), own_padding=True, weights=None):
    """A network of groups, and of pools and padding of any kind, for a small image.

    Args:
      seed: of everything, the kind of weights as well.
      shape: (height, width, channels) of the image.
      own_padding: whether convolutions may have other padding than half of a window.
      weights: their kind; that of the seed by default.
    """
    rng = np.random.default_rng(seed)
    weights = weights or [*WEIGHTS, "binary"][seed % 5]
    draw = _Draw(rng, weights, None, False, 3)
    layers = _windows(draw, shape, own_padding)
    network = IntegerNetwork(
        name=f"windows{seed}",
        input_shape=shape,
        layers=tuple(layers),
        slope=3,
        affine_terms=None,
        output_exponent=-9,
        labels=tuple(f"class {i}" for i in range(5)),
        provenance={"seed": seed},
        golden=None,
    )
    network = certificate.certified(network)
    invariants.check(network)
    return network


def random_paper(name, width, size, weights="shift2", seed=0):
    """One of the paper's networks, at a width and for images of a size."""
    table = networks.network(name, width=width, input_shape=(size, size, 3))
    draw = _Draw(np.random.default_rng(seed), weights, None, False, 3)
    layers, source, channels, positions = [], IMAGE, 3, size * size

    def convolution(name, source, layer, channels, sums=False):
        shape = (name, source, layer.size, channels, layer.filters, layer.stride, sums)
        layers.append(draw.convolution(*shape))

    for i, layer in enumerate(table.layers):
        own = f"layer{i}"
        if isinstance(layer, networks.Conv):
            convolution(own, source, layer, channels)
            positions //= layer.stride**2
        elif isinstance(layer, networks.MaxPool):
            layers.append(MaxPool(own, source))
            positions //= 4
        elif isinstance(layer, networks.Residual):
            filters = layer.second.filters
            convolution(f"{own}_first", source, layer.first, channels)
            convolution(f"{own}_second", f"{own}_first", layer.second, filters, sums=True)
            skip = source
            if layer.shortcut is not None:
                skip = f"{own}_shortcut"
                convolution(skip, source, layer.shortcut, channels, sums=True)
            lifted = (False, layer.shortcut is None)
            layers.append(draw.add(own, (f"{own}_second", skip), filters, lifted))
            positions //= layer.first.stride**2
        elif isinstance(layer, networks.GlobalAverage):
            last = i == len(table.layers) - 1
            shift = None if last else positions.bit_length() - 2
            layers.append(Average(own, source, shift, -9))
        else:
            layers.append(draw.dense(source, channels, layer.units))
        source = layers[-1].name
        channels = getattr(layer, "filters", channels)
        if isinstance(layer, networks.Residual):
            channels = layer.second.filters
    labels = tuple(f"class {i}" for i in range(table.classes))
    network = IntegerNetwork(
        name, (size, size, 3), tuple(layers), 3, None, -9, labels, {"seed": seed}, None
    )
    network = certificate.certified(network)
    invariants.check(network)
    return network


@functools.cache
def random_networks():
    """One of each kind, as (name, network) pairs, small enough for slow interpreters."""
    return tuple(_one_of_each())


def _one_of_each():
    for kind in KINDS:
        for i, weights in enumerate(WEIGHTS):
            for extreme in (False, True):
                terms = (None, 1, 2, 3)[i]
                for affine_terms in dict.fromkeys((None, terms)):
                    name = f"{kind}-{weights}-{affine_terms}{'-extreme' * extreme}"
                    yield name, random_network(i, kind, weights, affine_terms, extreme)


def with_layer(network, name, /, **changes):
    """The network with some fields of one layer replaced; certificates are left alone."""
    layers = [
        dataclasses.replace(layer, **changes) if layer.name == name else layer
        for layer in network.layers
    ]
    return dataclasses.replace(network, layers=tuple(layers))


def random_images(network, count=3, seed=0):
    """[count, *input_shape] uint8: noise, and images of extremes."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, *network.input_shape), np.uint8)
    for image, value in zip(images[1:], (0, 255), strict=False):
        image[:] = value
    return images


def output_of(network, name):
    """The shape of a layer's output and its type."""
    output = shapes.outputs(network)[name]
    return output.shape, np.int32 if output.sums else np.int8


@dataclasses.dataclass
class _Draw:
    """Draws layers."""

    rng: np.random.Generator
    weights: str
    affine_terms: int | None
    extreme: bool
    slope: int

    def weights_of(self, shape):
        filters = shape[-1]
        if self.weights == "integer":
            return IntegerWeights(self.rng.integers(-8, 8, shape).astype(np.int8))
        if self.weights == "codebook":
            levels = np.sort(self.rng.choice(np.arange(-128, 128), 5, replace=False))
            index = self.rng.integers(0, 5, shape, np.uint8)
            return CodebookWeights(levels.astype(np.int8), index)
        if self.weights == "binary":
            return BinaryWeights(self.rng.integers(0, 2, shape, np.uint8))
        most = int(self.weights[-1])
        k = self.rng.integers(0, most + 1, filters).astype(np.uint8)
        k[0] = most
        there = np.stack([np.broadcast_to(k > j, shape) for j in range(most)])
        sign = self.rng.choice(np.array([-1, 1], np.int8), there.shape) * there.astype(np.int8)
        shift = self.rng.integers(0, 8, there.shape).astype(np.uint8) * there.astype(np.uint8)
        return ShiftWeights(sign, shift, k)

    def affine(self, weights, most_v):
        """The map and the shift of the activation behind it."""
        filters = weights.shape[-1]
        acc = certificate.accumulators(weights)
        reach = np.maximum(acc.high, 1)
        if self.extreme:
            multiplier = self.rng.choice([0, 1, -1, 1 << 15, -(1 << 15), 12288, -77], filters)
            bias = self.rng.choice([0, 1 << 29, -(1 << 29), 12345, -1], filters)
            bias = np.clip(bias, -(most_v // 2), most_v // 2)
            shift = self.rng.integers(0, 31 - self.slope, filters)
        else:
            shift = self.rng.integers(8, 15, filters)
            multiplier = ((300 << shift) / reach).astype(np.int64) + 1
            multiplier *= self.rng.choice([-1, 1, 1], filters)
            bias = self.rng.integers(-(40 << 8), 40 << 8, filters)
        multiplier = _of_powers(np.clip(multiplier, -(1 << 15), 1 << 15), self.affine_terms)
        steps = np.maximum(np.abs(multiplier), 1)
        largest = np.minimum((most_v - np.abs(bias)) // steps, (1 << 31) - 1)
        low, high = np.clip(acc.low, -largest, largest), np.clip(acc.high, -largest, largest)
        if self.extreme:
            narrow = self.rng.random(filters) < 0.3
            low, high = np.where(narrow, high // 3, low), np.where(narrow, high // 2, high)
            unused = multiplier == 0
            low = np.where(unused, -(1 << 31), low)
            high = np.where(unused, (1 << 31) - 1, high)
        parts = (np.asarray(part, np.int32) for part in (multiplier, bias, low, high))
        return Affine(*parts), shift.astype(np.uint8)

    def convolution(
        self, name, source, size, inputs, filters, stride=1, sums=False, groups=1, padding=None
    ):
        weights = self.weights_of((size, size, inputs // groups, filters))
        affine, shift = self.affine(weights, (1 << 29) - 1 if sums else (1 << 30) - 1)
        none = np.zeros((filters, 10), np.int32)
        shift = None if sums else shift
        kind = (groups, padding)
        return Convolution(name, source, stride, weights, -9, affine, shift, -5, none, *kind)

    def add(self, name, inputs, channels, lifted):
        shift = self.rng.integers(8, 17, channels).astype(np.uint8)
        lift = self.rng.integers(3, 22 if self.extreme else 12, (2, channels)).astype(np.uint8)
        lifts = tuple(row if has else None for row, has in zip(lift, lifted, strict=True))
        return Add(name, inputs, lifts, shift, -4, np.zeros((channels, 3), np.int32))

    def dense(self, source, inputs, units=5):
        weights = self.weights_of((inputs, units))
        bias = self.rng.integers(-1000, 1000, units).astype(np.int32)
        return Dense("dense", source, weights, -8, bias, np.zeros((units, 10), np.int32))


def _chain(draw, shape, windows):
    """Up to five convolutions, pools and residual blocks, an average, and perhaps a dense layer."""
    rng, source, layers = draw.rng, IMAGE, []
    height, width, channels = shape
    for i in range(rng.integers(0, 6)):
        size, filters = int(rng.choice(windows)), int(rng.integers(1, 9))
        stride = int(rng.choice([1, 1, 2, 3]))
        kind = rng.choice(["conv", "pool", "residual"])
        if kind == "pool" and height % 2 == width % 2 == 0:
            layers.append(MaxPool(f"pool{i}", source))
            stride, filters = 2, channels
        elif kind == "residual":
            skips = stride == 1 and rng.random() < 0.5
            filters = channels if skips else filters
            first, second, shortcut = (f"block{i}_{part}" for part in ("first", "second", "short"))
            layers += [
                draw.convolution(first, source, size, channels, filters, stride),
                draw.convolution(second, first, 3, filters, filters, sums=True),
            ]
            if not skips:
                convolution = draw.convolution(shortcut, source, 1, channels, filters, stride, True)
                layers.append(convolution)
            inputs = (second, source if skips else shortcut)
            layers.append(draw.add(f"block{i}", inputs, filters, (False, skips)))
        else:
            layers.append(draw.convolution(f"conv{i}", source, size, channels, filters, stride))
        source, channels = layers[-1].name, filters
        height, width = (-(-n // stride) for n in (height, width))
    if rng.random() < 0.5:
        return [*layers, Average("average", source, None, -9)]
    shift = int(rng.integers(-2, 8))
    return [*layers, Average("average", source, shift, -4), draw.dense("average", channels)]


def _windows(draw, shape, own_padding):
    """Three convolutions, of which the second is depthwise and the third in groups, and two pools.

    Behind them all values in a row, and a dense layer.
    """
    rng, source, layers = draw.rng, IMAGE, []
    *sides, channels = shape
    for name in ("pool0", "conv1", "conv2", "pool2", "conv3"):
        size, stride = int(rng.choice([1, 3, 3, 5])), int(rng.choice([1, 1, 2, 3]))
        padding, usual = int(rng.integers(0, size)), size // 2
        if name.startswith("pool"):
            layers.append(MaxPool(name, source, size, stride, max(padding, usual)))
        else:
            kept = padding if own_padding and min(sides) + 2 * padding >= size else usual
            groups = {"conv1": 1, "conv2": channels, "conv3": 2}[name]
            filters = {"conv1": 6, "conv2": channels, "conv3": 4}[name]
            layer = draw.convolution(
                *(name, source, size, channels, filters, stride),
                groups=groups,
                padding=None if kept == usual else kept,
            )
            layers.append(layer)
            channels = filters
            padding = usual = kept
        sides = [(n + 2 * max(padding, usual) - size) // stride + 1 for n in sides]
        source = name
    return [
        *layers,
        Flatten("flat1", source, 1),
        draw.dense("flat1", channels * sides[0] * sides[1]),
    ]


def _of_powers(values, terms):
    """Values rounded greedily to so many signed powers of two."""
    if terms is None:
        return values
    total = np.zeros(values.shape, np.int64)
    for _ in range(terms):
        rest = (values - total).astype(np.float64)
        power = np.exp2(np.floor(np.log2(np.maximum(np.abs(rest), 1)) + 0.5))
        total = total + (np.sign(rest) * power).astype(np.int64)
    return np.clip(total, -(1 << 15), 1 << 15)


def _vgg(draw, size, width):
    del size
    return [
        draw.convolution("conv1", IMAGE, 3, 3, width),
        MaxPool("pool1", "conv1"),
        draw.convolution("conv2", "pool1", 5, width, 2 * width, stride=2),
        draw.convolution("conv3", "conv2", 1, 2 * width, 5),
        Average("average", "conv3", None, -9),
    ]


def _mobile(draw, size, width):
    """For images of 8x8 at least; a width of 2 or more."""
    return [
        draw.convolution("conv1", IMAGE, 3, 3, 2 * width, padding=2),
        MaxPool("pool1", "conv1", 3, 1, 1),
        draw.convolution("conv2", "pool1", 3, 2 * width, 2 * width, groups=2 * width),
        draw.convolution("conv3", "conv2", 1, 2 * width, 2 * width),
        draw.convolution("conv4", "conv3", 3, 2 * width, 4 * width, 2, groups=width, padding=0),
        draw.convolution("conv5", "conv3", 3, 2 * width, 4 * width, 2, True, 2, 0),
        draw.add("both", ("conv5", "conv4"), 4 * width, (False, True)),
        draw.convolution("conv6", "both", 1, 4 * width, 16, padding=None),
        draw.convolution("conv7", "conv6", 3, 16, 32, groups=2),
        MaxPool("pool2", "conv7", 2, 1),
        Flatten("flat1", "pool2", 3),
        draw.convolution("conv8", "flat1", 1, 32 * (size // 2 - 1) ** 2, 6),
        Flatten("flat2", "conv8", 1),
        draw.dense("flat2", 6),
    ]


def _resnet(draw, size, width):
    positions = (size // 8) ** 2
    return [
        draw.convolution("conv1", IMAGE, 7, 3, width, stride=2),
        MaxPool("pool1", "conv1"),
        draw.convolution("block1_first", "pool1", 3, width, width),
        draw.convolution("block1_second", "block1_first", 3, width, width, sums=True),
        draw.add("block1", ("block1_second", "pool1"), width, (False, True)),
        draw.convolution("block2_first", "block1", 3, width, 2 * width, stride=2),
        draw.convolution("block2_second", "block2_first", 3, 2 * width, 2 * width, sums=True),
        draw.convolution("block2_shortcut", "block1", 1, width, 2 * width, 2, sums=True),
        draw.add("block2", ("block2_second", "block2_shortcut"), 2 * width, (False, False)),
        draw.add("both", ("block2", "block2_first"), 2 * width, (True, True)),
        Average("average", "both", positions.bit_length() - 2, -4),
        draw.dense("average", 2 * width),
    ]
