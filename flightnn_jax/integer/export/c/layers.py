"""Each layer as C: its tables, the call that computes it, and the functions that this needs."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from flightnn_jax.integer.codebook import CodebookWeights
from flightnn_jax.integer.export.c import text
from flightnn_jax.integer.network import (
    Add,
    Affine,
    Average,
    Convolution,
    Dense,
    Flatten,
    Layer,
    MaxPool,
)
from flightnn_jax.integer.powers import signed_powers
from flightnn_jax.integer.shapes import Output
from flightnn_jax.integer.weights import Weights

# The function for each kind of weights.
_DOTS = {"shift": "shifted", "integer": "multiplied", "binary": "added", "codebook": "looked_up"}
_NO_POWER = 64


class Part(NamedTuple):
    """What a layer adds to a program.

    Attributes:
      what: a line for people.
      tables: the text of its constants.
      flash: bytes of these.
      call: the statement that computes it: out_LAYER is what a layer gives.
      needs: the functions, by the names of their files.
    """

    what: str
    tables: list[str]
    flash: int
    call: str
    needs: tuple[str, ...]


@dataclasses.dataclass
class _Tables:
    """The constants of one layer on the way to a part."""

    layer: str
    texts: list[str] = dataclasses.field(default_factory=list)
    flash: int = 0

    def array(self, kind: str, values: np.ndarray | None) -> object:
        """The name of a further table, or 0 for none."""
        if values is None:
            return 0
        self.texts.append(text.array(f"{kind}_{self.layer}", values))
        self.flash += max(values.nbytes, values.itemsize)
        return f"{kind}_{self.layer}"

    def record(self, kind: str, fields: dict[str, object]) -> None:
        self.texts.append(text.record(kind, f"layer_{self.layer}", fields))

    def weights(self, weights: Weights) -> dict[str, object]:
        """The fields that a layer with weights has for them."""
        passes = weights.passes
        return {
            "dot": _DOTS[weights.kind],
            "codes": self.array("codes", _codes(weights)),
            "passes": self.array("passes", None if np.all(passes == 1) else passes),
        }

    def affine(self, affine: Affine, certificate: np.ndarray, by_shifts: bool) -> str:
        """The initializer of an affine map; bounds that no sum reaches are left out."""
        clips_low = np.any(affine.low > certificate[:, 0])
        clips_high = np.any(affine.high < certificate[:, 1])
        fields = {
            "low": self.array("low", affine.low if clips_low else None),
            "high": self.array("high", affine.high if clips_high else None),
        }
        if by_shifts:
            powers = _powers(affine.multiplier)
            fields["powers"] = self.array("powers", powers)
            fields |= {"count": len(powers), "filters": powers.shape[1]}
        else:
            fields["multiplier"] = self.array("multiplier", affine.multiplier)
        fields["bias"] = self.array("bias", affine.bias)
        return "{" + ", ".join(f".{field} = {value}" for field, value in fields.items()) + "}"


def _codes(weights: Weights) -> np.ndarray:
    """The bytes that a kind's function reads; a table of levels stands before the codes."""
    packed = weights.tensors()["codes"]
    if not isinstance(weights, CodebookWeights):
        return packed
    levels = weights.levels.view(np.uint8)
    return np.concatenate([[levels.size - 1], levels, packed, [0]]).astype(np.uint8)


def _powers(multiplier: np.ndarray) -> np.ndarray:
    """[count, filters] uint8, 2 exponent + (1 for minus); 64 where a filter has fewer."""
    powers = [
        np.where(sign == 0, _NO_POWER, 2 * exponent + (sign < 0))
        for sign, exponent in signed_powers(multiplier)
    ]
    return np.array(powers or [np.full(multiplier.shape, _NO_POWER)], np.uint8)


def unsupported(layer: Layer) -> str | None:
    """What of a layer has no C, or None."""
    if isinstance(layer, Convolution | Dense) and layer.weights.kind not in _DOTS:
        return f"weights of kind {layer.weights.kind!r} (there is C for {', '.join(_DOTS)})"
    return None


def part(layer: Layer, read: list[Output], output: Output, by_shifts: bool) -> Part:
    """A layer's part.

    Args:
      layer: of a valid network.
      read: what its inputs are.
      output: what it gives.
      by_shifts: whether the network's multipliers are sums of powers of two.
    """
    what, function = _PARTS[type(layer)]
    made = function(layer, read, output, by_shifts)
    sizes = " and ".join(dict.fromkeys(_size(x.shape) for x in read))
    about = f"{layer.name}: {what}, {sizes} to {_size(output.shape)}"
    if isinstance(layer, Convolution | Dense):
        about += f", {_weights(layer.weights)}"
    if isinstance(layer, Convolution):
        size = "x".join(map(str, layer.weights.shape[:2]))
        about = about.replace(what, f"{size} {what}, stride {layer.stride}", 1)
        about += f", {layer.groups} groups" * (layer.groups > 1)
    if isinstance(layer, MaxPool):
        about = about.replace("2x2", f"{layer.size}x{layer.size}", 1)
    return made._replace(what=about)


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _weights(weights: Weights) -> str:
    passes = weights.passes
    if weights.kind != "shift":
        return f"weights of kind {weights.kind}"
    return f"weights of {passes.min()} to {passes.max()} powers of two"


def _convolution(layer: Convolution, read: list[Output], output: Output, by_shifts: bool) -> Part:
    tables, size = _Tables(layer.name), layer.weights.shape[0]
    height, width, channels = read[0].shape
    around, stride, row = layer.around, layer.stride, width * channels
    fields: dict[str, object] = {
        "height": height,
        "row": row,
        "size": size,
        "run": size * channels,
        "taps": size * size * channels,
        "above": around,
        "before": around * channels,
        "stride": stride,
        "step": stride * channels,
        "leap": stride * row,
        "out_height": output.shape[0],
        "out_width": output.shape[1],
        "filters": output.shape[2],
    }
    if layer.groups > 1:
        fields = _windows(layer, read[0], output)
        group = layer.weights.shape[2]
        fields |= {"filters": output.shape[2], "group": group}
        fields["each"] = output.shape[2] // layer.groups
    fields |= {
        **tables.weights(layer.weights),
        "affine": tables.affine(layer.affine, layer.certificate, by_shifts),
        "shift": tables.array("shift", layer.shift),
        "slope": "0" if layer.linear else "SLOPE",
    }
    function = "convolve" if layer.groups == 1 else "convolve_groups"
    tables.record("Convolution" if layer.groups == 1 else "Groups", fields)
    out = f"out_{layer.name}"
    outputs = f"0, {out}" if output.sums else f"{out}, 0"
    call = f"{function}(&layer_{layer.name}, out_{layer.input}, {outputs});"
    affine = "affine_shifts" if by_shifts else "affine_multiplier"
    needs = (_DOTS[layer.weights.kind], affine, function)
    return Part("", tables.texts, tables.flash, call, needs)


def _windows(layer: Convolution | MaxPool, read: Output, output: Output) -> dict[str, object]:
    """The fields of what goes over an image by rows and columns."""
    height, width, channels = read.shape
    if isinstance(layer, MaxPool):
        size, around = layer.size, layer.padding
    else:
        size, around = layer.weights.shape[0], layer.around
    return {
        "height": height,
        "width": width,
        "channels": channels,
        "size": size,
        "around": around,
        "stride": layer.stride,
        "out_height": output.shape[0],
        "out_width": output.shape[1],
    }


def _dense(layer: Dense, read: list[Output], output: Output, by_shifts: bool) -> Part:
    del by_shifts
    tables = _Tables(layer.name)
    fields: dict[str, object] = {"inputs": read[0].shape[0], "units": output.shape[0]}
    fields |= tables.weights(layer.weights)
    fields["bias"] = tables.array("bias", layer.bias)
    tables.record("Dense", fields)
    call = f"dense(&layer_{layer.name}, out_{layer.input}, out_{layer.name});"
    return Part("", tables.texts, tables.flash, call, (_DOTS[layer.weights.kind], "dense"))


def _add(layer: Add, read: list[Output], output: Output, by_shifts: bool) -> Part:
    del read, by_shifts
    tables = _Tables(layer.name)
    lifts = [tables.array(f"lift{i}", lift) for i, lift in enumerate(layer.lift)]
    fields: dict[str, object] = {
        "values": math.prod(output.shape),
        "channels": output.shape[-1],
        "lift": "{" + ", ".join(map(str, lifts)) + "}",
        "shift": tables.array("shift", layer.shift),
    }
    tables.record("Add", fields)
    inputs = ", ".join(f"out_{name}" for name in layer.inputs)
    call = f"add(&layer_{layer.name}, {inputs}, out_{layer.name});"
    return Part("", tables.texts, tables.flash, call, ("add",))


def _max_pool(layer: MaxPool, read: list[Output], output: Output, by_shifts: bool) -> Part:
    del by_shifts
    height, width, channels = read[0].shape
    if not layer.is_plain:
        tables = _Tables(layer.name)
        tables.record("Windows", _windows(layer, read[0], output))
        call = f"max_window(&layer_{layer.name}, out_{layer.input}, out_{layer.name});"
        return Part("", tables.texts, 0, call, ("max_window",))
    call = (
        f"max_pool({height}, {width * channels}, {channels}, out_{layer.input}, out_{layer.name});"
    )
    return Part("", [], 0, call, ("max_pool",))


def _flatten(layer: Flatten, read: list[Output], output: Output, by_shifts: bool) -> Part:
    del read, by_shifts
    call = f"flatten({output.shape[-1]}, out_{layer.input}, out_{layer.name});"
    return Part("", [], 0, call, ("flatten",))


def _average(layer: Average, read: list[Output], output: Output, by_shifts: bool) -> Part:
    del output, by_shifts
    values, channels = math.prod(read[0].shape), read[0].shape[-1]
    if layer.shift is None:
        return Part(
            "",
            [],
            0,
            f"totals({values}, {channels}, out_{layer.input}, out_{layer.name});",
            ("totals",),
        )
    left, right = max(-layer.shift, 0), max(layer.shift, 0)
    call = f"average({values}, {channels}, {left}, {right}, out_{layer.input}, out_{layer.name});"
    return Part("", [], 0, call, ("average",))


_PARTS: dict[type, tuple[str, Callable[[Any, list[Output], Output, bool], Part]]] = {
    Convolution: ("convolution", _convolution),
    Dense: ("dense layer", _dense),
    Add: ("addition", _add),
    MaxPool: ("2x2 max-pool", _max_pool),
    Average: ("average", _average),
    Flatten: ("values in a row", _flatten),
}
