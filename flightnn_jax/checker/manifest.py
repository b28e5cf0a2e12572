"""The manifest: the layers of an integer network as records, every entry checked for itself.

What must hold between layers is in wiring.py, and what must hold of the tensors in checker.py.
"""

import dataclasses
from typing import Any

from flightnn_jax.checker.container import FileError, parse_json
from flightnn_jax.checker.fields import MAX_AXIS, Fields
from flightnn_jax.checker.kinds import KINDS

FORMAT = "flightnn integer network"
USUAL = 2  # the version of a file whose kinds of weights ask for no later one
LAYERS = 5  # the version of a file with layers of a kind that version 1 has not
LINEAR = 6  # the version of a file with a convolution whose output is "linear"
VERSIONS = tuple(range(1, max(LINEAR, *(kind.version for kind in KINDS.values())) + 1))
MAX_LAYERS = 4096
MAX_AFFINE_TERMS = 32
MAX_DIGEST_IMAGES = 1024
AVERAGE_SHIFTS = (-16, 30)


@dataclasses.dataclass(frozen=True)
class Conv:
    """A convolution; the attributes are the entries of the manifest.

    Those with defaults are entries of the kind "conv_window" alone; a padding of None is the half
    of the window.
    """

    name: str
    input: str
    stride: int
    shape: tuple[int, ...]
    weights: str
    output: str
    weight_exponent: int
    exponent: int
    groups: int = 1
    padding: int | None = None

    @property
    def around(self) -> int:
        """Zeros on each side of the input."""
        return (self.shape[0] - 1) // 2 if self.padding is None else self.padding


@dataclasses.dataclass(frozen=True)
class Add:
    """The sum of two layers' outputs."""

    name: str
    inputs: tuple[str, ...]
    exponent: int


@dataclasses.dataclass(frozen=True)
class MaxPool:
    """The largest of each 2x2 square; of other windows in the kind "max_window"."""

    name: str
    input: str
    size: int = 2
    stride: int = 2
    padding: int = 0

    @property
    def is_square(self) -> bool:
        """Whether it is of the kind "max_pool"."""
        return (self.size, self.stride, self.padding) == (2, 2, 0)


@dataclasses.dataclass(frozen=True)
class Flatten:
    """All values in one row, or as the channels of one pixel."""

    name: str
    input: str
    axes: int


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


Layer = Conv | Add | MaxPool | Average | Dense | Flatten


@dataclasses.dataclass(frozen=True)
class Digests:
    """What the layers give for images that follow from a seed; the attributes are the entries."""

    images: int
    seed: int
    outputs: dict[str, str]
    sums: dict[str, str]


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
    digests: Digests | None = None
    version: int = 2


def check_version(text: str) -> Any:
    """Parses the manifest's JSON, and refuses another format or version.

    Args:
      text: the manifest.

    Returns:
      What JSON gave, for `parse`.

    Raises:
      FileError: if it is not JSON, or not of this format and version.

    Example:
      >>> check_version('{"format": "flightnn integer network", "version": 7}')
      Traceback (most recent call last):
        ...
      flightnn_jax.checker.container.FileError: the file has version 7, and this reader
        knows 1 to 6: take a newer reader
    """
    value = parse_json(text, "the manifest")
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise FileError(f"the manifest's format is not {FORMAT!r}: this is some other file")
    version = value.get("version")
    if type(version) is not int or version not in VERSIONS:
        known = f"{VERSIONS[0]} to {VERSIONS[-1]}"
        raise FileError(
            f"the file has version {version!r:.40}, and this reader knows {known}: take a newer "
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
      >>> parse({"version": 1, "name": "tiny"})  # doctest: +ELLIPSIS
      Traceback (most recent call last):
        ...
      flightnn_jax.checker.container.FileError: the manifest lacks [...
    """
    keys = [field.name for field in dataclasses.fields(Manifest)]
    if value["version"] == 1:
        keys.remove("digests")
    fields = Fields(value, "the manifest", ["format", *keys])
    affine = fields.choice("affine", "multiplier", "shifts")
    terms = fields.optional("affine_terms", 1, MAX_AFFINE_TERMS)
    if (affine == "shifts") != (terms is not None):
        raise FileError(f"affine is {affine!r} and affine_terms {terms}: 'shifts' needs a number")
    layers = tuple(
        _layer(layer, f"layer {i}") for i, layer in enumerate(fields.objects("layers", MAX_LAYERS))
    )
    _check_kinds(layers, value["version"])
    golden = fields.integer("golden", 0, MAX_AXIS)
    return Manifest(
        name=fields.text("name"),
        input_shape=fields.axes("input_shape", (1, 3)),
        output_exponent=fields.exponent("output_exponent"),
        slope=fields.integer("slope", 1, 7),
        affine=affine,
        affine_terms=terms,
        labels=fields.texts("labels"),
        layers=layers,
        provenance=fields.notes("provenance"),
        golden=golden,
        digests=_digests(value.get("digests"), layers, golden),
        version=value["version"],
    )


def _check_kinds(layers: tuple[Layer, ...], version: int) -> None:
    """That the version has all kinds of weights, and is no later than they or `USUAL` ask for."""
    kinds = [KINDS[layer.weights] for layer in layers if isinstance(layer, Conv | Dense)]
    asked = max((kind.version for kind in kinds), default=1)
    asked = max(asked, LAYERS if any(map(_is_later, layers)) else 1)
    linear = any(isinstance(layer, Conv) and layer.output == "linear" for layer in layers)
    asked = LINEAR if linear else asked
    if not asked <= version <= max(asked, USUAL):
        raise FileError(
            f"the file has version {version}, and its weights and layers ask for "
            f"{max(asked, USUAL)}"
        )


def _is_later(layer: Layer) -> bool:
    """Whether a layer is of a kind that version 1 has not."""
    if isinstance(layer, Conv):
        return layer.groups > 1 or layer.padding is not None
    return isinstance(layer, Flatten) or (isinstance(layer, MaxPool) and not layer.is_square)


def slope_of(layer: Layer, manifest: Manifest) -> int:
    """How much further the negative v of a layer are shifted, of which activations are made."""
    linear = isinstance(layer, Conv) and layer.output == "linear"
    return 0 if linear else manifest.slope


def is_rounded(layer: Layer) -> bool:
    """Whether a layer computes sums v, of which activations are made.

    Example:
      >>> is_rounded(Add("block1", ("second", "pool1"), -4)), is_rounded(MaxPool("pool1", "conv1"))
      (True, False)
    """
    return isinstance(layer, Add) or (isinstance(layer, Conv) and layer.output != "sum")


def _digests(value: Any, layers: tuple[Layer, ...], golden: int) -> Digests | None:
    if value is None:
        return None
    if not isinstance(value, dict) or golden == 0:
        raise FileError(f"digests with {golden} golden images: null, or an object and golden >= 1")
    fields = Fields(value, "digests", [field.name for field in dataclasses.fields(Digests)])
    return Digests(
        images=fields.integer("images", 1, MAX_DIGEST_IMAGES),
        seed=fields.integer("seed", 0, 2**32 - 1),
        outputs=fields.digests("outputs", [layer.name for layer in layers]),
        sums=fields.digests("sums", [layer.name for layer in layers if is_rounded(layer)]),
    )


def _layer(value: Any, place: str) -> Layer:
    kind = value.get("kind") if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in _KINDS:
        raise FileError(f"{place} has the kind {kind!r:.40}: choose of {', '.join(_KINDS)}")
    record, parse_fields = _KINDS[kind]
    of_later = () if kind in ("conv_window", "max_window") else _OF_LATER.get(record, ())
    keys = [field.name for field in dataclasses.fields(record) if field.name not in of_later]
    return parse_fields(
        Fields(value, f"{place}, {kind} {value.get('name')!r:.80},", ["kind", *keys])
    )


def _conv_window(fields: Fields) -> Conv:
    plain = _conv(fields)
    size, filters = plain.shape[0], plain.shape[-1]
    groups, padding = fields.integer("groups", 1, filters), fields.optional("padding", 0, size - 1)
    if filters % groups:
        raise FileError(f"conv_window {plain.name}: {filters} filters in {groups} equal groups")
    if groups == 1 and padding in (None, size // 2):
        raise FileError(f"conv_window {plain.name}: one group and half of a window: it is a conv")
    if groups > 1 and padding == size // 2:
        raise FileError(f"conv_window {plain.name}: a padding of half of the window is null")
    return dataclasses.replace(plain, groups=groups, padding=padding)


def _max_window(fields: Fields) -> MaxPool:
    size = fields.integer("size", 1, MAX_AXIS)
    stride, padding = fields.integer("stride", 1, MAX_AXIS), fields.integer("padding", 0, size - 1)
    pool = MaxPool(fields.name("name"), fields.text("input"), size, stride, padding)
    if pool.is_square:
        raise FileError(f"max_window {pool.name}: 2x2 squares: it is a max_pool")
    return pool


def _flatten(fields: Fields) -> Flatten:
    axes = fields.integer("axes", 1, 3)
    if axes == 2:
        raise FileError(f"flatten {fields.name('name')}: axes is 1 or 3")
    return Flatten(fields.name("name"), fields.text("input"), axes)


def _conv(fields: Fields) -> Conv:
    shape = fields.axes("shape", (4,))
    if shape[0] != shape[1] or shape[0] % 2 == 0:
        raise FileError(f"conv {fields.name('name')}: {shape} must be [size, size, ..], size odd")
    return Conv(
        name=fields.name("name"),
        input=fields.text("input"),
        stride=fields.integer("stride", 1, MAX_AXIS),
        shape=shape,
        weights=fields.choice("weights", *KINDS),
        output=fields.choice("output", "activation", "linear", "sum"),
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
        weights=fields.choice("weights", *KINDS),
        weight_exponent=fields.exponent("weight_exponent"),
    )


_KINDS: dict[str, tuple[Any, Any]] = {
    "conv": (Conv, _conv),
    "add": (Add, _add),
    "max_pool": (MaxPool, _max_pool),
    "average": (Average, _average),
    "dense": (Dense, _dense),
    "conv_window": (Conv, _conv_window),
    "max_window": (MaxPool, _max_window),
    "flatten": (Flatten, _flatten),
}
_OF_LATER: dict[Any, tuple[str, ...]] = {
    Conv: ("groups", "padding"),
    MaxPool: ("size", "stride", "padding"),
}
