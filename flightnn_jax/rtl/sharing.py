"""Terms of filters, and sub-sums that the filters of a layer share.

Every weight is written with the fewest signed powers of two (canonical signed digits).

The pair of terms that most filters have in common, whatever their common shift and sign, becomes
one adder, and then the pairs that this sum is in are counted, too; until no pair is there twice.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from flightnn_jax.rtl.graph import Term
from flightnn_jax.rtl.sums import Sums

MAX_PAIRS = 1 << 21
"""Pairs of terms that are compared at once; in larger layers only neighbours are."""

_SHIFT_BITS = 5
_VALUE_BITS = 24


class Terms(NamedTuple):
    """The terms of a filter, in any order.

    Attributes:
      value: [terms] int64.
      shift: [terms] int64.
      negative: [terms] bool.
    """

    value: np.ndarray
    shift: np.ndarray
    negative: np.ndarray


class _Pairs(NamedTuple):
    """Pairs of terms; the first has not the larger shift.

    Attributes:
      pattern: [pairs] int64: both values, the shift of the second against the first, and whether
        one of them alone is negative. It is a pair without its common shift and sign.
      filter: [pairs] int64, whose they are.
      first: [pairs] int64, the place of the first among the terms of its filter.
      second: [pairs] int64, likewise.
    """

    pattern: np.ndarray
    filter: np.ndarray
    first: np.ndarray
    second: np.ndarray


def of_weights(weights: np.ndarray) -> list[Terms]:
    """The terms of each filter of [taps, filters] integers."""
    places = digits(weights)
    return [_terms(places[:, :, i]) for i in range(weights.shape[1])]


def digits(weights: np.ndarray) -> np.ndarray:
    """[places, *shape] int8, -1, 0 or 1: weights as the fewest signed powers of two.

    No two places next to each other differ from 0.

    Example:
      >>> digits(np.array([7, -3, 0])).tolist()
      [[-1, 1, 0], [0, 0, 0], [0, -1, 0], [1, 0, 0]]
    """
    rest = np.asarray(weights, np.int64)
    places = []
    while np.any(rest):
        digit = np.where(rest & 1, 2 - (rest & 3), 0)
        places.append(digit.astype(np.int8))
        rest = (rest - digit) >> 1
    return np.array(places, np.int8).reshape(len(places), *np.shape(weights))


def _terms(places: np.ndarray) -> Terms:
    """Of a filter: [places, taps] digits."""
    shift, tap = np.nonzero(places)
    return Terms(tap, shift, places[shift, tap] < 0)


def share(sums: Sums, filters: Sequence[Terms], max_pairs: int = MAX_PAIRS) -> list[Terms]:
    """The terms that are left of each filter where pairs of terms are new sums."""
    filters = list(filters)
    home = list(range(sums.taps))  # a tap of each value; values are compared in groups of these
    while True:
        for adder in sums.adders[len(home) - sums.taps :]:
            home.append(home[adder.terms[0].value])
        pairs, groups = _all_pairs(filters, np.array(home), max_pairs)
        shared = filters
        for places in _by_frequency(pairs, sums):
            shared = _replaced(sums, filters, pairs, places)
            if _count(shared) < _count(filters):
                break  # pairs that have a term in common cannot all be replaced, or none
        if _count(shared) == _count(filters):
            if groups == 1:
                return filters
            max_pairs *= 2  # nothing more in these groups
        filters = shared


def _count(filters: list[Terms]) -> int:
    return sum(len(terms.value) for terms in filters)


def _all_pairs(filters: list[Terms], home: np.ndarray, max_pairs: int) -> tuple[_Pairs, int]:
    """The pairs within each group of values, and how many groups there are."""
    count = sum(len(terms.value) ** 2 for terms in filters) // 2
    groups = -(-count // max_pairs) or 1
    taps = int(home.max(initial=0)) + 1
    parts = [
        _pairs_within(number, terms, home[terms.value] * groups // taps)
        for number, terms in enumerate(filters)
    ]
    return _Pairs(*map(np.concatenate, zip(*parts, strict=True))), groups


def _pairs_within(number: int, terms: Terms, group: np.ndarray) -> _Pairs:
    """Those of one filter."""
    key = terms.shift << _VALUE_BITS | terms.value
    order = np.lexsort((key, group))
    ends = np.flatnonzero(np.diff(group[order], prepend=-1, append=-1))
    indices = [
        start + np.array(np.triu_indices(end - start, 1))
        for start, end in itertools.pairwise(ends.tolist())
    ]
    first, second = order[np.concatenate([np.zeros((2, 0), np.int64), *indices], axis=1)]
    above = key[second] - (terms.shift[first] << _VALUE_BITS)
    pattern = terms.value[first] << (_VALUE_BITS + _SHIFT_BITS) | above
    pattern = pattern << 1 | (terms.negative[first] ^ terms.negative[second])
    return _Pairs(pattern, np.full(len(first), number), first, second)


def _by_frequency(pairs: _Pairs, sums: Sums) -> Iterator[list[np.ndarray]]:
    """For each number of times from the largest down to 2, the patterns that are there so often.

    Yields:
      where the pairs of each of these patterns are, the patterns of the lowest levels first.
    """
    order = np.argsort(pairs.pattern, kind="stable")
    ordered = pairs.pattern[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=-1))
    counts = np.diff(starts, append=len(ordered))
    for number in np.unique(counts)[::-1].tolist():
        if number < 2:
            return
        chosen = starts[counts == number].tolist()
        chosen.sort(key=lambda start: max(map(sums.level, _values(int(ordered[start])))))
        yield [order[start : start + number] for start in chosen]


def _values(pattern: int) -> tuple[int, int]:
    """The two values of a pattern."""
    first = pattern >> (1 + _VALUE_BITS + _SHIFT_BITS)
    return first, pattern >> 1 & ((1 << _VALUE_BITS) - 1)


def _replaced(
    sums: Sums, filters: list[Terms], pairs: _Pairs, places: list[np.ndarray]
) -> list[Terms]:
    """The terms with one for each pair, unless its terms are taken by an earlier pair."""
    there = [np.ones(len(terms.value), bool) for terms in filters]
    made: list[list[Term]] = [[] for _ in filters]
    for place in places:
        taken = list(_free(place, pairs, there))
        if len(taken) < 2:
            for number, first, second in taken:
                there[number][[first, second]] = True
            continue
        total = _sum(sums, filters, taken[0])
        for number, first, _ in taken:
            _, shift, negative = filters[number]
            made[number].append(Term(total, int(shift[first]), bool(negative[first])))
    return [
        Terms(*(np.append(old[kept], new) for old, new in zip(terms, columns(more), strict=True)))
        for terms, kept, more in zip(filters, there, made, strict=True)
    ]


def _sum(sums: Sums, filters: list[Terms], pair: tuple[int, int, int]) -> int:
    """The sum of a filter's first and second term, without their common shift and sign."""
    number, first, second = pair
    value, shift, negative = (column[[first, second]].tolist() for column in filters[number])
    other = Term(value[1], shift[1] - shift[0], negative[0] != negative[1])
    return sums.add(Term(value[0], 0, False), other)


def columns(terms: Sequence[Term]) -> Terms:
    """The terms of a filter."""
    values, shifts, negative = zip(*terms, strict=True) if terms else ((), (), ())
    return Terms(np.array(values, np.int64), np.array(shifts, np.int64), np.array(negative, bool))


def _free(
    place: np.ndarray, pairs: _Pairs, there: list[np.ndarray]
) -> Iterator[tuple[int, int, int]]:
    """Filter, first and second of the pairs whose terms are there, which they are no longer."""
    found = (pairs.filter[place], pairs.first[place], pairs.second[place])
    for number, first, second in zip(*(column.tolist() for column in found), strict=True):
        if there[number][first] and there[number][second]:
            there[number][[first, second]] = False
            yield number, first, second
