"""From the weights of a layer to its graph of adders.

Every weight is written with the fewest signed powers of two (canonical signed digits), so sums of
shifts and 4-bit integers are treated alike.
"""

import itertools
from collections.abc import Iterable

import numpy as np

from flightnn_jax.integer.certificate import Range
from flightnn_jax.rtl.graph import Adder, Graph, Looked, Term


class Sums:
    """Adders as they are made, no two alike."""

    def __init__(self, inputs: Range) -> None:
        self._inputs = inputs
        self.taps = len(inputs.low)
        self.adders: list[Adder] = []
        self._known: dict[tuple[Term, ...], int] = {}

    def level(self, value: int) -> int:
        """That of an adder; 0 of an input."""
        return 0 if value < self.taps else self.adders[value - self.taps].level

    def add(self, *terms: Term) -> int:
        """The value that is the sum of these terms."""
        if terms not in self._known:
            level = 1 + max(self.level(term.value) for term in terms)
            self._known[terms] = self.taps + len(self.adders)
            self.adders.append(Adder(terms, level))
        return self._known[terms]

    def graph(self, outputs: tuple[Term | None, ...], looked: Looked | None = None) -> Graph:
        """What the outputs need of them; `looked` says which inputs are looked up."""
        used = self._used({term.value for term in outputs if term})
        number = {value: i for i, value in enumerate(itertools.chain(range(self.taps), used))}

        def renamed(term: Term) -> Term:
            return term._replace(value=number[term.value])

        chosen = (self.adders[value - self.taps] for value in used)
        adders = tuple(Adder(tuple(map(renamed, a.terms)), a.level) for a in chosen)
        results = tuple(term and renamed(term) for term in outputs)
        return Graph(_ranges(self._inputs, adders), adders, results, looked)

    def _used(self, needed: set[int]) -> list[int]:
        for value in range(self.taps + len(self.adders) - 1, self.taps - 1, -1):
            if value in needed:
                needed.update(term.value for term in self.adders[value - self.taps].terms)
        return sorted(value for value in needed if value >= self.taps)


def _ranges(inputs: Range, adders: Iterable[Adder]) -> Range:
    """[values] of what inputs and sums can be, from each sum's weights of all inputs."""
    taps = len(inputs.low)
    rows = list(np.eye(taps, dtype=np.int32))
    ends = list(zip(inputs.low.tolist(), inputs.high.tolist(), strict=True))
    for adder in adders:
        parts = (np.int32(1 - 2 * t.negative) * (rows[t.value] << t.shift) for t in adder.terms)
        row = sum(parts, np.zeros(taps, np.int32))
        plus, minus = np.maximum(row, 0), np.minimum(row, 0)
        rows.append(row)
        ends.append(
            (
                int(plus @ inputs.low + minus @ inputs.high),
                int(plus @ inputs.high + minus @ inputs.low),
            )
        )
    low, high = np.array(ends, np.int64).reshape(-1, 2).T
    return Range(low, high)
