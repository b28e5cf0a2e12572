"""A network as a manifest (what JSON holds) and tensors by name, and back. No JAX.

`_LAYERS` says of each record how it stands in a file. Reading checks what is needed to make records
of little memory: names and types of entries, sizes, and the lengths of packed weights. All else is
left to `invariants.check`.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from flightnn_jax.integer import certificate, invariants, kinds, limits, shapes
from flightnn_jax.integer.limits import IMAGE, IntegerNetworkError, Shape
from flightnn_jax.integer.network import (
    Add,
    Affine,
    Average,
    Convolution,
    Dense,
    Digests,
    Flatten,
    Golden,
    IntegerNetwork,
    Layer,
    MaxPool,
)
from flightnn_jax.integer.weights import Weights

FORMAT = "flightnn integer network"
VERSION = 2  # that is written where no kind of weights asks for a later one; 1 is read too
LAYERS_VERSION = 5  # the first with groups, padding, windows of pools, and flat inputs
LINEAR_VERSION = 6  # the first with activations that keep negative values
LATEST = max(LINEAR_VERSION, *(kind.version for kind in kinds.KINDS.values()))

Tensors = dict[str, np.ndarray]
_NETWORK = {
    "format": str,
    "version": int,
    "name": str,
    "input_shape": list,
    "output_exponent": int,
    "slope": int,
    "affine": str,
    "affine_terms": int | None,
    "labels": list,
    "layers": list,
    "provenance": dict,
    "golden": int,
    "digests": dict | None,
}
_DIGESTS = {"images": int, "seed": int, "outputs": dict, "sums": dict}


def describe(network: IntegerNetwork) -> tuple[dict[str, Any], Tensors]:
    """The manifest and the tensors of a network that `check` accepts."""
    golden = network.golden
    if golden is None:  # a file has arrays without rows then
        none = {name: np.zeros(*like[::-1]) for name, like in shapes.golden(network, 0).items()}
        golden = Golden(none.pop(IMAGE), none)
    fields = {
        "format": FORMAT,
        "version": max(VERSION, _asked(network)),
        "name": network.name,
        "input_shape": list(network.input_shape),
        "output_exponent": network.output_exponent,
        "slope": network.slope,
        "affine": _affine(network.affine_terms),
        "affine_terms": network.affine_terms,
        "labels": list(network.labels),
        "layers": [_fields_of(layer) for layer in network.layers],
        "provenance": network.provenance,
        "golden": len(golden.images),
        "digests": None if network.digests is None else vars(network.digests),
    }
    tensors = {
        f"{layer.name}.{part}": array
        for layer in network.layers
        for part, array in _LAYERS[_kind_of(layer)].tensors(layer).items()
        if array is not None
    }
    tensors |= {f"golden.{name}": array for name, array in golden.outputs.items()}
    return fields, tensors | {f"golden.{IMAGE}": golden.images}


def build(fields: Any, tensors: Tensors, size: int) -> IntegerNetwork:
    """Undoes `describe`.

    Args:
      fields: what the manifest's JSON holds, whatever that is.
      tensors: of the file.
      size: of the file in bytes; weights of much more memory than that are refused.

    Returns:
      A network that `check` accepts; from a file of version 1 it has certificates of version 2.

    Raises:
      IntegerNetworkError: if the manifest and the tensors do not fit the format or each other,
        or the network breaks an invariant.
    """
    check_version(fields)
    version = fields["version"]
    known = {name: kind for name, kind in _NETWORK.items() if version > 1 or name != "digests"}
    _check_fields("manifest", fields, known)
    limits.require(
        fields["affine"] == _affine(fields["affine_terms"]),
        "manifest",
        f"affine={fields['affine']!r:.50} with affine_terms={fields['affine_terms']}",
        '"multiplier" goes with null and "shifts" with a number',
    )
    _check_layers(fields["layers"], size)
    rest = dict(tensors)
    network = IntegerNetwork(
        name=fields["name"],
        input_shape=tuple(fields["input_shape"]),
        layers=tuple(_LAYERS[layer["kind"]].read(layer, rest) for layer in fields["layers"]),
        slope=fields["slope"],
        affine_terms=fields["affine_terms"],
        output_exponent=fields["output_exponent"],
        labels=tuple(fields["labels"]),
        provenance=fields["provenance"],
        golden=None,
    )
    for layer, of in zip(network.layers, fields["layers"], strict=True):
        kind = _kind_of(layer)
        limits.require(kind == of["kind"], layer.name, of["kind"], f"it is of the kind {kind}")
    _check_asked(network, version)
    invariants.check(network, version)
    golden = _read_golden(network, fields["golden"], rest)
    if rest:
        raise IntegerNetworkError(f"tensors {sorted(rest)[:5]!s:.200} belong to nothing")
    digests = _read_digests(fields.get("digests"))
    network = dataclasses.replace(network, golden=golden, digests=digests)
    invariants.check_digests(network)
    return certificate.certified(network) if version == 1 else network


def check_version(fields: Any) -> None:
    """Raises IntegerNetworkError for a manifest of another format or version."""
    if not isinstance(fields, dict) or fields.get("format") != FORMAT:
        raise IntegerNetworkError(
            f'manifest: its format is not "{FORMAT}": the file is of another kind'
        )
    version = fields.get("version")
    if not limits.whole(version, 1, LATEST):
        raise IntegerNetworkError(
            f"manifest: version {version!r:.50}: this program reads versions 1 to {LATEST}; a "
            "newer one may read the file"
        )


def _asked(network: IntegerNetwork) -> int:
    """The version that the kinds of weights and of layers ask for."""
    of_layers = (_LAYERS[_kind_of(layer)].version for layer in network.layers)
    linear = [LINEAR_VERSION for x in network.layers if isinstance(x, Convolution) and x.linear]
    return max([1, *of_layers, *linear, *(x.weights.version for x in network.weighted)])


def _check_asked(network: IntegerNetwork, version: int) -> None:
    """A file has no later version than it needs, so that one network is one file."""
    asked = _asked(network)
    limits.require(
        asked <= version <= max(asked, VERSION),
        "manifest",
        f"version {version} with weights that ask for {asked}, or layers that do",
        f"a network without later kinds has version {VERSION} at most, others the one asked for",
    )


def _affine(terms: int | None) -> str:
    return "multiplier" if terms is None else "shifts"


def _check_fields(where: str, fields: Any, kinds: dict[str, Any]) -> None:
    """That a JSON object has these names, no others, and values of these types."""
    if fields.keys() != kinds.keys():
        names = sorted(fields.keys() ^ kinds.keys())[:5]
        raise IntegerNetworkError(f"{where}: the fields {names!s:.200} are missing, or unknown")
    for name, kind in kinds.items():
        if not isinstance(fields[name], kind) or isinstance(fields[name], bool):
            raise IntegerNetworkError(f"{where}: {name}={fields[name]!r:.50} is of the wrong type")


def _check_layers(layers: list[Any], size: int) -> None:
    """Entries of all layers and the number of weights, before anything of that size is made."""
    if len(layers) > limits.MAX_LAYERS:
        raise IntegerNetworkError(f"manifest: {len(layers)} layers: {limits.MAX_LAYERS:,} at most")
    weights = 0
    for i, fields in enumerate(layers):
        kind = fields.get("kind") if isinstance(fields, dict) else None
        if not isinstance(kind, str) or kind not in _LAYERS:
            raise IntegerNetworkError(
                f"layer {i}: kind {kind!r:.50}: choose one of {', '.join(_LAYERS)}"
            )
        types = _LAYERS[kind].fields
        _check_fields(f"layer {i}", fields, {"kind": str, "name": str, **types})
        if "shape" in types:
            limits.check_axes(fields["name"], fields["shape"], 2 if kind == "dense" else 4)
            weights += math.prod(fields["shape"])
    if weights > min(limits.MAX_WEIGHTS, limits.MAX_WEIGHTS_PER_BYTE * size):
        raise IntegerNetworkError(
            f"manifest: {weights} weights in a file of {size} bytes: there are at most "
            f"{limits.MAX_WEIGHTS_PER_BYTE} for a byte, and {limits.MAX_WEIGHTS:,} in all"
        )


class _Record(NamedTuple):
    """How a record stands in a file.

    Attributes:
      type: of the record.
      fields: what its entry in the manifest holds besides kind and name, with the types.
      tensors: its tensors by part; None for one that this layer does not have.
      read: makes the record of its fields and the file's tensors, which it takes out.
      version: of the file format, the first that knows it.
    """

    type: type
    fields: dict[str, Any]
    tensors: Callable[[Any], dict[str, np.ndarray | None]]
    read: Callable[[dict[str, Any], Tensors], Layer]
    version: int = 1


def _kind_of(layer: Layer) -> str:
    if isinstance(layer, Convolution | MaxPool) and not layer.is_plain:
        return "conv_window" if isinstance(layer, Convolution) else "max_window"
    return next(kind for kind, record in _LAYERS.items() if record.type is type(layer))


def _fields_of(layer: Layer) -> dict[str, Any]:
    kind = _kind_of(layer)
    values = {"kind": kind, "name": layer.name}
    for field in _LAYERS[kind].fields:
        values[field] = _DERIVED[field](layer) if field in _DERIVED else getattr(layer, field)
    return values


# Fields of the manifest that are not attributes of a record.
_DERIVED: dict[str, Callable[[Any], Any]] = {
    "inputs": lambda layer: list(layer.inputs),
    "shape": lambda layer: list(layer.weights.shape),
    "weights": lambda layer: layer.weights.kind,
}


def _choice(fields: dict[str, Any], name: str, *choices: str) -> str:
    rule = f"choose {' or '.join(map(repr, choices))}"
    limits.require(fields[name] in choices, fields["name"], f"{name}={fields[name]!r:.50}", rule)
    return fields[name]


def _take(tensors: Tensors, name: str) -> np.ndarray:
    if name not in tensors:
        raise IntegerNetworkError(f"{name:.80}: the tensor is missing")
    return tensors.pop(name)


def _read_weights(fields: dict[str, Any], tensors: Tensors) -> Weights:
    name = fields["name"]

    def take(part: str, dtype: Any, shape: Shape | None) -> np.ndarray:
        array = _take(tensors, f"{name}.{part}")
        limits.check_array(name, part, array, dtype, array.shape if shape is None else shape)
        return array

    kind = kinds.KINDS[_choice(fields, "weights", *kinds.KINDS)]
    return kind.read(name, take, tuple(fields["shape"]))


def _read_convolution(fields: dict[str, Any], tensors: Tensors) -> Convolution:
    name = fields["name"]
    weights = _read_weights(fields, tensors)
    parts = [field.name for field in dataclasses.fields(Affine)]
    affine = Affine(*(_take(tensors, f"{name}.{part}") for part in parts))
    output = _choice(fields, "output", "activation", "linear", "sum")
    return Convolution(
        name=name,
        input=fields["input"],
        stride=fields["stride"],
        weights=weights,
        weight_exponent=fields["weight_exponent"],
        affine=affine,
        shift=None if output == "sum" else _take(tensors, f"{name}.shift"),
        exponent=fields["exponent"],
        certificate=_take(tensors, f"{name}.certificate"),
        groups=fields.get("groups", 1),
        padding=fields.get("padding"),
        linear=output == "linear",
    )


def _read_add(fields: dict[str, Any], tensors: Tensors) -> Add:
    name, inputs = fields["name"], fields["inputs"]
    good = len(inputs) == 2 and all(type(read) is str for read in inputs)
    limits.require(good, name, f"inputs={inputs}", "an add has two, each the name of a layer")
    return Add(
        name=name,
        inputs=(inputs[0], inputs[1]),
        lift=(tensors.pop(f"{name}.lift0", None), tensors.pop(f"{name}.lift1", None)),
        shift=_take(tensors, f"{name}.shift"),
        exponent=fields["exponent"],
        certificate=_take(tensors, f"{name}.certificate"),
    )


def _read_dense(fields: dict[str, Any], tensors: Tensors) -> Dense:
    name = fields["name"]
    return Dense(
        name=name,
        input=fields["input"],
        weights=_read_weights(fields, tensors),
        weight_exponent=fields["weight_exponent"],
        bias=_take(tensors, f"{name}.bias"),
        certificate=_take(tensors, f"{name}.certificate"),
    )


def _convolution_tensors(layer: Convolution) -> dict[str, np.ndarray | None]:
    own = {"shift": layer.shift, "certificate": layer.certificate}
    return {**layer.weights.tensors(), **vars(layer.affine), **own}


_WEIGHTS = {"shape": list, "weights": str, "weight_exponent": int}
_CONVOLUTION = {"input": str, "stride": int, **_WEIGHTS, "output": str, "exponent": int}
_LAYERS: dict[str, _Record] = {
    "conv": _Record(Convolution, _CONVOLUTION, _convolution_tensors, _read_convolution),
    "conv_window": _Record(
        Convolution,
        {**_CONVOLUTION, "groups": int, "padding": int | None},
        _convolution_tensors,
        _read_convolution,
        LAYERS_VERSION,
    ),
    "add": _Record(
        Add,
        {"inputs": list, "exponent": int},
        lambda x: {
            "shift": x.shift,
            "lift0": x.lift[0],
            "lift1": x.lift[1],
            "certificate": x.certificate,
        },
        _read_add,
    ),
    "max_pool": _Record(
        MaxPool,
        {"input": str},
        lambda x: {},
        lambda fields, _: MaxPool(fields["name"], fields["input"]),
    ),
    "max_window": _Record(
        MaxPool,
        {"input": str, "size": int, "stride": int, "padding": int},
        lambda x: {},
        lambda fields, _: MaxPool(**{key: fields[key] for key in fields if key != "kind"}),
        LAYERS_VERSION,
    ),
    "flatten": _Record(
        Flatten,
        {"input": str, "axes": int},
        lambda x: {},
        lambda fields, _: Flatten(fields["name"], fields["input"], fields["axes"]),
        LAYERS_VERSION,
    ),
    "average": _Record(
        Average,
        {"input": str, "shift": int | None, "exponent": int},
        lambda x: {},
        lambda fields, _: Average(
            fields["name"], fields["input"], fields["shift"], fields["exponent"]
        ),
    ),
    "dense": _Record(
        Dense,
        {"input": str, **_WEIGHTS},
        lambda x: {**x.weights.tensors(), "bias": x.bias, "certificate": x.certificate},
        _read_dense,
    ),
}


def _read_golden(network: IntegerNetwork, count: int, tensors: Tensors) -> Golden | None:
    """The golden images; where there are none, tensors without rows may be there or not."""
    limits.check_whole("manifest", "golden", count, 0, limits.MAX_AXIS)
    arrays = {}
    for name, like in shapes.golden(network, count).items():
        if count or f"golden.{name}" in tensors:
            arrays[name] = _take(tensors, f"golden.{name}")
            limits.check_array("golden", name, arrays[name], *like)
    return Golden(arrays.pop(IMAGE), arrays) if count else None


def _read_digests(fields: Any) -> Digests | None:
    if fields is None:
        return None
    _check_fields("digests", fields, _DIGESTS)
    return Digests(**fields)
