"""What modules are made of, and what it takes: memories, tables of constants, buffers, counters.

NumPy alone.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from flightnn_jax.fpga import Resources, Shapes, blocks
from flightnn_jax.rtl.lookups import Lookup
from flightnn_jax.rtl.verilog import CODE_BITS, Instance


class Constants(NamedTuple):
    """Tables for what the Verilog does not say; LUTs are linear in all of them.

    Attributes:
      control: of fl_rows.
      zero: of fl_rows, for a bit of an activation that may lie outside of the map.
      counted: of fl_rows, for a bit that counts steps or words.
      place: of fl_rows, for a bit of the place of a row.
      offset: of fl_rows, for a bit of a place within a row.
      part: of fl_group_rows besides, for a bit of a place within a row.
      shifted: of one activation times one term.
      integer: of one activation times one 4-bit integer, in adders.
      negated: of one activation times a sign.
      differ: of one sign times a sign, but for their count.
      state: of another counter or register of control, a bit.
      clip: for a bit that is clipped.
      shifts: for a bit that one of 16 shifts may give.
      edges: of a shifted value, where its ends leave no choice.
      lifted: for a bit and a bit of the distance by which an addition lifts it.
      rounding: of an activation.
      more: for a bit that is shifted by a channel's own distance, and a bit of this.
      wrapping: for a bit of a counter that begins again, and what depends on where it is.
      largest: for a bit of a pool.
      squares: of a pool beside its counters.
      reduce: of a pool's or average's memory beside its bits.
      queue: of a queue beside its counters.
      left: of a word that is made narrower, for a bit that counts its parts and words.
      reordered: of a reorder beside its counter.
    """

    control: float = 3.81
    zero: float = 0.9
    counted: float = 0.95
    place: float = 26.91
    offset: float = 7.97
    part: float = 3.0
    shifted: float = 26.0
    integer: float = 47.0
    negated: float = 8.0
    differ: float = 1.65
    state: float = 1.25
    clip: float = 2.5
    shifts: float = 4.3
    edges: float = 6.0
    lifted: float = 0.46
    rounding: float = 11.0
    more: float = 0.7
    wrapping: float = 1.5
    largest: float = 2.55
    squares: float = 6.5
    reduce: float = 6.2
    queue: float = 6.5
    left: float = 2.25
    reordered: float = 15.0


CONSTANTS = Constants()
"""By modules alone (benchmarks/rtl_modules.py), and where these do not say enough by the stages of
`benchmarks.rtl_resources --seen`: engines of integers, clips, shifted values. Yosys 0.23."""


def total(parts: Iterable[Resources]) -> Resources:
    """The sum of all."""
    return Resources(*(sum(column) for column in zip(Resources(), *parts, strict=True)))


class Parameters:
    """An instance's parameters by name, its tables, the constants, and shapes of blocks.

    Without shapes blocks are those of Xilinx as Yosys packs them (`packed`).
    """

    def __init__(
        self, made: Instance, constants: Constants = CONSTANTS, shapes: Shapes | None = None
    ) -> None:
        self.parameters, self.files, self.c = made.parameters, made.files, constants
        self.shapes = shapes

    def __getitem__(self, name: str) -> int:
        return int(self.parameters[name])

    @property
    def code_bits(self) -> int:
        """Of fl_conv."""
        return int(self.parameters.get("CODE", CODE_BITS))

    @property
    def signs(self) -> bool:
        """Whether fl_conv counts products of signs."""
        return bool(self.parameters.get("SIGNS", 0))

    @property
    def kept_bits(self) -> int:
        """Of an activation in fl_conv's rows."""
        if self.signs:
            return 2
        return int(self.parameters.get("KEPT", 8)) if "PADDING" not in self.parameters else 8

    @property
    def lookup(self) -> Lookup | None:
        """How fl_conv looks products up; levels that are not known are as large as can be."""
        kind = self.parameters.get("LOOKUP", 0)
        if not kind:
            return None
        code, kept = self.code_bits, int(self.parameters["KEPT"])
        levels: tuple[int, ...] = (-127, 127)
        if "TABLE" in self.parameters:
            table = int(str(self.parameters["TABLE"]).partition("'h")[2], 16)
            each = [table >> 8 * i & 255 for i in range(1 << code)]
            levels = tuple(x - ((x & 128) << 1) for x in each)
        return Lookup(levels, code, kept, kind == 1)

    def table(self, name: str, bits: int) -> np.ndarray | None:
        """[words, bits] of the file that a parameter names, the lowest bit first; None without."""
        text = self.files.get(str(self.parameters.get(name, "")).strip('"'))
        if text is None:
            return None
        rows = np.frombuffer(text, np.uint8).reshape(text.count(b"\n"), -1)[:, -2::-1]
        digits = np.where(rows > ord("9"), rows - (ord("a") - 10), rows - ord("0"))
        spread = (digits[:, :, None] >> np.arange(4)) & 1
        return spread.reshape(len(rows), -1)[:, :bits]

    def memory(self, width: int, words: int, block: int) -> Resources:
        """fl_ram: blocks, or tables, four of which hold 32 words of 6 bits or 64 of 3."""
        if block:
            return self.blocks(width, words, lane=9)
        if words <= 32:
            return Resources(lut=4 * math.ceil(width / 6), ff=width)
        deep = math.ceil(words / 64)
        chosen = deep + width * ((deep > 1) + (deep > 4)) if deep > 1 else 0
        return Resources(lut=4 * math.ceil(width / 3) * deep + chosen, ff=width)

    def rom(self, words: int, bits: int, columns: np.ndarray | None, block: int = 0) -> Resources:
        """fl_rom: blocks, or a register a column behind tables of 64 words, which others choose."""
        if block:
            return self.blocks(bits, words)
        if words == 1:
            return Resources()
        if columns is None:
            return Resources(lut=bits * _deep(words) * (words > 2), ff=bits)
        columns = np.unique(columns[:, (columns != columns[0]).any(axis=0)], axis=1)
        return Resources(lut=tables(columns), ff=columns.shape[1])

    def blocks(self, bits: int, words: int, lane: int = 1) -> Resources:
        """Of a memory of blocks, and of a choice between slices of its words, if it has several."""
        if self.shapes is not None:
            return Resources(bram=blocks(bits, words, self.shapes))
        count, slices = packed(bits, words, lane)
        if slices == 1:
            return Resources(bram=count)
        each = 1 if slices <= 4 else 4 if slices <= 8 else 1 + slices / 4
        return Resources(bram=count, lut=each * bits, ff=(slices - 1).bit_length())

    def buffer(self, width: int) -> Resources:
        """fl_buffer: two words, and a choice of what becomes the first."""
        return Resources(lut=width + 4, ff=2 * width + 2)

    def states(self, bits: int) -> Resources:
        """Registers of control."""
        return Resources(lut=self.c.state * bits, ff=bits)

    def wrapping(self, bits: int) -> Resources:
        """Registers of counters that begin again."""
        return Resources(lut=self.c.wrapping * bits, ff=bits)

    def count(self, states: int) -> Resources:
        """A counter; one of a single state is none."""
        return self.states(width_of(states) if states > 1 else 0)


def packed(bits: int, words: int, lane: int = 1) -> tuple[int, int]:
    """Blocks of 18 kb of a memory, and into how many slices of words Yosys 0.23 cuts it.

    Slices lie side by side in a wide block, and what was read is chosen behind it. A slice takes
    whole lanes, of 9 bits where words are written and of a bit where they are not. Of all widths of
    a block of 18 or 36 kb the one is taken for which 129 or 257 a block and a half for each bit
    that is chosen from are the least (memory_libmap and its brams_xc4v.txt).

    Example:
      >>> packed(bits=20, words=1100)  # one block of 512 x 72, which has three slices
      (2, 3)
    """
    found = []
    for size, price, widths in ((1, 129, (1, 2, 4, 9, 18, 36)), (2, 257, (1, 2, 4, 9, 18, 36, 72))):
        for i, width in enumerate(widths):
            slices = math.ceil(words / (size << 14 >> i))
            wide = min(lane, width)
            count = math.ceil(math.ceil(bits / wide) * wide * slices / width)
            found.append((price * count + bits * (slices - 1) / 2, size * count, slices))
    _, count, slices = min(found)
    return count, slices


def tables(columns: np.ndarray) -> int:
    """Tables of registers that read columns of constants, [words, columns], no two alike.

    Where half of a column is constant, by the highest bit of the address, Yosys resets the register
    there, by a table of its own for each bit. What is left is a bit of the address, or a table for
    every 64 words, which columns that are left alike share.
    """
    words, count = columns.shape
    whole = np.full((1 << (words - 1).bit_length(), count), -1)  # of a word that is not there
    whole[:words] = columns
    resets, rests = 0, set()
    for column in whole.T:
        rest, reset = _split(column)
        resets += reset
        rests.add(tuple(rest.tolist()))
    return resets + sum(_deep(len(rest)) for rest in rests if not _is_address(np.array(rest)))


def _split(words: np.ndarray) -> tuple[np.ndarray, bool]:
    """What is left of a column, of a power of two words, and whether its register is reset."""
    reset: set[int] = set()
    while len(words) > 1:
        low, high = np.split(words, 2)
        below, above = ({*half[half >= 0].tolist()} for half in (low, high))
        if not above or (len(above) == 1 < len(below) and reset <= above):
            words, reset = low, reset | above
        elif len(below) == 1 < len(above) and reset <= below:
            words, reset = high, reset | below
        else:
            break
    return words, bool(reset)


def _is_address(words: np.ndarray) -> bool:
    """Whether those that are there are a bit of their address, or all alike."""
    there = words >= 0
    place = np.arange(len(words))
    bits = range((len(words) - 1).bit_length())
    return len({*words[there]}) == 1 or any(
        ((place >> bit & 1) == words)[there].all() for bit in bits
    )


def _deep(words: int) -> int:
    """Tables of 64 words for a bit; more than four take more than the multiplexers behind them."""
    deep = math.ceil(words / 64)
    return deep + (deep > 4)


def width_of(states: int) -> int:
    """Of a number below `states`, one at least."""
    return max(1, (states - 1).bit_length())


def left(beats: int) -> int:
    """Bits of the beats that are left, less two."""
    return 1 if beats == 1 else max(2, (beats - 2).bit_length() + 1)
