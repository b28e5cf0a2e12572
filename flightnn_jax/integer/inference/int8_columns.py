"""Integer weights of any size as int8 columns, for products that take int8. No JAX."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Columns:
    """Weights of any size as sums of columns of int8, for most filters of one.

    Attributes:
      own: [..., filters] int8, a column of each filter.
      shared: [..., others] int8, columns that are added to some filters.
      adds: [rounds, filters], which of `shared` each filter has besides its own, -1 for none.
    """

    own: np.ndarray
    shared: np.ndarray
    adds: np.ndarray

    @classmethod
    def of(cls, weights: np.ndarray) -> "Columns":
        """Finds few columns.

        Weights beyond int8 are few. A column u that is zero nearly everywhere brings a filter
        back to int8, as W - u, and many filters can share it: at each place, all that u has to
        do is to stand between the largest W - 127 and the smallest W + 128 of those filters.

        Args:
          weights: [..., filters] integers.
        """
        filters = weights.shape[-1]
        flat = weights.reshape(-1, filters).astype(np.int64)
        near = np.clip(flat, -255, 254)
        member, shared = _share(near)
        own = near - np.where(member >= 0, np.pad(shared, ((0, 0), (0, 1)))[:, member], 0)
        adds = [member]
        rest = flat - near  # of three terms of one sign only
        while rest.any():
            part = np.clip(rest, -128, 127)
            has = part.any(axis=0)
            adds.append(np.where(has, shared.shape[1] + np.cumsum(has) - 1, -1))
            shared = np.concatenate([shared, part[:, has]], axis=1)
            rest = rest - part
        around = weights.shape[:-1]
        return cls(
            own.astype(np.int8).reshape(*around, -1),
            shared.astype(np.int8).reshape(*around, shared.shape[1]),
            np.stack(adds),
        )


def _share(flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Columns for the filters that are not within int8, as few as a greedy search finds.

    Args:
      flat: [places, filters] from -255 to 254.

    Returns:
      [filters] the number of each filter's column, -1 for none; and the columns.
    """
    member = np.full(flat.shape[1], -1)
    least: list[np.ndarray] = []
    most: list[np.ndarray] = []
    for i in np.flatnonzero((flat.max(axis=0) > 127) | (flat.min(axis=0) < -128)):
        w = flat[:, i]
        for group in range(len(least)):
            low, high = np.minimum(least[group], w), np.maximum(most[group], w)
            if np.all(high - low <= 255):
                least[group], most[group] = low, high
                break
        else:
            group = len(least)
            least.append(w)
            most.append(w)
        member[i] = group
    shared = [np.clip(0, high - 127, low + 128) for low, high in zip(least, most, strict=True)]
    return member, np.array(shared, np.int64).reshape(len(least), len(flat)).T
