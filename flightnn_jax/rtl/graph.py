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
    """The sum of two terms, or one negative term alone: a negation.

    The first term has the shift 0 and at most one of two is negative, so that below the shift of
    the second one the sum has the bits of the first, unless this is the negative one.

    Attributes:
      terms: one or two, of inputs and earlier adders.
      level: adders on the longest way from an input to here, this one included.
    """

    terms: tuple[Term, ...]
    level: int


@dataclasses.dataclass(frozen=True)
class Graph:
    """The sums of a layer. Values 0 to taps - 1 are the inputs, value taps + i is adder i.

    Attributes:
      ranges: [values] of what every value can be, exact for independent inputs.
      adders: each reads earlier values alone, and each is read.
      outputs: for each filter a term that is not negative; None for a filter that is always 0.
    """

    ranges: Range
    adders: tuple[Adder, ...]
    outputs: tuple[Term | None, ...]

    @property
    def taps(self) -> int:
        """The number of inputs."""
        return len(self.ranges.low) - len(self.adders)

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
        return max(1, most.bit_length() + (low < 0))

    def signed(self, value: int) -> bool:
        """Whether a value can be negative."""
        return bool(self.ranges.low[value] < 0)


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
    outputs leave through a register in the slot `latency`. A value that is read d slots later
    than it is computed passes d registers, which all that read it share.

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
    latency = max(1, -(-graph.depth // every))
    return Schedule(every, latency, np.maximum(levels - 1, 0) // every)


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
    two, as those above both signs do; below the shift it is a wire. A register is counted once
    for all values that have its bit.

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
    for value, adder in enumerate(graph.adders, graph.taps):
        slot = int(plan.slots[value])
        tables.update(bits.tables(adder, graph.width(value)))
        for bit in bits.read(adder, graph.width(value)):
            reads.setdefault(bit, set()).add(slot)
    for value in range(len(graph.ranges.low)):
        born.update((bit, int(plan.slots[value])) for bit in bits.own(value))
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
        made.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self.of: list[list[int]] = []
        for value in range(len(graph.ranges.low)):
            bits = [value * 64 + i for i in range(graph.width(value))]
            if value >= graph.taps:
                wires = self._wires(graph.adders[value - graph.taps])
                bits[: len(wires)] = wires[: len(bits)]
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

    def _pairs(self, adder: Adder, width: int) -> Iterator[tuple[int, int]]:
        """The two bits that each place of the sum above its wires adds."""
        columns = [self._extended(term, width) for term in adder.terms]
        first, second = columns if len(columns) == 2 else ([_ZERO] * width, columns[0])
        return zip(*(c[len(self._wires(adder)) :] for c in (first, second)), strict=True)

    def tables(self, adder: Adder, width: int) -> Iterator[tuple[int, int, bool]]:
        """The exclusive ors that an adder needs, each as two bits and whether it is inverted."""
        inverted = any(term.negative for term in adder.terms)
        for first, second in self._pairs(adder, width):
            # Bits that are alike, and a bit and nothing, are a wire, or its inverse.
            if first != second and (_ZERO not in (first, second) or inverted):
                yield min(first, second), max(first, second), inverted

    def read(self, adder: Adder, width: int) -> Iterator[int]:
        """The bits that an adder adds, once for each place."""
        return (bit for pair in self._pairs(adder, width) for bit in pair if bit != _ZERO)
