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
      buffer: handshake of a buffer.
      state: of a counter or register of control, a bit.
      control: of an engine beside those.
      zero: for a bit of an activation that may lie outside of the map.
      shifted: of one activation times one term.
      integer: of one activation times one 4-bit integer, in adders.
      added: for a bit that is added up over steps.
      result: for a bit of a sum that waits to leave.
      clip: for a bit that is clipped.
      step: of a step of a pipeline that closes up.
      distance: for a bit and a bit of the distance by which it is shifted.
      signed: for a bit of a signed power of two's product.
      rounding: of an activation.
      slope: for a bit that one of two shifts may give.
      sticky: for a bit that may be shifted out.
      largest: for a bit of a pool.
      summed: for a bit of an average.
      reduce: of either beside its counters.
      widened: for a bit of a wider word.
      queue: of a queue beside its counters.
    """

    buffer: float = 7.18
    state: float = 1.25
    control: float = 53.31
    zero: float = 0.05
    shifted: float = 25.68
    integer: float = 40.21
    added: float = 2.68
    result: float = 0.01
    clip: float = 3.29
    step: float = 1.09
    distance: float = 0.46
    signed: float = 0.0
    rounding: float = 1.33
    slope: float = 2.0
    sticky: float = 0.58
    largest: float = 3.55
    summed: float = 1.93
    reduce: float = 9.63
    widened: float = 0.59
    queue: float = 5.26


CONSTANTS = Constants()
"""Least squares of relative errors, the first set of benchmarks/rtl_resources.py, Yosys 0.23."""


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
        return Resources(lut=4 * math.ceil(width / 3) * deep + width * (deep > 1), ff=width)

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
        deep = math.ceil(2.0 ** (width_of(words) - 6))
        return Resources(lut=used * deep * (words > 2), ff=used)

    def buffer(self, width: int) -> Resources:
        """fl_buffer: two words, and a choice of what becomes the first."""
        return Resources(lut=width + self.c.buffer, ff=2 * width + 2)

    def states(self, bits: int) -> Resources:
        """Registers of control."""
        return Resources(lut=self.c.state * bits, ff=bits)

    def count(self, states: int) -> Resources:
        """A counter; one of a single state is none."""
        return self.states(width_of(states) if states > 1 else 0)


def width_of(states: int) -> int:
    """Of a number below `states`, one at least."""
    return max(1, (states - 1).bit_length())
