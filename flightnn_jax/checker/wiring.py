"""What layers hand to each other: every layer's input must exist and be what the layer takes."""

import math
from typing import NamedTuple, Never

from flightnn_jax.checker.container import FileError
from flightnn_jax.checker.manifest import (
    Add,
    Average,
    Conv,
    Dense,
    Flatten,
    Layer,
    Manifest,
    MaxPool,
)

MAX_WEIGHTS = 2**26
MAX_VALUES = 2**28


class Value(NamedTuple):
    """What a layer hands on for one image.

    Attributes:
      shape: (height, width, channels) or (channels,).
      sums: whether they are sums, which take int32, or activations, which take int8.
    """

    shape: tuple[int, ...]
    sums: bool


def inputs(layer: Layer) -> tuple[str, ...]:
    """Names of what a layer reads.

    Example:
      >>> from flightnn_jax.checker.manifest import MaxPool
      >>> inputs(MaxPool("pool1", "conv2"))
      ('conv2',)
    """
    return layer.inputs if isinstance(layer, Add) else (layer.input,)


def connect(manifest: Manifest) -> dict[str, Value]:
    """Follows the shapes through a network.

    Args:
      manifest: the layers.

    Returns:
      What `image` and every layer hand on, by name.

    Raises:
      FileError: if a name stands for two layers or none, or an input does not suit its layer.

    Example:
      >>> from flightnn_jax.checker.manifest import MaxPool
      >>> pools = (MaxPool("pool1", "image"), Average("average", "pool1", None, -9))
      >>> net = Manifest("tiny", (4, 4, 2), -9, 3, "multiplier", None, ("a", "b"), pools, {}, 0)
      >>> connect(net)["pool1"]
      Value(shape=(2, 2, 2), sums=False)
    """
    values = {"image": Value(manifest.input_shape, sums=False)}
    unread = set[str]()
    for layer in manifest.layers:
        if layer.name in values:
            _refuse(layer, "the name stands for an earlier layer: each needs its own")
        for name in inputs(layer):
            if name not in values:
                _refuse(layer, f"it reads {name[:80]!r}, which is no earlier layer and not image")
        values[layer.name] = _output(layer, [values[name] for name in inputs(layer)])
        unread = unread - set(inputs(layer)) | {layer.name}
        is_last = layer is manifest.layers[-1]
        gives_logits = isinstance(layer, Dense) or (
            isinstance(layer, Average) and layer.shift is None
        )
        if gives_logits != is_last:
            _refuse(layer, "dense, or average without shift, is the last layer and nowhere else")
    unread.discard(manifest.layers[-1].name)
    if unread:
        raise FileError(
            f"no layer reads {min(unread)}: every one but the last is read by a later one"
        )
    for name, value in values.items():
        if math.prod(value.shape) > MAX_VALUES:
            raise FileError(f"{name} has the shape {value.shape}: {MAX_VALUES} values at most")
    classes = values[manifest.layers[-1].name].shape[-1]
    if classes != len(manifest.labels):
        raise FileError(f"{classes} logits and {len(manifest.labels)} labels: one for each")
    if count_weights(manifest) > MAX_WEIGHTS:
        raise FileError(f"{count_weights(manifest)} weights: {MAX_WEIGHTS} at most")
    return values


def count_weights(manifest: Manifest) -> int:
    """Weights of all layers, whatever their terms.

    Example:
      >>> dense = Dense("dense", "image", (5, 3), "shift", -7)
      >>> count_weights(Manifest("", (5,), -14, 3, "multiplier", None, (), (dense,), {}, 0))
      15
    """
    return sum(math.prod(e.shape) for e in manifest.layers if isinstance(e, Conv | Dense))


def _output(layer: Layer, given: list[Value]) -> Value:
    """What a layer hands on; refuses inputs that it does not take."""
    if isinstance(layer, Add):
        return _add_output(layer, given)
    (value,) = given
    axes = 1 if isinstance(layer, Dense) else 3
    if value.sums or len(value.shape) != axes:
        kind = "sums" if value.sums else "activations"
        _refuse(layer, f"it reads {kind} of shape {value.shape}: activations of {axes} axes only")
    channels = value.shape[-1]
    if isinstance(layer, Conv | Dense):
        takes = layer.shape[-2] * (layer.groups if isinstance(layer, Conv) else 1)
        if takes != channels:
            _refuse(layer, f"its weights {layer.shape} take {takes} channels, not {channels}")
    if isinstance(layer, Dense):
        return Value(layer.shape[-1:], sums=True)
    height, width, _ = value.shape
    if isinstance(layer, Conv):
        windows = _windows(layer, value, layer.shape[0], layer.around)
        return Value((*windows, layer.shape[-1]), sums=layer.output == "sum")
    if isinstance(layer, Flatten):
        ones = (1,) * (layer.axes - 1)
        return Value((*ones, height * width * channels), sums=False)
    if isinstance(layer, Average):
        return Value((channels,), sums=layer.shift is None)
    if layer.is_square and (height % 2 or width % 2):
        _refuse(layer, f"a pool on {height}x{width}: height and width must be even")
    return Value((*_windows(layer, value, layer.size, layer.padding), channels), sums=False)


def _windows(layer: Conv | MaxPool, value: Value, size: int, around: int) -> tuple[int, ...]:
    """How many windows there are along height and width."""
    counts = tuple((n + 2 * around - size) // layer.stride + 1 for n in value.shape[:2])
    if min(value.shape[:2]) + 2 * around < size:
        _refuse(layer, f"its window of {size} does not lie in {value.shape} and {around} around")
    return counts


def _add_output(layer: Add, given: list[Value]) -> Value:
    first, second = given
    if first.shape != second.shape:
        _refuse(layer, f"it adds the shapes {first.shape} and {second.shape}: they must be one")
    return Value(first.shape, sums=False)


def _refuse(layer: Layer, why: str) -> Never:
    raise FileError(f"layer {layer.name}: {why}")
