"""Batches on the devices, made ready while the step before them computes."""

import collections
import dataclasses
import itertools
import os
from collections.abc import Iterator
from typing import NamedTuple

import jax
import numpy as np

from flightnn_jax.data import order as orders
from flightnn_jax.data import photographs
from flightnn_jax.data.dataset import Split

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]

_BATCHES_AHEAD = 2
_MAX_THREADS = 8  # each holds a whole batch


class Batch(NamedTuple):
    """A batch, of the same shape in every step.

    Attributes:
      images: [batch, height, width, channels] uint8.
      labels: [batch] int32.
      mask: [batch] bool, False where the last batch of an evaluation is filled up with zeros.
    """

    images: jax.Array
    labels: jax.Array
    mask: jax.Array


def train_batches(
    split: Split,
    order: orders.TrainOrder,
    *,
    start: int = 0,
    stop: int | None = None,
    sharding: jax.sharding.Sharding | None = None,
    workers: int = 0,
) -> Iterator[Batch]:
    """The batches of the steps from `start` on: the same whether the steps before were run or not.

    Args:
      split: the train split.
      order: made for it: TrainOrder(len(split), batch_size, seed).
      start: the first step.
      stop: the step before which to end; None goes on for ever.
      sharding: how the first axis of a batch is spread over devices, such as
        NamedSharding(mesh, PartitionSpec("data")) over all of jax.devices() in their order; None
        puts it on the first device. Each process reads its own part.
      workers: processes that read photographs, in place of threads in this one. The main module
        then needs a guard, `if __name__ == "__main__"`, and absl flags must have been parsed.

    Yields:
      Batches of order.batch_size.

    Raises:
      ValueError: if the order is for another number of examples, or a batch does not divide by
        the devices or the processes.

    Example:
      >>> from flightnn_jax.data import TrainOrder, load
      >>> train = load("digits", "train")
      >>> order = TrainOrder(len(train), batch_size=32, seed=0)
      >>> [batch.images.shape for batch in train_batches(train, order, stop=2)]
      [(32, 32, 32, 3), (32, 32, 32, 3)]
    """
    if order.examples != len(split):
        raise ValueError(
            f"an order of {order.examples} examples for a split of {len(split)}: make it with "
            "TrainOrder(len(split), batch_size, seed)"
        )
    check_batch_size(order.batch_size, sharding)
    reader = _Reader(split, order, jax.process_index(), jax.process_count())
    return _ahead(_place(batch, sharding) for batch in _read(reader, start, stop, workers))


def evaluation_batches(
    split: Split,
    batch_size: int,
    *,
    sharding: jax.sharding.Sharding | None = None,
    workers: int = 0,
) -> Iterator[Batch]:
    """Every example of a split once, without augmentation; sum over `mask` only.

    Args:
      split: any split.
      batch_size: of the batch over all devices of all processes.
      sharding: as in `train_batches`.
      workers: as in `train_batches`.

    Yields:
      Batches of batch_size; the last one is filled up.

    Example:
      >>> from flightnn_jax.data import load
      >>> sum(int(batch.mask.sum()) for batch in evaluation_batches(load("digits", "test"), 100))
      360
    """
    order = orders.EvaluationOrder(len(split), batch_size)
    check_batch_size(batch_size, sharding)
    reader = _Reader(split, order, jax.process_index(), jax.process_count())
    return _ahead(_place(batch, sharding) for batch in _read(reader, 0, order.steps, workers))


def check_batch_size(batch_size: int, sharding: jax.sharding.Sharding | None) -> None:
    """Raises ValueError if a batch does not divide by the devices it is to be spread over."""
    if sharding is None:
        if jax.process_count() > 1:
            raise ValueError(
                f"no sharding with {jax.process_count()} processes: each reads a part of a batch, "
                "so say how it is spread, NamedSharding(mesh, PartitionSpec('data'))"
            )
        return
    try:
        sharding.shard_shape((batch_size,))
    except ValueError as error:
        raise ValueError(
            f"batch_size={batch_size} does not divide by the {sharding.num_devices} devices: "
            "choose a multiple of their number, or use fewer devices"
        ) from error


@dataclasses.dataclass(frozen=True)
class _Reader:
    """Reads this process's part of the batch of a step. It can be pickled."""

    split: Split
    order: orders.TrainOrder | orders.EvaluationOrder
    process_index: int
    process_count: int

    def __call__(self, step: int) -> Arrays:
        rows = self._share(self.order.rows(step))
        uniform = None
        if isinstance(self.order, orders.TrainOrder) and self.split.dataset.photographs:
            uniform = self._share(self.order.uniform(step, photographs.RANDOM_NUMBERS))
        mask = rows >= 0
        images, labels = self.split.read(rows[mask], uniform)
        missing = len(rows) - len(labels)
        if missing:
            images = np.pad(images, [(0, missing), (0, 0), (0, 0), (0, 0)])
            labels = np.pad(labels, (0, missing))
        return images, labels, mask

    def _share(self, batch: np.ndarray) -> np.ndarray:
        return orders.share(batch, self.process_index, self.process_count)


def _read(reader: _Reader, start: int, stop: int | None, workers: int) -> Iterator[Arrays]:
    """What the reader makes of each step, in order."""
    if not reader.split.dataset.photographs:
        return map(reader, itertools.count(start) if stop is None else range(start, stop))
    # Imported here, as it takes a second.
    import grain  # type: ignore[import-untyped]  # it has no stubs

    steps = grain.MapDataset.range(start, 2**62 if stop is None else stop).map(reader)
    threads = min(os.cpu_count() or 1, _MAX_THREADS) if not workers else 1
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads)
    batches = steps.to_iter_dataset(options)
    if workers:
        batches = batches.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers))
    return iter(batches)


def _place(batch: Arrays, sharding: jax.sharding.Sharding | None) -> Batch:
    if sharding is None:
        return Batch(*jax.device_put(batch))
    return Batch(*(jax.make_array_from_process_local_data(sharding, part) for part in batch))


def _ahead(batches: Iterator[Batch]) -> Iterator[Batch]:
    """The same batches, always some of them on their way to the devices."""
    waiting: collections.deque[Batch] = collections.deque()
    for batch in batches:
        waiting.append(batch)
        if len(waiting) > _BATCHES_AHEAD:
            yield waiting.popleft()
    yield from waiting
