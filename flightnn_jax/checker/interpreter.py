"""Runs an integer network on byte images, in int64 and as the document says, layer by layer.

Only the sums of convolutions and dense layers leave int64: they are float64 matrix products, which
are exact. A weight is at most 3 x 128 and an activation at most 128 in absolute value, and a
network has at most 2^26 weights, so that every partial sum, in whatever order, is below 2^42, and
float64 holds every integer up to 2^53.
"""

from collections.abc import Callable, Iterator

import numpy as np

from flightnn_jax.checker.manifest import (
    Add,
    Average,
    Conv,
    Dense,
    Flatten,
    Layer,
    MaxPool,
    is_rounded,
    slope_of,
)
from flightnn_jax.checker.reader import Network
from flightnn_jax.checker.weights import matrix


def run(network: Network, images: np.ndarray) -> dict[str, np.ndarray]:
    """Every layer's output for a batch of images.

    Args:
      network: one that the checker accepts; others may need more than 64 bits.
      images: uint8 [batch, *input_shape]. All outputs are kept, so take few at a time.

    Returns:
      int64 [batch, *shape] by the layer's name, in the order of the layers: the last one is the
      logits.

    Raises:
      ValueError: if the images are not bytes, or of another shape.
    """
    return {name: output for name, _, output in trace(network, images)}


def trace(
    network: Network, images: np.ndarray
) -> Iterator[tuple[str, np.ndarray | None, np.ndarray]]:
    """Runs a network layer by layer; arguments and errors are those of `run`.

    Yields:
      For each layer its name, v where activations are made of sums, else None, and its output.
    """
    shape = network.manifest.input_shape
    if images.dtype != np.uint8 or images.ndim == 0 or images.shape[1:] != shape:
        raise ValueError(
            f"images are {images.dtype} {list(images.shape)}: the network takes uint8 "
            f"[batch, {', '.join(map(str, shape))}]"
        )
    values = {"image": images.astype(np.int64) - 128}
    for layer in network.manifest.layers:
        output, v = _RUN[type(layer)](network, layer, values), None
        if is_rounded(layer):
            v, shift = output, network.tensors[f"{layer.name}.shift"]
            output = activate(v, shift, slope_of(layer, network.manifest))
        values[layer.name] = output
        yield layer.name, v, output


def classify(network: Network, images: np.ndarray, batch: int = 25) -> np.ndarray:
    """The class of each image: the index of its largest logit, the first of equal ones.

    Args:
      network: one that the checker accepts.
      images: uint8 [count, *input_shape].
      batch: how many images are run at a time.

    Returns:
      int64 [count].
    """
    name = network.manifest.layers[-1].name
    classes = [
        run(network, images[i : i + batch])[name].argmax(axis=1)
        for i in range(0, len(images), batch)
    ]
    return np.concatenate([np.empty(0, np.int64), *classes])


def even(v: np.ndarray, n: np.ndarray | int) -> np.ndarray:
    """The integer nearest to v / 2^n, of two the even one.

    Args:
      v: int64.
      n: 0 to 30, of a shape that spreads over v.

    Returns:
      int64: the floor, and one more if the rest is over a half, or a half and the floor is odd.

    Example:
      >>> even(np.array([-3, -1, 1, 3, 5]), 1).tolist()
      [-2, 0, 0, 2, 2]
    """
    floor = v >> n
    rest = v - (floor << n)
    return floor + (2 * rest + (floor & 1) > np.left_shift(1, n))


def activate(v: np.ndarray, shift: np.ndarray, slope: int) -> np.ndarray:
    """The leaky ReLU, a shift, rounding and saturation.

    Args:
      v: int64 [.., channels].
      shift: [channels].
      slope: how much further negative values are shifted.

    Returns:
      int64, -128 to 127.

    Example:
      >>> activate(np.array([[-64, 6, 9000]]), np.array([2, 2, 2]), 3).tolist()
      [[-2, 2, 127]]
    """
    per_value = np.broadcast_to(shift.astype(np.int64), v.shape)
    return np.clip(even(v, per_value + slope * (v < 0)), -128, 127)


def _conv(network: Network, layer: Conv, values: dict[str, np.ndarray]) -> np.ndarray:
    def tensor(name: str) -> np.ndarray:
        return network.tensors[f"{layer.name}.{name}"].astype(np.int64)

    acc = _convolve(values[layer.input], matrix(network, layer), layer)
    return np.clip(acc, tensor("low"), tensor("high")) * tensor("multiplier") + tensor("bias")


def _convolve(x: np.ndarray, weights: np.ndarray, layer: Conv) -> np.ndarray:
    """The sums acc: one matrix product for each place dy, dx in the window.

    At each place only those outputs are touched whose input lies inside of the image, so that
    the zeros around it need no memory. Groups stand before the pixels, so that their matrices are
    multiplied each with its own channels.
    """
    batch, height, width, _ = x.shape
    size, _, channels, filters = weights.shape
    stride, p, groups = layer.stride, layer.around, layer.groups
    x, weights = x.astype(np.float64), weights.astype(np.float64)
    counts = tuple((n + 2 * p - size) // stride + 1 for n in (height, width))
    out = np.zeros((batch, *counts, filters))
    own = weights.reshape(size, size, channels, groups, filters // groups).transpose(0, 1, 3, 2, 4)
    columns = _places(size, stride, width, p)
    for dy, to_y, from_y in _places(size, stride, height, p):
        for dx, to_x, from_x in columns:
            part = x[:, from_y, from_x]
            pixels = part.reshape(-1, groups, channels).transpose(1, 0, 2)
            product = (pixels @ own[dy, dx]).transpose(1, 0, 2)
            out[:, to_y, to_x] += product.reshape(*part.shape[:3], filters)
    return out.astype(np.int64)


def _places(size: int, stride: int, length: int, p: int) -> list[tuple[int, slice, slice]]:
    """Along one axis, for each d of the window: d, the outputs y it counts for, and their inputs.

    An output y reads the input stride y + d - p, which must lie in 0 .. length - 1.
    """
    places = []
    for d in range(size):
        first = max(0, -(-(p - d) // stride))
        last = min((length - 1 + p - d) // stride, (length + 2 * p - size) // stride)
        if first <= last:
            start = stride * first + d - p
            stop = stride * last + d - p + 1
            places.append((d, slice(first, last + 1), slice(start, stop, stride)))
    return places


def _add(network: Network, layer: Add, values: dict[str, np.ndarray]) -> np.ndarray:
    v = np.zeros_like(values[layer.inputs[0]])
    for i, name in enumerate(layer.inputs):
        lift = network.tensors.get(f"{layer.name}.lift{i}", np.uint8(0))
        v = v + (values[name] << lift.astype(np.int64))
    return v


def _max_pool(network: Network, layer: MaxPool, values: dict[str, np.ndarray]) -> np.ndarray:
    del network
    x = values[layer.input]
    batch, height, width, channels = x.shape
    if layer.is_square:
        squares = x.reshape(batch, height // 2, 2, width // 2, 2, channels)
        return squares.max(axis=(2, 4))
    size, stride, p = layer.size, layer.stride, layer.padding
    counts = tuple((n + 2 * p - size) // stride + 1 for n in (height, width))
    out = np.full((batch, *counts, channels), -128, np.int64)
    for _, to_y, from_y in _places(size, stride, height, p):
        for _, to_x, from_x in _places(size, stride, width, p):
            part = out[:, to_y, to_x]
            np.maximum(part, x[:, from_y, from_x], out=part)
    return out


def _flatten(network: Network, layer: Flatten, values: dict[str, np.ndarray]) -> np.ndarray:
    del network
    x = values[layer.input]
    return x.reshape(len(x), *[1] * (layer.axes - 1), -1)


def _average(network: Network, layer: Average, values: dict[str, np.ndarray]) -> np.ndarray:
    del network
    sums = values[layer.input].sum(axis=(1, 2))
    if layer.shift is None:
        return sums
    rounded = even(sums, layer.shift) if layer.shift >= 0 else sums << -layer.shift
    return np.clip(rounded, -128, 127)


def _dense(network: Network, layer: Dense, values: dict[str, np.ndarray]) -> np.ndarray:
    sums = values[layer.input].astype(np.float64) @ matrix(network, layer).astype(np.float64)
    return sums.astype(np.int64) + network.tensors[f"{layer.name}.bias"]


# What a layer computes: v where it is rounded, else the output.
_RUN: dict[type[Layer], Callable[..., np.ndarray]] = {
    Conv: _conv,
    Add: _add,
    MaxPool: _max_pool,
    Average: _average,
    Dense: _dense,
    Flatten: _flatten,
}
