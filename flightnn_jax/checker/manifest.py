"""The manifest: the layers of an integer network as records, every entry checked for itself.

What must hold between layers is in wiring.py, and what must hold of the tensors in checker.py.
"""

import dataclasses
from typing import Any

from flightnn_jax.checker.container import FileError, parse_json
from flightnn_jax.checker.fields import MAX_AXIS, Fields

FORMAT = "flightnn integer network"
VERSION = 1
MAX_LAYERS = 4096
MAX_AFFINE_TERMS = 32
AVERAGE_SHIFTS = (-16, 30)


@dataclasses.dataclass(frozen=True)
class Conv:
    """A convolution; the attributes are the entries of the manifest."""

    name: str
    input: str
    stride: int
    shape: tuple[int, ...]
    weights: str
    output: str
    weight_exponent: int
    exponent: int


@dataclasses.dataclass(frozen=True)
class Add:
    """The sum of two layers' outputs."""

    name: str
    inputs: tuple[str, ...]
    exponent: int


@dataclasses.dataclass(frozen=True)
class MaxPool:
    """The largest of each 2x2 square."""

    name: str
    input: str


@dataclasses.dataclass(frozen=True)
class Average:
    """The sum over all positions, shifted to the right unless `shift` is None."""

    name: str
    input: str
    shift: int | None
    exponent: int


@dataclasses.dataclass(frozen=True)
class Dense:
    """A matrix and a bias."""

    name: str
    input: str
    shape: tuple[int, ...]
    weights: str
    weight_exponent: int


Layer = Conv | Add | MaxPool | Average | Dense


@dataclasses.dataclass(frozen=True)
class Manifest:
    """A network without its numbers; the attributes are the entries of the manifest."""

    name: str
    input_shape: tuple[int, ...]
    output_exponent: int
    slope: int
    affine: str
    affine_terms: int | None
    labels: tuple[str, ...]
    layers: tuple[Layer, ...]
    provenance: dict[str, str | int | float]
    golden: int


def check_version(text: str) -> Any:
    """Parses the manifest's JSON, and refuses another format or version.

    Args:
      text: the manifest.

    Returns:
      What JSON gave, for `parse`.

    Raises:
      FileError: if it is not JSON, or not of this format and version.

    Example:
      >>> check_version('{"format": "flightnn integer network", "version": 2}')
      Traceback (most recent call last):
        ...
      flightnn_jax.checker.container.FileError: the file has version 2, and this reader
        knows 1: take a newer reader
    """
    value = parse_json(text, "the manifest")
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise FileError(f"the manifest's format is not {FORMAT!r}: this is some other file")
    version = value.get("version")
    if type(version) is not int or version != VERSION:
        raise FileError(
            f"the file has version {version!r:.40}, and this reader knows {VERSION}: take a newer "
            "reader"
        )
    return value


def parse(value: Any) -> Manifest:
    """Makes records of a manifest.

    Args:
      value: what `check_version` returned.

    Returns:
      The manifest, each of its entries within its own limits.

    Raises:
      FileError: if an entry is missing, too many, or outside of its limits.

    Example:
      >>> parse({"name": "tiny"})  # doctest: +ELLIPSIS
      Traceback (most recent call last):
        ...
      flightnn_jax.checker.container.FileError: the manifest lacks [...
    """
    keys = [field.name for field in dataclasses.fields(Manifest)]
    fields = Fields(value, "the manifest", ["format", "version", *keys])
    affine = fields.choice("affine", "multiplier", "shifts")
    terms = fields.optional("affine_terms", 1, MAX_AFFINE_TERMS)
    if (affine == "shifts") != (terms is not None):
        raise FileError(f"affine is {affine!r} and affine_terms {terms}: 'shifts' needs a number")
    return Manifest(
        name=fields.text("name"),
        input_shape=fields.axes("input_shape", (1, 3)),
        output_exponent=fields.exponent("output_exponent"),
        slope=fields.integer("slope", 1, 7),
        affine=affine,
        affine_terms=terms,
        labels=fields.texts("labels"),
        layers=tuple(
            _layer(layer, f"layer {i}")
            for i, layer in enumerate(fields.objects("layers", MAX_LAYERS))
        ),
        provenance=fields.notes("provenance"),
        golden=fields.integer("golden", 0, MAX_AXIS),
    )


def _layer(value: Any, place: str) -> Layer:
    kind = value.get("kind") if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in _KINDS:
        raise FileError(f"{place} has the kind {kind!r:.40}: choose of {', '.join(_KINDS)}")
    record, parse_fields = _KINDS[kind]
    keys = [field.name for field in dataclasses.fields(record)]
    return parse_fields(
        Fields(value, f"{place}, {kind} {value.get('name')!r:.80},", ["kind", *keys])
    )


def _conv(fields: Fields) -> Conv:
    shape = fields.axes("shape", (4,))
    if shape[0] != shape[1] or shape[0] % 2 == 0:
        raise FileError(f"conv {fields.name('name')}: {shape} must be [size, size, ..], size odd")
    return Conv(
        name=fields.name("name"),
        input=fields.text("input"),
        stride=fields.integer("stride", 1, MAX_AXIS),
        shape=shape,
        weights=fields.choice("weights", "shift", "integer"),
        output=fields.choice("output", "activation", "sum"),
        weight_exponent=fields.exponent("weight_exponent"),
        exponent=fields.exponent("exponent"),
    )


def _add(fields: Fields) -> Add:
    name, inputs = fields.name("name"), fields.texts("inputs")
    if len(inputs) != 2:
        raise FileError(f"add {name} has {len(inputs)} inputs: it needs two")
    return Add(name, inputs, fields.exponent("exponent"))


def _max_pool(fields: Fields) -> MaxPool:
    return MaxPool(fields.name("name"), fields.text("input"))


def _average(fields: Fields) -> Average:
    return Average(
        name=fields.name("name"),
        input=fields.text("input"),
        shift=fields.optional("shift", *AVERAGE_SHIFTS),
        exponent=fields.exponent("exponent"),
    )


def _dense(fields: Fields) -> Dense:
    return Dense(
        name=fields.name("name"),
        input=fields.text("input"),
        shape=fields.axes("shape", (2,)),
        weights=fields.choice("weights", "shift", "integer"),
        weight_exponent=fields.exponent("weight_exponent"),
    )


_KINDS: dict[str, tuple[Any, Any]] = {
    "conv": (Conv, _conv),
    "add": (Add, _add),
    "max_pool": (MaxPool, _max_pool),
    "average": (Average, _average),
    "dense": (Dense, _dense),
}
