"""What is left of a filter's terms behind `sharing`, added in a balanced tree."""

from flightnn_jax.rtl.graph import Term
from flightnn_jax.rtl.sharing import Terms
from flightnn_jax.rtl.sums import Sums


def positive(sums: Sums, terms: Terms) -> Term | None:
    """Their sum as a term that is not negative; None of no terms."""
    made = sums.taps + len(sums.adders)
    total = balanced(sums, terms)
    if total is None or not total.negative:
        return total
    turned = _negated(sums, total.value, made)
    if turned is None:
        turned = sums.add(total._replace(shift=0))
    return Term(turned, total.shift, False)


def balanced(sums: Sums, terms: Terms) -> Term | None:
    """Their sum in as few levels as can be, terms of like shifts first; None of no terms."""
    waiting = [Term(*term) for term in zip(*(column.tolist() for column in terms), strict=True)]
    level = 0
    while len(waiting) > 1:
        ready = [term for term in waiting if sums.level(term.value) <= level]
        later = [term for term in waiting if sums.level(term.value) > level]
        ready.sort(key=lambda term: (term.shift, term.value))
        odd = [ready.pop(_lowest(sums, ready))] if len(ready) % 2 else []
        pairs = zip(ready[::2], ready[1::2], strict=True)
        waiting = [_pair(sums, *pair) for pair in pairs] + odd + later
        level += 1
    return waiting[0] if waiting else None


def _lowest(sums: Sums, terms: list[Term]) -> int:
    """The place of the last of the lowest level: it waits at the least cost."""
    return min(range(len(terms)), key=lambda i: (sums.level(terms[i].value), -i))


def _pair(sums: Sums, first: Term, second: Term) -> Term:
    """Their sum, as a term with the sign of the first, whose shift is not the larger one."""
    differ = first.negative != second.negative
    other = Term(second.value, second.shift - first.shift, differ)
    return first._replace(value=sums.add(Term(first.value, 0, False), other))


def _negated(sums: Sums, value: int, made: int) -> int | None:
    """The negative of a sum, at no further adder: somewhere in it a difference is turned round.

    Args:
      sums: where adders are.
      value: of the sum.
      made: the number of the first that is this filter's own.

    Returns:
      None if nothing in the sum is subtracted.
    """
    if value < made:
        return None
    first, second = sums.adders[value - sums.taps].terms
    if second.negative:
        return sums.add(first._replace(negative=True), second._replace(negative=False))
    for term, other in ((first, second), (second, first)):
        turned = _negated(sums, term.value, made)
        if turned is not None:
            pair = (term._replace(value=turned), other._replace(negative=True))
            return sums.add(*(pair if term is first else pair[::-1]))
    return None
