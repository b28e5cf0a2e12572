"""Weights as wires: the sums of a layer as a graph of adders, with what it costs. NumPy alone.

A layer gives y = W^T x for constants W. Its graph adds and subtracts inputs and earlier sums that
are shifted to the left by constants, which costs wires alone. `sharing` builds it; this file says
what it is, what it computes and how many tables and registers it takes.
"""

import dataclasses
import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from flightnn_jax.integer.certificate import Range


class Term(NamedTuple):
    """A value, shifted to the left, with a sign.

    Attributes:
      value: its number in the graph.
      shift: 0 or more.
      negative: whether it is subtracted.
    """

    value: int
    shift: int
    negative: bool


class Adder(NamedTuple):
    """The sum of two terms, one negative term alone (a negation), or a count of inputs of one bit.

    The first term has the shift 0 and at most one of two is negative, so that below the shift of
    the second one the sum has the bits of the first, unless this is the negative one. A count has
    up to `COUNTED` terms, none shifted or negative.

    Attributes:
      terms: one or two, of inputs and earlier adders, or as many as are counted.
      level: adders on the longest way from an input to here, this one included.
    """

    terms: tuple[Term, ...]
    level: int


COUNTED = 6
"""Bits that are counted at once: each bit of the count is a table."""


class Looked(NamedTuple):
    """Inputs that are looked up by the place of a window: what of it lies outside of the map.

    The number of a place has a bit for each row of the window but the middle one, the first row
    lowest, and above these for each column: whether it is inside.

    Attributes:
      size: height and width of the window.
      tables: [inputs, places] int64.
    """

    size: int
    tables: np.ndarray

    @property
    def bits(self) -> int:
        """Of the number of a place."""
        return 2 * (self.size - 1)

    def channels(self, activations: int) -> int:
        """Of a pixel, if a window has so many activations."""
        return activations // self.size**2


@dataclasses.dataclass(frozen=True)
class Graph:
    """The sums of a layer. Values 0 to taps - 1 are the inputs, value taps + i is adder i.

    Attributes:
      ranges: [values] of what every value can be, exact for independent inputs.
      adders: each reads earlier values alone, and each is read.
      outputs: for each filter a term that is not negative; None for a filter that is always 0.
      looked: of the last inputs, those that are looked up; None where there are none. The others
        are then a bit each, whether an activation is negative.
    """

    ranges: Range
    adders: tuple[Adder, ...]
    outputs: tuple[Term | None, ...]
    looked: Looked | None = None

    @property
    def taps(self) -> int:
        """The number of inputs."""
        return len(self.ranges.low) - len(self.adders)

    @property
    def activations(self) -> int:
        """The number of inputs that are not looked up."""
        return self.taps - (len(self.looked.tables) if self.looked else 0)

    @property
    def place_bits(self) -> int:
        """Of the number of a window's place."""
        return self.looked.bits if self.looked else 0

    def is_looked(self, value: int) -> bool:
        """Whether a value is looked up."""
        return self.activations <= value < self.taps

    def is_count(self, adder: Adder) -> bool:
        """Whether an adder counts bits."""
        return self.looked is not None and all(
            term.value < self.activations and term[1:] == (0, False) for term in adder.terms
        )

    @property
    def depth(self) -> int:
        """Adders on the longest way."""
        return max((adder.level for adder in self.adders), default=0)

    def level(self, value: int) -> int:
        """That of an adder; 0 of an input."""
        return 0 if value < self.taps else self.adders[value - self.taps].level

    def width(self, value: int) -> int:
        """Bits of a value, 1 at least: two's complement if it can be negative, or else unsigned."""
        low, high = int(self.ranges.low[value]), int(self.ranges.high[value])
        most = max(~low if low < 0 else 0, high, 0)
        return max(1, most.bit_length() + self.signed(value))

    def signed(self, value: int) -> bool:
        """Whether a value can be negative, as all count that are looked up."""
        return bool(self.ranges.low[value] < 0) or self.is_looked(value)


def evaluate(graph: Graph, x: np.ndarray) -> np.ndarray:
    """[..., filters] int64: what the graph gives for [..., taps] integers."""
    values = list(np.moveaxis(np.asarray(x, np.int64), -1, 0))

    def of(term: Term) -> np.ndarray:
        shifted = values[term.value] << term.shift
        return -shifted if term.negative else shifted

    for adder in graph.adders:
        total = sum(map(of, adder.terms), np.zeros_like(values[0]))
        values.append(total)
    zero = np.zeros(np.shape(x)[:-1], np.int64)
    return np.stack([zero if term is None else of(term) for term in graph.outputs], axis=-1)


@dataclasses.dataclass(frozen=True)
class Schedule:
    """When values are computed, if registers stand behind every so many levels of adders.

    An adder of level n is computed in the slot (n - 1) // every, inputs come in slot 0, and
    outputs leave through a register in the slot `latency`. Where places are looked up, adders are
    a slot later: bits that may be outside of the map go through registers, without which Yosys puts
    what decides that into every count. A value that is read d slots later than it is computed
    passes d registers, which all that read it share.

    Attributes:
      every: levels between registers; 0 for none at all.
      latency: cycles from inputs to outputs.
      slots: [values] int64.
    """

    every: int
    latency: int
    slots: np.ndarray


def schedule(graph: Graph, every: int = 1) -> Schedule:
    """The slots of all values.

    Raises:
      ValueError: if `every` is negative.
    """
    if every < 0:
        raise ValueError(f"every={every} levels: give 1 or more, or 0 for no registers")
    levels = np.array([graph.level(value) for value in range(len(graph.ranges.low))], np.int64)
    if not every:
        return Schedule(0, 0, np.zeros_like(levels))
    later = int(graph.place_bits > 0)
    slots = np.where(levels > 0, (levels - 1) // every + later, 0)
    return Schedule(every, later + max(1, -(-graph.depth // every)), slots)


class Cost(NamedTuple):
    """What a graph takes on an FPGA with tables of 6 inputs and carry chains.

    Attributes:
      lut: tables of adders, and of inverters.
      ff: registers of one bit, without those in `srl`.
      srl: tables that hold three or more registers of one bit in a row.
    """

    lut: int
    ff: int
    srl: int


_ZERO = -1  # the number of a bit that is always 0


def cost(graph: Graph, every: int = 1, shift_registers: bool = True) -> Cost:
    """Tables and registers, counted bit by bit.

    A bit of an adder takes a table where both terms have a bit, unless another bit adds the same
    two, as those above both signs do; below the shift it is a wire. A bit of a count is a table,
    and so is one that is looked up, unless an adder's has it inside. A register is counted once
    for all values that have its bit. What is looked up is looked up where it is added, so that
    the number of the place waits in its stead.

    Args:
      graph: of a layer.
      every: levels between registers, as in `schedule`.
      shift_registers: whether three registers or more in a row become one table.
    """
    plan = schedule(graph, every)
    bits = _Bits(graph)
    tables: set[tuple[int, int, bool]] = set()
    reads: dict[int, set[int]] = {}  # slots in which a bit is read, by bit
    born: dict[int, int] = {}
    for value in range(graph.taps, len(graph.ranges.low)):
        slot = int(plan.slots[value])
        tables.update(bits.tables(value))
        for bit in bits.read(value):
            reads.setdefault(bit, set()).add(slot)
    for value in range(len(graph.ranges.low)):
        born.update((bit, int(plan.slots[value])) for bit in bits.own(value))
    born.update((bit, 0) for bit in bits.place)
    for term in graph.outputs:
        for bit in bits.of[term.value] if term else ():
            if bit != _ZERO:
                reads.setdefault(bit, set()).add(plan.latency)
    ff = srl = 0
    for bit, slots in reads.items():
        for before, after in itertools.pairwise(sorted({born[bit], *slots})):
            if shift_registers and after - before >= 3:
                srl += 1
            else:
                ff += after - before
    return Cost(len(tables), ff, srl)


class _Bits:
    """The bits of every value: each is made by an input or adder, and others have it as a wire.

    Attributes:
      of: for each value its bits, the lowest first, as numbers: value * 64 + place where it is
        made. Of what is looked up, a bit that is always 0 is none, nor is a constant lowest one.
      place: the bits of the number of a window's place.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self.of: list[list[int]] = []
        self.place = [-2 - i for i in range(graph.place_bits)]
        for value in range(len(graph.ranges.low)):
            bits = [value * 64 + i for i in range(graph.width(value))]
            if value >= graph.taps:
                wires = zip(self._wires(graph.adders[value - graph.taps]), bits, strict=False)
                made = [own if self._is_looked(wire) else wire for wire, own in wires]
                bits[: len(made)] = made
            elif graph.looked and graph.is_looked(value):
                table = graph.looked.tables[value - graph.activations]
                fixed = [
                    np.ptp(table & 1) == 0,
                    *(not np.any(table >> i & 1) for i in range(1, 64)),
                ]
                bits = [_ZERO if always else bit for bit, always in zip(bits, fixed, strict=False)]
            self.of.append(bits)

    def own(self, value: int) -> list[int]:
        """Those that the value itself makes."""
        return [bit for bit in self.of[value] if bit // 64 == value]

    def _wires(self, adder: Adder) -> list[int]:
        """The low bits of a sum that are those of its first term."""
        if len(adder.terms) == 1 or adder.terms[0].negative:
            return []
        shift = adder.terms[1].shift
        return self._extended(adder.terms[0], shift)[:shift]

    def _extended(self, term: Term, width: int) -> list[int]:
        """The bits of a shifted term in a sum of some width."""
        bits = self.of[term.value]
        top = bits[-1] if self._graph.signed(term.value) else _ZERO
        return ([_ZERO] * term.shift + bits + [top] * width)[:width]

    def _pairs(self, value: int) -> Iterator[tuple[int, int]]:
        """The two bits that each place of a sum above its wires adds."""
        adder, width = self._graph.adders[value - self._graph.taps], self._graph.width(value)
        columns = [self._extended(term, width) for term in adder.terms]
        first, second = columns if len(columns) == 2 else ([_ZERO] * width, columns[0])
        return zip(*(c[len(self._wires(adder)) :] for c in (first, second)), strict=True)

    def tables(self, value: int) -> Iterator[tuple[int, int, bool]]:
        """What an adder needs: the exclusive or of two bits, and whether it is inverted.

        Of a count, and of the lowest bits of a sum that are looked up, that is one bit twice.
        """
        adder = self._graph.adders[value - self._graph.taps]
        inverted = any(term.negative for term in adder.terms)
        if self._graph.is_count(adder):
            yield from ((bit, bit, False) for bit in self.of[value])
            return
        for wire, own in zip(self._wires(adder), self.of[value], strict=False):
            if self._is_looked(wire):
                yield own, own, False
        for first, second in self._pairs(value):
            # Bits that are alike, and a bit and nothing, are a wire, or its inverse.
            if first != second and (_ZERO not in (first, second) or inverted):
                yield min(first, second), max(first, second), inverted

    def _is_looked(self, bit: int) -> bool:
        return self._graph.is_looked(bit // 64)

    def read(self, value: int) -> Iterator[int]:
        """The bits that an adder reads, some of them more than once."""
        adder = self._graph.adders[value - self._graph.taps]
        if self._graph.is_count(adder):
            yield from (term.value * 64 for term in adder.terms)
            return
        if any(self._graph.is_looked(term.value) for term in adder.terms):
            yield from self.place
        for bit in itertools.chain.from_iterable(self._pairs(value)):
            if bit != _ZERO and not self._is_looked(bit):
                yield bit
