"""What modules are made of, and what it takes: memories, tables of constants, buffers, counters.

NumPy alone.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from flightnn_jax.fpga import XILINX_18K, Resources, Shapes, blocks
from flightnn_jax.rtl.verilog import Instance


class Constants(NamedTuple):
    """Tables for what the Verilog does not say; LUTs are linear in all of them.

    Attributes:
      control: of fl_rows.
      zero: of fl_rows, for a bit of an activation that may lie outside of the map.
      counted: of fl_rows, for a bit that counts steps or words.
      place: of fl_rows, for a bit of the place of a row.
      offset: of fl_rows, for a bit of a place within a row.
      shifted: of one activation times one term.
      integer: of one activation times one 4-bit integer, in adders.
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
      reordered: of a reorder beside its counter.
    """

    control: float = 3.81
    zero: float = 0.9
    counted: float = 0.95
    place: float = 26.91
    offset: float = 7.97
    shifted: float = 26.0
    integer: float = 47.0
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
    reordered: float = 17.0


CONSTANTS = Constants()
"""By modules alone (benchmarks/rtl_modules.py), and where these do not say enough by the stages of
`benchmarks.rtl_resources --seen`: engines of integers, clips, shifted values. Yosys 0.23."""


def total(parts: Iterable[Resources]) -> Resources:
    """The sum of all."""
    return Resources(*(sum(column) for column in zip(Resources(), *parts, strict=True)))


class Parameters:
    """An instance's parameters by name, its tables, the constants, and shapes of blocks."""

    def __init__(
        self, made: Instance, constants: Constants = CONSTANTS, shapes: Shapes = XILINX_18K
    ) -> None:
        self.parameters, self.files, self.c = made.parameters, made.files, constants
        self.shapes = shapes

    def __getitem__(self, name: str) -> int:
        return int(self.parameters[name])

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
            return Resources(bram=blocks(width, words, self.shapes))
        if words <= 32:
            return Resources(lut=4 * math.ceil(width / 6), ff=width)
        deep = math.ceil(words / 64)
        chosen = deep + width * ((deep > 1) + (deep > 4)) if deep > 1 else 0
        return Resources(lut=4 * math.ceil(width / 3) * deep + chosen, ff=width)

    def rom(self, words: int, bits: int, columns: np.ndarray | None, block: int = 0) -> Resources:
        """fl_rom: blocks, or a register a column behind tables of 64 words, which others choose."""
        if block:
            return Resources(bram=blocks(bits, words, self.shapes))
        if words == 1:
            return Resources()
        used = bits
        if columns is not None:
            columns = columns[:, (columns != columns[0]).any(axis=0)]
            used = np.unique(columns, axis=1).shape[1] if columns.size else 0
        deep = math.ceil(words / 64)
        deep += deep > 4  # wider choices than two levels of multiplexers of the tables
        return Resources(lut=used * deep * (words > 2), ff=used)

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


def width_of(states: int) -> int:
    """Of a number below `states`, one at least."""
    return max(1, (states - 1).bit_length())
