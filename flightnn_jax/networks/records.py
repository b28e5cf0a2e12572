"""Networks as tables of records. No JAX: every interpreter reads the same table.

A network is a sequence of layers. `walk` visits them in the order of computation and gives each
array of weights its name and shapes; the Flax model, the lowering to integers and the hardware
models all go by it, so they cannot disagree.

A network of a user's own is such a record, and its errors are those of `walk`.
"""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from flightnn_jax.networks.layers import (
    KINDS,
    LATER,
    Conv,
    Dense,
    Layer,
    Residual,
    Shape,
    is_count,
    output_shape,
)


@dataclasses.dataclass(frozen=True)
class Network:
    """One network: one of the paper's, or a user's own.

    Invariants: the shapes of all layers fit, and the last layer leaves [classes] numbers.

    Attributes:
      name: 'net1' to 'net8', or any other text.
      input_shape: (height, width, channels) of an image.
      classes: number of classes.
      layers: in order of computation.
      slope_exponent: the leaky ReLU multiplies negative values by 2**slope_exponent, a shift.

    Example:
      >>> from flightnn_jax.networks import GlobalAverage, MaxPool
      >>> layers = [Conv(8, size=5), MaxPool(), Conv(16), GlobalAverage(), Dense(4)]
      >>> tiny = Network("tiny", (8, 6, 1), 4, layers)
      >>> [step.output_shape for step in walk(tiny)]
      [(8, 6, 8), (4, 3, 8), (4, 3, 16), (16,), (4,)]
    """

    name: str
    input_shape: Shape
    classes: int
    layers: tuple[Layer, ...]
    slope_exponent: int = -3

    def __post_init__(self) -> None:
        """Checks the invariants; lists become tuples."""
        for field in ("input_shape", "layers"):
            if isinstance(getattr(self, field), list):
                object.__setattr__(self, field, tuple(getattr(self, field)))
        if type(self.name) is not str or not self.name:
            raise ValueError(f"name={self.name!r}: a network's name is a text, such as 'net1'")
        if type(self.slope_exponent) is not int or self.slope_exponent >= 0:
            raise ValueError(
                f"slope_exponent={self.slope_exponent}: a leaky ReLU multiplies negative values "
                "by a power of two below 1, so the exponent must be negative (-3 is 1/8)"
            )
        shape = self.input_shape
        three = type(shape) is tuple and len(shape) == 3 and all(map(is_count, shape))
        if not three or not is_count(self.classes) or self.classes < 2:
            raise ValueError(
                f"classes={self.classes}, input_shape={shape}: a classifier needs two classes or "
                "more, and images of (height, width, channels)"
            )
        output = shape
        for step in walk(self):
            output = step.output_shape
        if output != (self.classes,):
            raise ValueError(
                f"the layers of {self.name} leave the shape {output}, not ({self.classes},): end "
                f"with GlobalAverage() on {self.classes} channels, or with GlobalAverage() and "
                f"Dense({self.classes})"
            )


class Step(NamedTuple):
    """A layer at its place in a network.

    Attributes:
      name: 'conv1', 'pool1', 'mean1', 'block1', 'flat1', 'average' or 'dense'; within a block
        'block1_first', 'block1_second', 'block1_shortcut'. Parameter trees have the layer's arrays
        under it.
      layer: its record.
      input_shape: (height, width, channels), or (channels,) behind the average.
      output_shape: likewise.
      inside: the convolutions of a `Residual`: first, second, and shortcut if it has one.
    """

    name: str
    layer: Layer
    input_shape: Shape
    output_shape: Shape
    inside: tuple["Step", ...] = ()

    @property
    def kernel_shape(self) -> Shape | None:
        """(size, size, inputs, filters) or (inputs, units); None for a layer without weights.

        The inputs of a convolution in groups are those of one.
        """
        if isinstance(self.layer, Conv):
            inputs = self.input_shape[-1] // self.layer.groups
            return (self.layer.size, self.layer.size, inputs, self.layer.filters)
        if isinstance(self.layer, Dense):
            return (self.input_shape[-1], self.layer.units)
        return None

    @property
    def multiplications(self) -> int:
        """Products of a weight and an activation for one image, those with padding included."""
        if self.kernel_shape is None:
            return sum(step.multiplications for step in self.inside)
        return math.prod(self.kernel_shape) * math.prod(self.output_shape[:-1])


def walk(network: Network) -> Iterator[Step]:
    """Every layer with its name and shapes, in the order of computation.

    Raises:
      ValueError: if a layer does not fit what comes out of the one before.

    Example:
      >>> from flightnn_jax.networks import network
      >>> for step in list(walk(network("net4")))[:3]:
      ...     print(step.name, step.input_shape, step.output_shape, step.kernel_shape)
      conv1 (32, 32, 3) (32, 32, 16) (3, 3, 3, 16)
      pool1 (32, 32, 16) (16, 16, 16) None
      conv2 (16, 16, 16) (16, 16, 32) (3, 3, 16, 32)
    """
    shape = network.input_shape
    counts: dict[str, int] = {}
    for layer in network.layers:
        if type(layer) not in KINDS:
            raise ValueError(
                f"layer {sum(counts.values()) + 1} is {layer!r}: a layer is a record of "
                f"{', '.join(kind.__name__ for kind in KINDS)}"
            )
        if "dense" in counts:
            raise ValueError("dense: its outputs are the logits, so it must be the last layer")
        kind = KINDS[type(layer)]
        counts[kind] = counts.get(kind, 0) + 1
        alone = kind in ("average", "dense")
        name = kind if alone else f"{kind}{counts[kind]}"
        step = _step(name, layer, shape)
        yield step
        shape = step.output_shape


def walk_weights(network: Network) -> Iterator[Step]:
    """The convolutions and dense layers alone, those inside of blocks included.

    Example:
      >>> from flightnn_jax.networks import network
      >>> [step.name for step in walk_weights(network("net8"))][:4]
      ['conv1', 'block1_first', 'block1_second', 'block2_first']
    """
    for step in walk(network):
        yield from step.inside or ([step] if step.kernel_shape else [])


def _step(name: str, layer: Layer, shape: Shape) -> Step:
    if not isinstance(layer, Residual):
        return Step(name, layer, shape, output_shape(name, layer, shape))
    shortcut = [] if layer.shortcut is None else [layer.shortcut]
    for part in (layer.first, layer.second, *shortcut):
        if not isinstance(part, Conv):
            raise ValueError(f"{name}: {part!r} in a Residual: its parts are Conv records")
    if any(part.activation != "leaky" for part in (layer.second, *shortcut)):
        raise ValueError(
            f"{name}: {layer}: the sum of a Residual is followed by the leaky ReLU; only its first "
            "convolution may have another activation"
        )
    first = _step(f"{name}_first", layer.first, shape)
    second = _step(f"{name}_second", layer.second, first.output_shape)
    beside = tuple(_step(f"{name}_shortcut", conv, shape) for conv in shortcut)
    around = beside[0].output_shape if beside else shape
    if around != second.output_shape:
        raise ValueError(
            f"{name}: the shortcut leaves the shape {around} and the convolutions "
            f"{second.output_shape}; they are added, so give the shortcut a Conv with their "
            "stride and filters"
        )
    return Step(name, layer, shape, second.output_shape, (first, second, *beside))


def to_dict(network: Network) -> dict[str, Any]:
    """A network as JSON has it.

    Example:
      >>> from flightnn_jax.networks import GlobalAverage
      >>> layers = (Conv(10), GlobalAverage())
      >>> to_dict(Network("small", (8, 8, 1), 10, layers))["layers"]
      [{'kind': 'conv', 'filters': 10, 'size': 3, 'stride': 1}, {'kind': 'average'}]
    """
    layers = [_layer_to_dict(layer) for layer in network.layers]
    return {**vars(network), "input_shape": list(network.input_shape), "layers": layers}


def _layer_to_dict(layer: Layer) -> dict[str, Any]:
    parts = {
        field.name: getattr(layer, field.name)
        for field in dataclasses.fields(layer)
        if field.name not in LATER.get(type(layer), ())
        or getattr(layer, field.name) != field.default
    }
    nested = {n: _layer_to_dict(p) if isinstance(p, Conv) else p for n, p in parts.items()}
    return {"kind": KINDS[type(layer)], **nested}


def from_dict(fields: Any) -> Network:
    """The network that `to_dict` wrote.

    Raises:
      ValueError: if a field is missing or unknown, or the layers are none that fit.

    Example:
      >>> from flightnn_jax.networks import GlobalAverage
      >>> small = Network("small", (8, 8, 1), 10, (Conv(10), GlobalAverage()))
      >>> from_dict(to_dict(small)) == small
      True
    """
    values = _fields_of(Network, fields, "the network")
    if type(values["layers"]) is not list:
        raise ValueError(f"layers={values['layers']!r:.80}: a network's layers are a list")
    layers = [_layer_from_dict(part, f"layer {i}") for i, part in enumerate(values["layers"], 1)]
    return Network(**values | {"layers": tuple(layers)})


def _layer_from_dict(fields: Any, where: str) -> Any:
    classes = {kind: layer for layer, kind in KINDS.items()}
    kind = fields.get("kind") if type(fields) is dict else None
    if type(kind) is not str or kind not in classes:
        raise ValueError(f"{where} is {fields!r:.80}: its kind must be of {', '.join(classes)}")
    given = {name: value for name, value in fields.items() if name != "kind"}
    values = _fields_of(classes[kind], given, f"{where}, {kind}")
    parts = {n: _layer_from_dict(v, where) if type(v) is dict else v for n, v in values.items()}
    return classes[kind](**parts)


def _fields_of(kind: type, fields: Any, where: str) -> dict[str, Any]:
    """The fields of a record, of which none is unknown or missing."""
    known = {field.name: field for field in dataclasses.fields(kind)}
    if type(fields) is not dict:
        raise ValueError(f"{where} is {fields!r:.80}: it must be an object of {', '.join(known)}")
    needed = [name for name, field in known.items() if field.default is dataclasses.MISSING]
    for names, what in (
        (sorted(set(fields) - set(known)), "unknown"),
        ([name for name in needed if name not in fields], "missing"),
    ):
        if names:
            raise ValueError(
                f"{where}: {what} {', '.join(map(repr, names))}: its fields are {', '.join(known)}"
            )
    return fields


def weight_count(network: Network) -> int:
    """Weights of all convolutions and dense layers: the paper's "parameters".

    Batch norm's and the dense layer's biases are not counted, as in the paper's table 1.

    Example:
      >>> from flightnn_jax.networks import network
      >>> weight_count(network("net1"))
      77616
    """
    return sum(math.prod(step.kernel_shape or ()) for step in walk_weights(network))


def weight_storage_bits(network: Network, bits: int = 32) -> int:
    """Bits of all weights at `bits` each: 32 for "Full", 8 for LightNN-2, 4 for LightNN-1.

    A FLightNN's storage depends on its trained weights: see `storage_bits`.

    Example:
      >>> from flightnn_jax.networks import network
      >>> weight_storage_bits(network("net1")) / 8e6  # megabytes; the paper prints 0.31
      0.310464
    """
    return bits * weight_count(network)
