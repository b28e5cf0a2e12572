"""Integers as the fewest signed powers of two. No JAX."""

import numpy as np


def signed_powers(values: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """The fewest signed powers of two that sum to each integer: (signs, exponents), [n] each.

    They are the digits of the non-adjacent form, from below; a sign of 0 is none.

    Example:
      >>> [(s.tolist(), e.tolist()) for s, e in signed_powers(np.array([7, -8, 0]))]
      [([-1, -1, 0], [0, 3, 0]), ([1, 0, 0], [3, 0, 0])]
    """
    rest, powers = values.astype(np.int64), []
    while rest.any():
        lowest = rest & -rest
        exponent = np.bitwise_count(np.maximum(lowest, 1) - 1).astype(np.int64)
        above = rest >> exponent  # odd, or 0
        sign = np.where(above % 4 == 3, -1, np.sign(above % 4))
        powers.append((sign, exponent))
        rest = rest - (sign << exponent)
    return powers
