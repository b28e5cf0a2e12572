"""Proof that a netlist of adders gives constant weights times its inputs, for every input.

A word is the output of an adder or register, or an input. By induction over the cells each word
holds, modulo 2**width, a sum of inputs with known integer weights: an operand that is a word
behind constant zeros is that sum times a power of two. Where an operand goes on above the word,
by copies of its sign or by zeros, that is right only if the sum lies within the word for every
input; its range says so, since the inputs do not depend on each other. Nothing else is let
through. The sums at the outputs are then compared with the weights, one by one.

Registers have one clock and one enable, and all ways from x to y as many registers, so that y is
that of one x.
"""

from typing import NamedTuple

import numpy as np

from flightnn_jax.integer.certificate import Range
from flightnn_jax.rtl.netlist import REGISTERS, Bit, Cell, Netlist, in_order


class NotProvenError(ValueError):
    """A netlist of which it is not shown that it computes the sums."""


class Proof(NamedTuple):
    """What was shown.

    Attributes:
      latency: registers on each way from x to y.
      adders: additions, subtractions and negations.
      registers: words that are kept.
    """

    latency: int
    adders: int
    registers: int


class _Word(NamedTuple):
    """What some bits hold.

    Attributes:
      bits: the lowest first.
      weights: [taps] int64; the word is weights @ x, modulo 2**len(bits).
      low: the least that weights @ x can be.
      high: the largest.
      slot: registers on each way from x to here.
    """

    bits: tuple[Bit, ...]
    weights: np.ndarray
    low: int
    high: int
    slot: int


class _Operand(NamedTuple):
    """What an adder reads: weights @ x, modulo 2 to the number of its bits; 0 has no slot."""

    weights: np.ndarray
    slot: int | None


def prove(netlist: Netlist, weights: np.ndarray, inputs: Range, input_bits: int = 8) -> Proof:
    """Shows that y = weights^T x for every x within its ranges.

    Args:
      netlist: with the ports clk, enable, x and y, as `hardwired` writes them.
      weights: [taps, filters] integers.
      inputs: [taps] the range of each input.
      input_bits: of each input.

    Raises:
      NotProvenError: if that is not shown.
    """
    taps, filters = weights.shape
    x, y = netlist.ports["x"], netlist.ports["y"]
    if len(x) != taps * input_bits or len(y) % filters:
        raise NotProvenError(
            f"{len(x)} bits of x and {len(y)} of y: {taps} taps and {filters} filters"
        )
    try:
        cells = in_order(netlist)
    except ValueError as error:
        raise NotProvenError(str(error)) from None
    forms = _Forms(netlist, inputs)
    for tap, unit in enumerate(np.eye(taps, dtype=np.int64)):
        forms.define(x[input_bits * tap :][:input_bits], unit, 0)
    for cell in cells:
        forms.cell(cell)
    bits = len(y) // filters
    counts = (inputs.low != 0) | (inputs.high != 0)  # what is always 0 has any weight
    found = [forms.result(y[bits * i :][:bits]) for i in range(filters)]
    for i, operand in enumerate(found):
        wrong = np.flatnonzero((operand.weights != weights[:, i]) & counts)
        if wrong.size:
            tap = wrong[0]
            raise NotProvenError(
                f"filter {i}: the weight of tap {tap} is {operand.weights[tap]}, and should be "
                f"{weights[tap, i]}"
            )
    slots = {operand.slot for operand in found if operand.slot is not None}
    if len(slots) > 1:
        raise NotProvenError(f"sums leave after {sorted(slots)} registers: it must be as many")
    kept = sum(cell.kind in REGISTERS for cell in cells)
    return Proof(max(slots, default=0), len(cells) - kept, kept)


class _Forms:
    """What every word holds."""

    def __init__(self, netlist: Netlist, inputs: Range) -> None:
        self._inputs = inputs
        self._clock, self._enable = netlist.ports["clk"], netlist.ports["enable"]
        self._place: dict[Bit, tuple[_Word, int]] = {}

    def define(self, bits: tuple[Bit, ...], weights: np.ndarray, slot: int) -> None:
        """These bits hold weights @ x."""
        plus, minus = np.maximum(weights, 0), np.minimum(weights, 0)
        low = plus @ self._inputs.low + minus @ self._inputs.high
        high = plus @ self._inputs.high + minus @ self._inputs.low
        word = _Word(bits, weights, int(low), int(high), slot)
        self._place.update((bit, (word, i)) for i, bit in enumerate(bits))

    def cell(self, cell: Cell) -> None:
        """What a cell drives."""
        width = len(cell.outputs)
        if cell.kind in REGISTERS:
            self._check_register(cell)
            kept = self.read(cell.ports["D"])
            if kept.slot is None:
                raise NotProvenError("a register keeps a constant: leave it out")
            self.define(cell.outputs, kept.weights, kept.slot + 1)
            return
        signs = {"$add": (1, 1), "$sub": (1, -1), "$neg": (-1,)}.get(cell.kind)
        if signs is None:
            raise NotProvenError(
                f"a cell {cell.kind}: sums are made of additions and subtractions alone"
            )
        operands = [self.read(cell.operand(name, width)) for name in "AB"[: len(signs)]]
        slots = {part.slot for part in operands if part.slot is not None}
        if len(slots) != 1:
            raise NotProvenError(
                f"a {cell.kind} of values behind {slots} registers: it must be as many"
            )
        parts = [sign * part.weights for sign, part in zip(signs, operands, strict=True)]
        total = np.sum(parts, axis=0)
        self.define(cell.outputs, total, slots.pop())

    def _check_register(self, cell: Cell) -> None:
        wired = (cell.ports.get("CLK"), cell.ports.get("EN"))
        rising = cell.parameters.get("CLK_POLARITY"), cell.parameters.get("EN_POLARITY")
        if wired != (self._clock, self._enable) or rising != (1, 1):
            raise NotProvenError(
                f"a {cell.kind} that is not kept by clk and enable alone: all registers are"
            )

    def read(self, bits: tuple[Bit, ...]) -> _Operand:
        """The sum that an operand is, modulo 2**len(bits)."""
        operand, _ = self._parsed(bits)
        return operand

    def result(self, bits: tuple[Bit, ...]) -> _Operand:
        """The sum that an output is, as a number in two's complement."""
        operand, (low, high) = self._parsed(bits)
        if not _within(low, high, len(bits), signed=True):
            raise NotProvenError(f"a sum from {low} to {high} in {len(bits)} bits: give it more")
        return operand

    def _parsed(self, bits: tuple[Bit, ...]) -> tuple[_Operand, tuple[int, int]]:
        """A word behind zeros, and its range."""
        shift = next((i for i, bit in enumerate(bits) if bit != "0"), len(bits))
        if shift == len(bits):
            return _Operand(np.zeros_like(self._inputs.low), None), (0, 0)
        word, start = self._place.get(bits[shift], (None, 0))
        if word is None or start:
            raise NotProvenError(
                f"bits {bits} are no shifted word: constants and cut words are none"
            )
        length = 0
        pairs = zip(bits[shift:], word.bits, strict=False)
        while next((a == b for a, b in pairs), False):
            length += 1
        above = bits[shift + length :]
        signed = bool(above) and above[0] != "0"
        if set(above) - {word.bits[length - 1] if signed else "0"}:
            raise NotProvenError(
                f"bits {bits} go on above a word with others than its sign or zeros"
            )
        if above and not _within(word.low, word.high, length, signed):
            raise NotProvenError(
                f"{length} bits of a sum from {word.low} to {word.high}: it is extended, and needs "
                "more"
            )
        ends = word.low << shift, word.high << shift
        return _Operand(word.weights << shift, word.slot), ends


def _within(low: int, high: int, bits: int, signed: bool) -> bool:
    """Whether so many bits hold every number from low to high."""
    half = 1 << bits >> 1
    return (-half <= low and high < half) if signed else (low >= 0 and high < 2 * half)
