"""What at least half of the seeds attain: the 50 % attainment surface of their fronts.

A seed attains an accuracy at a cost if its front has a point that costs no more and is no less
accurate. A mean over seeds may be a point that none of them has; this says what to expect of one.
"""

import math
from collections.abc import Sequence

Corners = list[tuple[float, float]]
"""Costs and the accuracies that are attained from there on; both rise."""

LEAST_SEEDS = 3
"""Of two, half is the better one, which says nothing."""


def surface(fronts: Sequence[Sequence[tuple[float, float]]]) -> Corners:
    """The corners of the surface.

    Args:
      fronts: for each seed, costs and accuracies in any order.

    Example:
      >>> surface([[(1, 0.5), (3, 0.9)], [(2, 0.8)], [(2, 0.6)]])
      [(2, 0.6), (3, 0.8)]
    """
    needed = math.ceil(len(fronts) / 2)
    corners: Corners = []
    for cost in sorted({cost for points in fronts for cost, _ in points}):
        best = [max((a for c, a in points if c <= cost), default=0.0) for points in fronts]
        attained = sorted(best, reverse=True)[needed - 1]
        if attained > (corners[-1][1] if corners else 0.0):
            corners.append((cost, attained))
    return corners


def at(corners: Corners, cost: float) -> float | None:
    """The accuracy that is attained at a cost; None where there is none.

    Example:
      >>> at([(2, 0.6), (3, 0.8)], 2.5), at([(2, 0.6)], 1)
      (0.6, None)
    """
    return next((accuracy for start, accuracy in reversed(corners) if start <= cost), None)
