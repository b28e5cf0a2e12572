"""Proof that a netlist of adders gives constant weights times its inputs, for every input.

A word is the output of an adder or register, or an input. By induction over the cells each word
holds, modulo 2**width, a sum of inputs with known integer weights: an operand that is a word
behind constant zeros is that sum times a power of two. Where an operand goes on above the word,
by copies of its sign or by zeros, that is right only if the sum lies within the word for every
input, or one that is equal modulo 2**width does; its range says so, since the inputs do not depend
on each other. Nothing else is let through. The sums at the outputs are then compared with the
weights, one by one.

Registers have one clock and one enable, and all ways from x to y as many registers, so that y is
that of one x.

Where signs are counted (`counting`), the numbers of which a word is a sum are the bits n of all
activations, those of the number of the window's place, and for each place a 1 where the window is
there. So a constant that is looked up by the whole number of the place is such a sum, and what
fl_count gives of bits that are exact is their sum.
"""

from typing import NamedTuple

import numpy as np

from flightnn_jax.integer.certificate import Range
from flightnn_jax.rtl.netlist import COUNT, OFFSET, REGISTERS, Bit, Cell, Netlist, in_order


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
      weights: [atoms] int64; the word is weights @ atoms, modulo 2**len(bits).
      low: the least that weights @ atoms can be.
      high: the largest.
      slot: registers on each way from x to here.
    """

    bits: tuple[Bit, ...]
    weights: np.ndarray
    low: int
    high: int
    slot: int


class _Operand(NamedTuple):
    """What an adder reads: weights @ atoms, modulo 2 to the number of its bits.

    A constant has no slot.
    """

    weights: np.ndarray
    slot: int | None


class _Claim(NamedTuple):
    """What is to be shown.

    Attributes:
      ranges: [atoms] of the numbers of which words are sums.
      inside: [places, other atoms] of 0 and 1. The last atoms are 1 one at a time, where the window
        is in that place; there other atoms are 0 where these are 0.
      words: the bits of x that hold weights @ atoms, with these weights.
      sums: [atoms, filters] the weights of y.
    """

    ranges: Range
    inside: np.ndarray
    words: list[tuple[tuple[Bit, ...], np.ndarray]]
    sums: np.ndarray


def prove(
    netlist: Netlist, weights: np.ndarray, inputs: Range, counted: int = 0, input_bits: int = 8
) -> Proof:
    """Shows that y = weights^T x for every x within its ranges.

    Args:
      netlist: with the ports clk, enable, x and y, as `hardwired` writes them.
      weights: [taps, filters] integers.
      inputs: [taps] the range of each input.
      counted: as in `wiring.Wires`. Where it is not 0, it is shown for every x of -1 and 1 inside
        of the map and 0 outside of it, wherever the window is.
      input_bits: of each input, if none are counted.

    Raises:
      NotProvenError: if that is not shown.
    """
    taps, filters = weights.shape
    x, y = netlist.ports["x"], netlist.ports["y"]
    if len(x) != (taps + counted**2 if counted else taps * input_bits) or len(y) % filters:
        raise NotProvenError(
            f"{len(x)} bits of x and {len(y)} of y: {taps} taps and {filters} filters"
        )
    try:
        cells = in_order(netlist)
    except ValueError as error:
        raise NotProvenError(str(error)) from None
    claim = _of_signs(x, weights, counted) if counted else _of_sums(x, weights, inputs, input_bits)
    forms = _Forms(netlist, claim)
    for cell in cells:
        forms.cell(cell)
    bits = len(y) // filters
    counts = (claim.ranges.low != 0) | (claim.ranges.high != 0)  # a 0 has any weight
    found = [forms.result(y[bits * i :][:bits]) for i in range(filters)]
    for i, operand in enumerate(found):
        wrong = np.flatnonzero((operand.weights != claim.sums[:, i]) & counts)
        if wrong.size:
            tap = wrong[0]
            what = f"tap {tap}" if tap < taps else f"place {tap - len(counts) + len(claim.inside)}"
            raise NotProvenError(
                f"filter {i}: the weight of {what} is {operand.weights[tap]}, and should be "
                f"{claim.sums[tap, i]}"
            )
    slots = {operand.slot for operand in found if operand.slot is not None}
    if len(slots) > 1:
        raise NotProvenError(f"sums leave after {sorted(slots)} registers: it must be as many")
    kept = sum(cell.kind in REGISTERS for cell in cells)
    looked = sum(cell.kind == OFFSET for cell in cells)
    return Proof(max(slots, default=0), len(cells) - kept - looked, kept)


def _of_sums(x: tuple[Bit, ...], weights: np.ndarray, inputs: Range, bits: int) -> _Claim:
    """That numbers of some bits are added up."""
    units = np.eye(len(weights), dtype=np.int64)
    words = [(x[bits * tap :][:bits], unit) for tap, unit in enumerate(units)]
    return _Claim(inputs, np.ones((0, len(weights)), np.int64), words, weights)


def _of_signs(x: tuple[Bit, ...], weights: np.ndarray, size: int) -> _Claim:
    """That signs are counted: of x = v (1 - 2 n) the sum is that of v less twice that of n."""
    taps, filters = weights.shape
    half, width, middle = size - 1, taps // size**2 + 1, size // 2
    aside = [i for i in range(size) if i != middle]
    pixels = [size * i + middle for i in aside] + [size * middle + i for i in aside]
    atoms = taps + 2 * half + 4**half
    units = np.eye(atoms, dtype=np.int64)
    places = (tap + tap // (width - 1) + 1 for tap in range(taps))
    words: list[tuple[tuple[Bit, ...], np.ndarray]]
    words = [((x[place],), units[tap]) for tap, place in enumerate(places)]
    if half:
        number = (1 << np.arange(2 * half)) @ units[taps : taps + 2 * half]
        words.append((tuple(x[pixel * width] for pixel in pixels), number))
    # The sum of the weights of what is inside, place by place.
    inside = np.arange(4**half)[:, None] >> np.arange(2 * half) & 1
    there = np.ones((4**half, size, size), np.int64)
    for i, row in enumerate(aside):
        there[:, row, :] *= inside[:, i, None]
        there[:, :, row] *= inside[:, half + i, None]
    there = np.repeat(there.reshape(-1, size**2), width - 1, axis=1)
    constants = there @ weights
    none = np.zeros((2 * half, filters), np.int64)
    sums = np.concatenate([-2 * weights, none, constants])
    there = np.concatenate([there, inside], axis=1)
    return _Claim(Range(np.zeros(atoms, int), np.ones(atoms, int)), there, words, sums)


class _Forms:
    """What every word holds."""

    def __init__(self, netlist: Netlist, claim: _Claim) -> None:
        self._claim = claim
        self._clock, self._enable = netlist.ports["clk"], netlist.ports["enable"]
        self._place: dict[Bit, tuple[_Word, int]] = {}
        self._size, self._places = len(claim.ranges.low), len(claim.inside)
        for bits, weights in claim.words:
            self.define(bits, weights, 0)

    def define(self, bits: tuple[Bit, ...], weights: np.ndarray, slot: int) -> None:
        """These bits hold weights @ atoms."""
        word = _Word(bits, weights, *self._ends(weights), slot)
        self._place.update((bit, (word, i)) for i, bit in enumerate(bits))

    def _ends(self, weights: np.ndarray) -> tuple[int, int]:
        """The least and the largest that weights @ atoms can be."""
        single, places = np.split(weights, [self._size - self._places])
        plus, minus = np.maximum(single, 0), np.minimum(single, 0)
        if np.any(places):  # single atoms go from 0 to 1 then
            low, high = (places + self._claim.inside @ part for part in (minus, plus))
            return int(low.min()), int(high.max())
        least, most = (end[: len(single)] for end in self._claim.ranges)
        return int(plus @ least + minus @ most), int(plus @ most + minus @ least)

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
        if cell.kind == COUNT:
            self._count(cell)
            return
        if cell.kind == OFFSET:
            self._offset(cell)
            return
        signs = {"$add": (1, 1), "$sub": (1, -1), "$neg": (-1,)}.get(cell.kind)
        if signs is None:
            raise NotProvenError(
                f"a cell {cell.kind}: sums are made of additions and subtractions alone"
            )
        operands = [self.read(cell.operand(name, width)) for name in "AB"[: len(signs)]]
        slot = _common_slot(cell, operands)
        parts = [sign * part.weights for sign, part in zip(signs, operands, strict=True)]
        total = np.sum(parts, axis=0)
        self.define(cell.outputs, total, slot)

    def _count(self, cell: Cell) -> None:
        """Bits that hold what they stand for exactly, and not modulo 2, are added up."""
        operands = []
        for bit in cell.ports["bits"]:
            operand, (low, high) = self._parsed((bit,))
            if not _within(low, high, 1, signed=False):
                raise NotProvenError(f"a {cell.kind} of a bit that stands for {low} to {high}")
            operands.append(operand)
        total = np.sum([part.weights for part in operands], axis=0)
        self.define(cell.outputs, total, _common_slot(cell, operands))

    def _offset(self, cell: Cell) -> None:
        """What is looked up by the number of the place, and nothing else, is a constant of it."""
        bits, places = cell.ports["place"], self._places
        number = self.read(bits)
        whole = self._claim.words[-1][1]
        if 1 << len(bits) != places or not np.array_equal(number.weights, whole):
            raise NotProvenError(f"a {cell.kind} that is not read at the place of the window")
        assert number.slot is not None
        constants = np.zeros(self._size, np.int64)
        constants[-places:] = cell.looked_up()
        self.define(cell.outputs, constants, number.slot)

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
        if shift == len(bits) or (self._places and set(bits) <= {"0", "1"}):
            number = sum(1 << i for i, bit in enumerate(bits) if bit == "1")
            number -= (bits[-1] == "1") << len(bits)
            constant = np.zeros(self._size, np.int64)
            constant[self._size - self._places :] = number
            return _Operand(constant, None), (number, number)
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
        if above:
            word = self._extended(word, length, signed)
        ends = word.low << shift, word.high << shift
        return _Operand(word.weights << shift, word.slot), ends

    def _extended(self, word: _Word, length: int, signed: bool) -> _Word:
        """What a word holds that goes on above its lowest bits: not only modulo 2**length."""
        if _within(word.low, word.high, length, signed):
            return word
        # Other weights are the same modulo 2**length.
        least = -(1 << length >> 1) if signed else 0
        weights = (word.weights - least) % (1 << length) + least
        low, high = self._ends(weights)
        if not _within(low, high, length, signed):
            raise NotProvenError(
                f"{length} bits of a sum from {word.low} to {word.high}: it is extended, and needs "
                "more"
            )
        return word._replace(weights=weights, low=low, high=high)


def _common_slot(cell: Cell, operands: list[_Operand]) -> int:
    """Of all that a cell reads but constants."""
    slots = {part.slot for part in operands if part.slot is not None}
    if len(slots) != 1:
        raise NotProvenError(
            f"a {cell.kind} of values behind {slots} registers: it must be as many"
        )
    return slots.pop()


def _within(low: int, high: int, bits: int, signed: bool) -> bool:
    """Whether so many bits hold every number from low to high."""
    half = 1 << bits >> 1
    return (-half <= low and high < half) if signed else (low >= 0 and high < 2 * half)
