"""The two kinds of splits, in memory or read when needed, and the beginning of a split."""

import dataclasses
from pathlib import Path

import numpy as np

from flightnn_jax import atomic
from flightnn_jax.data import cache, images, photographs
from flightnn_jax.data.dataset import Dataset, Split


@dataclasses.dataclass(frozen=True, eq=False)
class ArraySplit:
    """A split that is in memory.

    Attributes:
      dataset: which it belongs to.
      images: [n, *image_shape] uint8.
      labels: [n] int32.
    """

    dataset: Dataset
    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def read(
        self, rows: np.ndarray, uniform: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """As `Split.read` says."""
        del uniform  # these images are augmented on the device
        return np.take(self.images, rows, axis=0), np.take(self.labels, rows)


@dataclasses.dataclass(frozen=True, eq=False)
class RecordSplit:
    """A split of photographs, each decoded and cropped when it is read. It can be pickled.

    Attributes:
      records: where they are.
    """

    records: images.Encoded

    @property
    def dataset(self) -> Dataset:
        """Which it belongs to."""
        return self.records.dataset

    def __len__(self) -> int:
        return len(self.records)

    def read(
        self, rows: np.ndarray, uniform: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Crops of some rows, as `Split.read` says."""
        crops = np.empty((len(rows), *self.dataset.image_shape), np.uint8)
        examples = self.records.read(rows.tolist())
        for place, (row, example) in enumerate(zip(rows.tolist(), examples, strict=True)):
            chosen = None if uniform is None else uniform[place]
            with images.decoding(self.records, row, example) as image:
                crops[place] = photographs.crop(image, crops.shape[1], chosen)
        return crops, np.array([example.label for example in examples], np.int32)


@dataclasses.dataclass(frozen=True, eq=False)
class FirstOf:
    """The first images of a split.

    Attributes:
      split: whose.
      images: how many; those that there are, if it has fewer.
    """

    split: Split
    images: int

    @property
    def dataset(self) -> Dataset:
        """Which it belongs to."""
        return self.split.dataset

    def __len__(self) -> int:
        return min(self.images, len(self.split))

    def read(
        self, rows: np.ndarray, uniform: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """As `Split.read` says."""
        return self.split.read(rows, uniform)


def first(split: Split, images: int | None) -> Split:
    """Its first images; the split itself for None."""
    return split if images is None else FirstOf(split, images)


def split_of(encoded: images.Encoded, cache_dir: str | Path | None) -> Split:
    """Photographs as they are encoded; other images decoded, once, and kept in `cache_dir`."""
    if encoded.dataset.photographs:
        return RecordSplit(encoded)
    directory = atomic.cache_dir() if cache_dir is None else Path(cache_dir)
    kept_in = None if cache_dir == "" else directory
    arrays = cache.cached(kept_in, encoded.key, lambda: images.decode_all(encoded))
    return ArraySplit(encoded.dataset, *arrays)
