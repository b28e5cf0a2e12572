"""Which examples a step takes: pure functions of the seed and the step.

Nothing is drawn one after another, so a run that goes on at any step sees what it would have seen
without a break, and every process finds its part of a batch by itself. All randomness is raw
bits of PCG64, which NumPy keeps the same in all versions.
"""

import dataclasses
import functools

import numpy as np


@dataclasses.dataclass(frozen=True)
class TrainOrder:
    """Epochs of whole batches without end, every epoch in an order of its own.

    The examples that don't fill a last batch are left out; they are others in every epoch.

    Attributes:
      examples: how many the split has.
      batch_size: of the batch over all devices of all processes.
      seed: 0 or more.

    Example:
      >>> order = TrainOrder(examples=5, batch_size=2, seed=0)
      >>> order.steps_per_epoch, order.rows(0).shape
      (2, (2,))
    """

    examples: int
    batch_size: int
    seed: int

    def __post_init__(self) -> None:
        if not 1 <= self.batch_size <= self.examples:
            raise ValueError(
                f"batch_size={self.batch_size} of {self.examples} training examples: a batch "
                "takes at least one and at most all of them; choose another batch size"
            )
        if self.seed < 0:
            raise ValueError(f"seed={self.seed}: a seed is 0 or more")

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in an epoch."""
        return self.examples // self.batch_size

    def rows(self, step: int) -> np.ndarray:
        """The examples of a step, counted from 0 over all epochs: [batch_size] int64."""
        epoch, place = divmod(step, self.steps_per_epoch)
        start = place * self.batch_size
        return permutation(self.examples, self.seed, epoch)[start : start + self.batch_size]

    def uniform(self, step: int, numbers: int) -> np.ndarray:
        """Random numbers in [0, 1) for each example of a step: [batch_size, numbers] float64."""
        raw = np.random.PCG64([self.seed, step, 1]).random_raw(self.batch_size * numbers)
        return (raw >> np.uint64(11)).reshape(-1, numbers) * 2.0**-53


@dataclasses.dataclass(frozen=True)
class EvaluationOrder:
    """Every example once, in the order of the split.

    Attributes:
      examples: how many the split has.
      batch_size: of the batch over all devices of all processes.

    Example:
      >>> order = EvaluationOrder(examples=5, batch_size=4)
      >>> [order.rows(step).tolist() for step in range(order.steps)]
      [[0, 1, 2, 3], [4, -1, -1, -1]]
    """

    examples: int
    batch_size: int

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size={self.batch_size}: a batch takes at least one example")

    @property
    def steps(self) -> int:
        """Batches, the last one possibly filled up."""
        return -(-self.examples // self.batch_size)

    def rows(self, step: int) -> np.ndarray:
        """The examples of a step: [batch_size] int64, -1 where there is none left."""
        rows = np.arange(step * self.batch_size, (step + 1) * self.batch_size)
        return np.where(rows < self.examples, rows, -1)


def share(batch: np.ndarray, process_index: int, process_count: int) -> np.ndarray:
    """The part of a batch that one of several processes reads: [batch_size / processes, ...].

    Example:
      >>> share(np.array([5, 3, 8, 1]), process_index=1, process_count=2).tolist()
      [8, 1]
    """
    each, left = divmod(len(batch), process_count)
    if left:
        raise ValueError(
            f"a batch of {len(batch)} examples does not divide by {process_count} processes: "
            f"choose a multiple of {process_count} as batch size"
        )
    return batch[process_index * each : (process_index + 1) * each]


@functools.lru_cache(maxsize=2)
def permutation(examples: int, seed: int, epoch: int) -> np.ndarray:
    """The numbers below `examples` in the order of an epoch: [examples] int64, read-only."""
    bits = np.random.PCG64([seed, epoch, 0]).random_raw(examples)
    rows = np.argsort(bits, kind="stable")
    rows.flags.writeable = False
    return rows
