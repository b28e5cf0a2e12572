"""What stands in a compiled program: exchanges between devices, matrix products, memory traffic."""

import math
import re
from collections import Counter
from typing import NamedTuple

_SIZES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4, "f64": 8}
_SHAPE = re.compile(r"\b([a-z]\w*?)\[([\d,]*)\]")
_INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?([\w.-]+) = (.*?) ([a-z][\w-]*)\((.*)$")
_EXCHANGES = ("all-reduce", "all-gather", "reduce-scatter", "collective-permute", "all-to-all")
_FREE = ("parameter", "constant", "get-tuple-element", "tuple", "bitcast", "after-all")


class Instruction(NamedTuple):
    """A line of a program.

    Attributes:
      name: of its result.
      shape: of its result, as text.
      operation: what it does.
      rest: operands and attributes, as text.
      entry: whether it stands in the program's main part, so that it reads and writes memory.
    """

    name: str
    shape: str
    operation: str
    rest: str
    entry: bool

    @property
    def operands(self) -> list[str]:
        """Their names."""
        return re.findall(r"%([\w.-]+)", self.rest.split("), ")[0])


def instructions(text: str) -> list[Instruction]:
    """All lines of a program.

    Example:
      >>> line = "  %a = f32[2]{0} add(%b, %c), metadata={}"
      >>> [(i.name, i.operation, i.operands, i.entry) for i in instructions(line)]
      [('a', 'add', ['b', 'c'], False)]
    """
    made, entry = [], False
    for line in text.splitlines():
        if line.startswith(("ENTRY", "%", "HloModule", "}")):
            entry = line.startswith("ENTRY")
        if match := _INSTRUCTION.match(line):
            name, shape, operation, rest = match.groups()
            made.append(Instruction(name, shape, operation, rest, entry))
    return made


def size(shape: str) -> int:
    """Bytes of a shape, or of all of a tuple.

    Example:
      >>> size("(f32[2,16]{1,0:T(8,128)}, bf16[4]{0})")
      136
    """
    return sum(
        _SIZES.get(kind, 4) * math.prod(int(n) for n in extent.split(",") if n)
        for kind, extent in _SHAPE.findall(shape)
    )


def exchanges(program: list[Instruction]) -> list[tuple[str, int]]:
    """(operation, bytes) of every exchange between devices."""
    return [
        (i.operation.removesuffix("-start"), size(i.shape))
        for i in program
        if i.operation.removesuffix("-start") in _EXCHANGES
    ]


def products(program: list[Instruction]) -> dict[str, int]:
    """How many convolutions and matrix products there are, by what they take and give."""
    kinds = {i.name: _SHAPE.findall(i.shape) for i in program}
    found: Counter[str] = Counter()
    for i in program:
        library = re.search(r'custom_call_target="(__cudnn|__cublas)([^"]*)"', i.rest)
        if i.operation in ("convolution", "dot") or library:
            taken = [kinds[name][0][0] for name in i.operands[:2] if kinds.get(name)]
            given = _SHAPE.findall(i.shape)[0][0]
            name = library[1].strip("_") + library[2].split("$")[-1] if library else i.operation
            found[f"{name} {' '.join(taken)} -> {given}"] += 1
    return dict(sorted(found.items()))


def traffic(program: list[Instruction]) -> int:
    """Bytes that the main part's instructions read and write; what loops repeat counts once."""
    sizes = {i.name: size(i.shape) for i in program}
    return sum(
        sizes[i.name] + sum(sizes.get(name, 0) for name in i.operands)
        for i in program
        if i.entry and i.operation not in _FREE
    )
