"""The integer network as C99: one file and its header, which need nothing but a compiler.

All arrays are constants, and what layers give lies in memory that the caller owns. The functions
are the files beside this one, of which a program has those that its layers need.
"""

import math
import zlib
from collections.abc import Iterable
from importlib import resources
from string import Template
from typing import NamedTuple

import numpy as np

from flightnn_jax.integer import shapes
from flightnn_jax.integer.export.c import layers, memory, text
from flightnn_jax.integer.limits import IMAGE
from flightnn_jax.integer.network import Convolution, IntegerNetwork

MAX_RAM = 1 << 26
"""Bytes of memory that a program may ask for."""
MAX_FLASH = 1 << 25
"""Bytes of constants that a program may have; as text they take some four times as many."""
MAX_GOLDEN = 4
"""Golden images that become a self-test."""

# {function: those that it calls}, in the order in which they stand. Each is a file of its own.
_FUNCTIONS: dict[str, tuple[str, ...]] = {
    "number": (),
    "even": (),
    "activate": ("even",),
    "dot": (),
    "code": (),
    "shifted": ("dot", "code"),
    "multiplied": ("dot", "code"),
    "added": ("dot",),
    "looked_up": ("dot",),
    "affine_multiplier": (),
    "affine_shifts": ("number",),
    "convolve": ("number", "dot", "activate"),
    "convolve_groups": ("number", "dot", "activate"),
    "dense": ("number", "dot"),
    "add": ("number", "activate"),
    "max_pool": (),
    "max_window": (),
    "flatten": (),
    "total": (),
    "totals": ("total",),
    "average": ("number", "even", "total"),
    "centred": (),
}


class CExportError(ValueError):
    """A network of which no C is made: why, and what to do."""


class Size(NamedTuple):
    """What a layer takes: bytes of constants, and of what it gives."""

    layer: str
    flash: int
    output: int


class Program(NamedTuple):
    """A network in C.

    Attributes:
      name: of the files, NAME.c and NAME.h. What other files see begins with fl_NAME.
      source: the text of NAME.c.
      header: the text of NAME.h.
      flash: bytes of constants; code comes on top.
      ram: bytes of the workspace; image and logits come on top.
      sizes: of each layer.
    """

    name: str
    source: str
    header: str
    flash: int
    ram: int
    sizes: tuple[Size, ...]

    def table(self) -> str:
        """What each layer and the whole take, for people."""
        lines = [f"{'bytes':20}  constants     output"]
        lines += [f"{x.layer:20}{x.flash:11,}{x.output:11,}" for x in self.sizes]
        lines += [f"constants {self.flash:,}, workspace {self.ram:,} bytes; code comes on top"]
        return "\n".join(lines)


def to_c(network: IntegerNetwork) -> Program:
    """A network as a program that gives the same integers.

    Args:
      network: a valid one, with its certificates.

    Raises:
      CExportError: if the network has what there is no C for, or takes too much memory.

    Example:
      >>> from flightnn_jax.integer import Average
      >>> sums = (Average("average", "image", None, -7),)
      >>> network = IntegerNetwork("mean", (2, 2, 3), sums, 3, None, -7, ("r", "g", "b"), {}, None)
      >>> program = to_c(network)
      >>> program.name, program.flash, program.ram
      ('mean', 0, 12)
    """
    for layer in network.layers:
        if (what := layers.unsupported(layer)) is not None:
            raise CExportError(f"{layer.name}: {what}: export the network as ONNX or StableHLO")
    place, known = memory.plan(network), shapes.outputs(network)
    by_shifts = network.affine_terms is not None
    parts = [
        layers.part(layer, [known[name] for name in layer.inputs], known[layer.name], by_shifts)
        for layer in network.layers
    ]
    flash, ram = sum(part.flash for part in parts), memory.WORD * place.words
    for what, taken, most in (("memory", ram, MAX_RAM), ("constants", flash, MAX_FLASH)):
        if taken > most:
            raise CExportError(
                f"{network.name}: {taken:,} bytes of {what}: C is made for {most:,} at most: give "
                "smaller images or a narrower network, or export it as ONNX"
            )
    sizes = tuple(
        Size(layer.name, part.flash, memory.output_bytes(known[layer.name]))
        for layer, part in zip(network.layers, parts, strict=True)
    )
    source = _source(network, parts, place, known)
    program = Program(text.name_of(network.name), source, "", flash, ram, sizes)
    return program._replace(header=_header(network, program))


def _file(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text()


def _filled(file: str, network: IntegerNetwork, **values: object) -> str:
    """A file with the network's name and these values in the places that it has for them."""
    name = text.name_of(network.name)
    return Template(_file(file)).substitute(values, name=name, NAME=name.upper())


def _header(network: IntegerNetwork, program: Program) -> str:
    return _filled(
        "header.h",
        network,
        about=text.comment(network.name),
        sizes="\n".join(f"   {line}" for line in program.table().splitlines()),
        image=math.prod(network.input_shape),
        shape="x".join(map(str, network.input_shape)),
        classes=len(network.labels),
        words=program.ram // memory.WORD,
        ram=program.ram,
        flash=program.flash,
        exponent=network.output_exponent,
    )


def _source(
    network: IntegerNetwork,
    parts: list[layers.Part],
    place: memory.Memory,
    known: dict[str, shapes.Output],
) -> str:
    needed = {"centred"}.union(*(part.needs for part in parts))
    for name in reversed(_FUNCTIONS):
        needed |= set(_FUNCTIONS[name]) if name in needed else set()
    labels = ",\n    ".join(map(text.quoted, network.labels))
    pieces = [
        _about(network),
        f'#include "{text.name_of(network.name)}.h"\n',
        f"enum {{ LAYERS = {len(parts)}, SLOPE = {network.slope} }};\n",
        _file("record.c"),
        *(_file(f"{name}.c") for name in _FUNCTIONS if name in needed),
        *("\n".join([f"/* {part.what} */", *part.tables, ""]) for part in parts if part.tables),
        _infer(network, parts, place, known),
        _filled("class.c", network, labels=labels),
        _self_test(network),
    ]
    return "\n".join(pieces)


def _about(network: IntegerNetwork) -> str:
    kinds = dict.fromkeys(x.weights.kind for x in network.weighted if not x.weights.terms)
    products = [f"weights of kind {kind}" for kind in kinds]
    if network.affine_terms is None and any(isinstance(x, Convolution) for x in network.layers):
        products.append("the sums of convolutions, each filter's by one number")
    what = f"Products of integers: {'; '.join(products)}." if products else "Nothing is multiplied."
    return f"""\
/* {text.comment(network.name)}: an integer network in C99, written by flightnn_jax.

   {what}
   Weights that are sums of powers of two are shifts, additions and subtractions.

   With -DFLIGHTNN_MAIN this file is a program that tests itself. With a macro of your own,
   FLIGHTNN_LAYER(name, values, count, is_sums), you see what each layer gives: int8_t
   activations, or int32_t sums. */
"""


def _infer(
    network: IntegerNetwork,
    parts: list[layers.Part],
    place: memory.Memory,
    known: dict[str, shapes.Output],
) -> str:
    first = f"(int8_t *)(workspace + {place.first[IMAGE]})"
    lines = [
        f"void fl_{text.name_of(network.name)}_infer(const uint8_t *image, int32_t *logits, "
        "int32_t *workspace)",
        "{",
        f"    int8_t *const out_{IMAGE} = {first};",
        f"    centred({math.prod(network.input_shape)}, image, out_{IMAGE});",
    ]
    for layer, part in zip(network.layers, parts, strict=True):
        output, out = known[layer.name], f"out_{layer.name}"
        where = "logits"
        if layer.name in place.first:
            where = f"{'' if output.sums else '(int8_t *)'}(workspace + {place.first[layer.name]})"
        seen = f'"{layer.name}", {out}, {math.prod(output.shape)}, {int(output.sums)}'
        lines += [
            "",
            f"    /* {part.what} */",
            f"    {'int32_t' if output.sums else 'int8_t'} *const {out} = {where};",
            f"    {part.call}",
            f"    FLIGHTNN_LAYER({seen});",
        ]
    return "\n".join([*lines, "}", ""])


def _self_test(network: IntegerNetwork) -> str:
    golden, count = network.golden, 0
    images, crcs = ["{0}"], ["{0}"]
    if golden is not None and len(golden.images):
        count = min(MAX_GOLDEN, len(golden.images))
        images = [_braces(image.reshape(-1).tolist()) for image in golden.images[:count]]
        crcs = [
            _braces(f"0x{_crc(golden.outputs[layer.name][i]):08x}u" for layer in network.layers)
            for i in range(count)
        ]
    names = ",\n    ".join(f'"{layer.name}"' for layer in network.layers)
    rows = {name: ",\n    ".join(row) for name, row in (("images", images), ("crcs", crcs))}
    return _filled("self_test.c", network, count=count, names=names, **rows)


def _braces(values: Iterable[object]) -> str:
    return "{" + ", ".join(map(str, values)) + "}"


def _crc(output: np.ndarray) -> int:
    """The CRC-32 of an output: activations as a byte, sums as four, little-endian."""
    return zlib.crc32(output.astype(output.dtype.newbyteorder("<"), copy=False).tobytes())
