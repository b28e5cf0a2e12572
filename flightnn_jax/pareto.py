"""The undominated ones of several points. Every cost is to be small."""

import numpy as np
import numpy.typing as npt


def undominated(costs: npt.ArrayLike) -> list[int]:
    """The rows that no other row dominates: none is at most as large throughout and differs.

    Of equal rows the first one is kept. What is left is sorted by columns, the first of them before
    all others.

    Args:
      costs: (points, costs).

    Raises:
      ValueError: if a cost is no number, so that it has no order.

    Example:
      >>> undominated([(3, 1), (1, 2), (2, 2), (1, 2)])
      [1, 0]
    """
    table = np.asarray(costs)
    if not len(table):
        return []
    if np.isnan(table).any():
        raise ValueError("a cost is NaN: points cannot be compared by it, so give a number")
    waiting = np.lexsort(table.T[::-1])
    kept = []
    while len(waiting):
        # Whatever dominates a row stands before it, so the first of those left is undominated.
        first, waiting = waiting[0], waiting[1:]
        kept.append(int(first))
        waiting = waiting[(table[waiting] < table[first]).any(axis=1)]
    return kept
