"""What every layer of an integer network gives: shape, and activations or sums. No JAX."""

from typing import NamedTuple

from flightnn_jax.integer.network import (
    IMAGE,
    Add,
    Average,
    Convolution,
    Dense,
    IntegerNetwork,
    IntegerNetworkError,
    Layer,
    MaxPool,
    Shape,
)


class Output(NamedTuple):
    """A tensor of one image.

    Attributes:
      shape: (height, width, channels), or (channels,).
      sums: whether it is int32 sums; int8 activations otherwise.
    """

    shape: Shape
    sums: bool


def inputs_of(layer: Layer) -> tuple[str, ...]:
    """The names that a layer reads."""
    return layer.inputs if isinstance(layer, Add) else (layer.input,)


def outputs(network: IntegerNetwork) -> dict[str, Output]:
    """What the image and every layer are, by name, in the order of computation.

    Raises:
      IntegerNetworkError: if a layer reads what is not there, or what it cannot read.

    Example:
      >>> pools = (MaxPool("pool1", "image"), Average("average", "pool1", None, -7))
      >>> labels = ("cat", "dog", "owl")
      >>> network = IntegerNetwork("net1", (4, 4, 3), pools, 3, None, -9, labels, {}, None)
      >>> [(name, output.shape, output.sums) for name, output in outputs(network).items()]
      [('image', (4, 4, 3), False), ('pool1', (2, 2, 3), False), ('average', (3,), True)]
    """
    known = {IMAGE: Output(tuple(network.input_shape), False)}
    for layer in network.layers:
        read = []
        for name in inputs_of(layer):
            if name not in known:
                raise IntegerNetworkError(
                    f"{layer.name}: it reads {name!r:.80}, which is no layer before it: a "
                    f"layer reads {IMAGE!r} or earlier layers"
                )
            read.append(known[name])
        if layer.name in known:
            raise IntegerNetworkError(
                f"{layer.name}: the name is there twice: give each layer its own"
            )
        known[layer.name] = _output(layer, *read)
    return known


def _output(layer: Layer, first: Output, second: Output | None = None) -> Output:
    if second is not None:
        if first.shape != second.shape:
            raise IntegerNetworkError(
                f"{layer.name}: its inputs have the shapes {first.shape} and {second.shape}: what "
                "is added has one shape"
            )
        return Output(first.shape, False)
    if first.sums:
        raise IntegerNetworkError(
            f"{layer.name}: it reads sums: only an add does, so let {inputs_of(layer)[0]} give "
            "activations"
        )
    rank = 1 if isinstance(layer, Dense) else 3
    if len(first.shape) != rank:
        raise IntegerNetworkError(
            f"{layer.name}: its input has the shape {first.shape}, and must have {rank} axes"
        )
    channels = first.shape[-1]
    if isinstance(layer, Convolution | Dense):
        if layer.weights.shape[-2] != channels:
            raise IntegerNetworkError(
                f"{layer.name}: weights of shape {layer.weights.shape} on {channels} channels: "
                "the last axis but one counts the input's channels"
            )
        if isinstance(layer, Dense):
            return Output(layer.weights.shape[-1:], True)
        height, width = (-(-size // layer.stride) for size in first.shape[:2])
        return Output((height, width, layer.weights.shape[-1]), layer.shift is None)
    if isinstance(layer, Average):
        return Output((channels,), layer.shift is None)
    assert isinstance(layer, MaxPool)
    height, width = first.shape[:2]
    if height % 2 or width % 2:
        raise IntegerNetworkError(
            f"{layer.name}: a 2x2 pool on {height}x{width}: height and width must be even"
        )
    return Output((height // 2, width // 2, channels), False)
