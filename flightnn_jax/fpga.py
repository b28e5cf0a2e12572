"""What circuits take on an FPGA, and how many blocks a memory is."""

import math
from typing import NamedTuple

Shapes = tuple[tuple[int, int], ...]
"""(words, bits of a word) that a block can be."""

XILINX_18K: Shapes = ((16384, 1), (8192, 2), (4096, 4), (2048, 9), (1024, 18), (512, 36))
"""Of a block of 18 kb."""


class Resources(NamedTuple):
    """What a circuit takes.

    Attributes:
      bram: blocks of memory.
      dsp: multiplier blocks.
      ff: flip-flops.
      lut: tables, those that are memories or shift registers among them.
    """

    bram: int = 0
    dsp: int = 0
    ff: int = 0
    lut: float = 0


def blocks(bits: int, words: int, shapes: Shapes = XILINX_18K) -> int:
    """Blocks of a memory of so many words, at the best shape of block.

    The plain quotient of bits is up to 46 % too low for wide, shallow memories
    (docs/measurements/synthesis.md), so the shapes of the data sheet are tried.

    Example:
      >>> blocks(bits=256, words=576)  # 15 of 1024 x 18
      15
    """
    if not bits or not words:
        return 0
    return min(math.ceil(bits / width) * math.ceil(words / depth) for depth, width in shapes)
