"""A network as a manifest (what JSON holds) and tensors by name, and back. No JAX."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from flightnn_jax.integer import certificate, codes, invariants, shapes
from flightnn_jax.integer.network import (
    IMAGE,
    Add,
    Affine,
    Average,
    Convolution,
    Dense,
    Golden,
    IntegerNetwork,
    IntegerNetworkError,
    Layer,
    MaxPool,
    Shape,
    ShiftWeights,
    Weights,
)

FORMAT = "flightnn integer network"
VERSION = 1
WEIGHTS_PER_BYTE = 64  # at most, of a file: an empty filter takes no codes

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
}
_WEIGHTS = {"shape": list, "weights": str, "weight_exponent": int}
_LAYERS: dict[str, dict[str, Any]] = {
    "conv": {"input": str, "stride": int, **_WEIGHTS, "output": str, "exponent": int},
    "add": {"inputs": list, "exponent": int},
    "max_pool": {"input": str},
    "average": {"input": str, "shift": int | None, "exponent": int},
    "dense": {"input": str, **_WEIGHTS},
}


def describe(network: IntegerNetwork) -> tuple[dict[str, Any], Tensors]:
    """The manifest and the tensors of a network that `check` accepts."""
    golden = network.golden
    fields = {
        "format": FORMAT,
        "version": VERSION,
        "name": network.name,
        "input_shape": list(network.input_shape),
        "output_exponent": network.output_exponent,
        "slope": network.slope,
        "affine": "multiplier" if network.affine_terms is None else "shifts",
        "affine_terms": network.affine_terms,
        "labels": list(network.labels),
        "layers": [_fields_of(layer) for layer in network.layers],
        "provenance": network.provenance,
        "golden": 0 if golden is None else len(golden.images),
    }
    tensors = {
        f"{layer.name}.{part}": array for layer in network.layers for part, array in _arrays(layer)
    }
    if golden is None:
        golden = _no_golden(network)
    tensors["golden.image"] = golden.images
    tensors |= {f"golden.{name}": array for name, array in golden.outputs.items()}
    return fields, tensors


def _no_golden(network: IntegerNetwork) -> Golden:
    """Golden images without rows, which a file has where there are none."""
    arrays = {
        name: np.zeros((0, *output.shape), _golden_type(name, output))
        for name, output in shapes.outputs(network).items()
    }
    return Golden(arrays.pop(IMAGE), arrays)


def _golden_type(name: str, output: shapes.Output) -> Any:
    """An image is bytes, though what layers read of it are activations."""
    return np.uint8 if name == IMAGE else np.int32 if output.sums else np.int8


def _fields_of(layer: Layer) -> dict[str, Any]:
    name: dict[str, Any] = {"name": layer.name}
    if isinstance(layer, Add):
        return {"kind": "add", **name, "inputs": list(layer.inputs), "exponent": layer.exponent}
    fields = {**name, "input": layer.input}
    if isinstance(layer, MaxPool):
        return {"kind": "max_pool", **fields}
    if isinstance(layer, Average):
        return {"kind": "average", **fields, "shift": layer.shift, "exponent": layer.exponent}
    weights: dict[str, Any] = {
        "shape": list(layer.weights.shape),
        "weights": "shift" if isinstance(layer.weights, ShiftWeights) else "integer",
        "weight_exponent": layer.weight_exponent,
    }
    if isinstance(layer, Dense):
        return {"kind": "dense", **fields, **weights}
    output = "sum" if layer.shift is None else "activation"
    fields = {"kind": "conv", **fields, "stride": layer.stride, **weights, "output": output}
    return {**fields, "exponent": layer.exponent}


def _arrays(layer: Layer) -> Iterator[tuple[str, np.ndarray]]:
    if isinstance(layer, Convolution | Dense):
        if isinstance(layer.weights, ShiftWeights):
            yield "k", layer.weights.k
            yield "codes", codes.pack_shifts(layer.weights)
        else:
            yield "codes", codes.pack_integers(layer.weights)
    if isinstance(layer, Convolution):
        for part in ("multiplier", "bias", "low", "high"):
            yield part, getattr(layer.affine, part)
    if isinstance(layer, Dense):
        yield "bias", layer.bias
    if isinstance(layer, Convolution | Add) and layer.shift is not None:
        yield "shift", layer.shift
    if isinstance(layer, Add):
        for i, lift in enumerate(layer.lift):
            if lift is not None:
                yield f"lift{i}", lift
    if isinstance(layer, Convolution | Add | Dense):
        yield "certificate", layer.certificate


def build(fields: Any, tensors: Tensors, size: int) -> IntegerNetwork:
    """Undoes `describe`.

    Args:
      fields: what the manifest's JSON holds, whatever that is.
      tensors: of the file; they are taken out one by one.
      size: of the file in bytes; weights of much more memory than that are refused.

    Returns:
      A network that `check` accepts.

    Raises:
      IntegerNetworkError: if the manifest and the tensors do not fit the format or each other,
        or the network breaks an invariant.
    """
    check_version(fields)
    fields = _checked("manifest", fields, _NETWORK)
    if fields["affine"] != ("multiplier" if fields["affine_terms"] is None else "shifts"):
        raise IntegerNetworkError(
            f"manifest: affine={fields['affine']!r:.50} with affine_terms="
            f"{fields['affine_terms']!s:.50}: "
            '"multiplier" goes with null and "shifts" with a number'
        )
    _check_list("manifest", "labels", fields["labels"], str)
    _check_sizes(fields["layers"], size)
    reader = _Reader(tensors)
    layers = tuple(reader.layer(layer) for layer in fields["layers"])
    network = IntegerNetwork(
        name=fields["name"],
        input_shape=_shape("manifest", "input_shape", fields["input_shape"], 3),
        layers=layers,
        slope=fields["slope"],
        affine_terms=fields["affine_terms"],
        output_exponent=fields["output_exponent"],
        labels=tuple(fields["labels"]),
        provenance=fields["provenance"],
        golden=None,
    )
    invariants.check(network)
    return reader.with_golden(network, fields["golden"])


def check_version(fields: Any) -> None:
    """Raises IntegerNetworkError for a manifest of another format or version."""
    if not isinstance(fields, dict) or fields.get("format") != FORMAT:
        raise IntegerNetworkError(
            f'manifest: its format is not "{FORMAT}": the file is of another kind'
        )
    version = fields.get("version")
    if not invariants.whole(version, VERSION, VERSION):
        raise IntegerNetworkError(
            f"manifest: version {version!r:.50}: this program reads version {VERSION}; a newer one "
            "may read the file"
        )


def _checked(where: str, fields: Any, kinds: dict[str, Any]) -> dict[str, Any]:
    """Fields that have these names, no others, and these types."""
    if not isinstance(fields, dict):
        raise IntegerNetworkError(f"{where}: {fields!r:.50} is no JSON object")
    if fields.keys() != kinds.keys():
        names = sorted(fields.keys() ^ kinds.keys())[:5]
        raise IntegerNetworkError(
            f"{where}: the fields {names!s:.200} are missing, or there and unknown"
        )
    for name, kind in kinds.items():
        if not isinstance(fields[name], kind) or isinstance(fields[name], bool):
            raise IntegerNetworkError(f"{where}: {name}={fields[name]!r:.50} is of the wrong type")
    return fields


def _check_list(where: str, name: str, values: list[Any], kind: type) -> None:
    if any(type(value) is not kind for value in values):
        raise IntegerNetworkError(f"{where}: {name} holds what is no {kind.__name__}")


def _shape(where: str, name: str, values: list[Any], rank: int) -> Shape:
    if len(values) != rank or not all(
        invariants.whole(axis, 1, invariants.LONGEST_AXIS) for axis in values
    ):
        raise IntegerNetworkError(
            f"{where}: {name}={values!r:.50} must have {rank} axes of 1 to "
            f"{invariants.LONGEST_AXIS:,}"
        )
    return tuple(values)


def _check_sizes(layers: list[Any], size: int) -> None:
    """Types of all layers and the number of weights, before anything of that size is made."""
    if len(layers) > invariants.MOST_LAYERS:
        raise IntegerNetworkError(
            f"manifest: {len(layers)} layers: {invariants.MOST_LAYERS:,} at most"
        )
    weights = 0
    for i, layer in enumerate(layers):
        where = f"layer {i}"
        kind = layer.get("kind") if isinstance(layer, dict) else None
        if not isinstance(kind, str) or kind not in _LAYERS:
            raise IntegerNetworkError(
                f"{where}: kind {kind!r:.50}: choose one of {', '.join(_LAYERS)}"
            )
        _checked(where, layer, {"kind": str, "name": str, **_LAYERS[kind]})
        if not invariants.NAME.fullmatch(layer["name"]):
            raise IntegerNetworkError(
                f"{where}: name {layer['name']!r:.50}: a letter, then letters, digits, underscores"
            )
        if "shape" in layer:
            rank = 4 if kind == "conv" else 2
            weights += math.prod(_shape(layer["name"], "shape", layer["shape"], rank))
    if weights > min(invariants.MOST_WEIGHTS, WEIGHTS_PER_BYTE * size):
        raise IntegerNetworkError(
            f"manifest: {weights} weights in a file of {size} bytes: there are at most "
            f"{WEIGHTS_PER_BYTE} for a byte, and {invariants.MOST_WEIGHTS:,} in all"
        )


class _Reader:
    """Takes tensors out by name, each with the type and shape that it must have."""

    def __init__(self, tensors: Tensors) -> None:
        self._tensors = dict(tensors)

    def take(self, name: str, dtype: Any, shape: Shape) -> np.ndarray:
        array = self._tensors.pop(name, None)
        if array is None:
            raise IntegerNetworkError(f"{name}: the tensor is missing")
        if array.dtype != dtype or array.shape != shape:
            raise IntegerNetworkError(
                f"{name}: {array.dtype} of shape {array.shape}, where {np.dtype(dtype).name} of "
                f"shape {shape} is needed"
            )
        return array

    def layer(self, fields: dict[str, Any]) -> Layer:
        kind, name = fields["kind"], fields["name"]
        if kind == "max_pool":
            return MaxPool(name, fields["input"])
        if kind == "average":
            return Average(name, fields["input"], fields["shift"], fields["exponent"])
        if kind == "add":
            return self._add(name, fields)
        weights = self._weights(name, fields)
        units = weights.shape[-1:]
        exponent = fields["weight_exponent"]
        table = self.take(f"{name}.certificate", np.int32, (*units, len(certificate.COLUMNS)))
        if kind == "dense":
            bias = self.take(f"{name}.bias", np.int32, units)
            return Dense(name, fields["input"], weights, exponent, bias, table)
        if fields["output"] not in ("activation", "sum"):
            raise IntegerNetworkError(
                f'{name}: output={fields["output"]!r:.50}: choose "activation" or "sum"'
            )
        parts = ("multiplier", "bias", "low", "high")
        affine = Affine(*(self.take(f"{name}.{part}", np.int32, units) for part in parts))
        activates = fields["output"] == "activation"
        shift = self.take(f"{name}.shift", np.uint8, units) if activates else None
        source, stride = fields["input"], fields["stride"]
        return Convolution(
            name, source, stride, weights, exponent, affine, shift, fields["exponent"], table
        )

    def _weights(self, name: str, fields: dict[str, Any]) -> Weights:
        shape = tuple(fields["shape"])
        size, filters = math.prod(shape[:-1]), shape[-1]
        if fields["weights"] == "integer":
            data = self.take(f"{name}.codes", np.uint8, (codes.packed_bytes(size * filters),))
            return codes.unpack_integers(data, shape)
        if fields["weights"] != "shift":
            raise IntegerNetworkError(
                f'{name}: weights={fields["weights"]!r:.50}: choose "shift" or "integer"'
            )
        k = self.take(f"{name}.k", np.uint8, (filters,))
        if k.max(initial=0) > invariants.MOST_TERMS:
            raise IntegerNetworkError(
                f"{name}: k={k.max()}: {invariants.MOST_TERMS} terms are the most"
            )
        count = size * int(k.sum(dtype=np.int64))
        data = self.take(f"{name}.codes", np.uint8, (codes.packed_bytes(count),))
        return codes.unpack_shifts(data, k, shape)

    def _add(self, name: str, fields: dict[str, Any]) -> Add:
        _check_list(name, "inputs", fields["inputs"], str)
        if len(fields["inputs"]) != 2:
            raise IntegerNetworkError(f"{name}: {len(fields['inputs'])} inputs: an add has two")
        shift = self._tensors.get(f"{name}.shift", np.zeros(0, np.uint8))
        channels = shift.shape[:1]
        shift = self.take(f"{name}.shift", np.uint8, channels)
        lifts = [
            self.take(part, np.uint8, channels) if part in self._tensors else None
            for part in (f"{name}.lift0", f"{name}.lift1")
        ]
        first, second = fields["inputs"]
        table = self.take(
            f"{name}.certificate", np.int32, (*channels, len(certificate.ADD_COLUMNS))
        )
        return Add(name, (first, second), (lifts[0], lifts[1]), shift, fields["exponent"], table)

    def with_golden(self, network: IntegerNetwork, count: int) -> IntegerNetwork:
        """With the golden images, if there are any; nothing may be left then."""
        arrays = {
            name: self.take(f"golden.{name}", _golden_type(name, output), (count, *output.shape))
            for name, output in shapes.outputs(network).items()
        }
        if self._tensors:
            raise IntegerNetworkError(
                f"tensors {sorted(self._tensors)[:5]!s:.200} belong to nothing"
            )
        golden = Golden(arrays.pop(IMAGE), arrays)
        return dataclasses.replace(network, golden=golden if count else None)
