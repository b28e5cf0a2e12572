"""The embedded data set: scikit-learn's 1,797 handwritten digits, which need no download."""

import dataclasses
from pathlib import Path

import numpy as np

from flightnn_jax.data import order, splits
from flightnn_jax.data.dataset import Dataset

# Of 1,797: about 70, 10 and 20 percent.
_SIZES = {"train": 1257, "validation": 180, "test": 360}


@dataclasses.dataclass(frozen=True)
class Digits:
    """They come with scikit-learn: nothing is needed."""

    home: None = None

    def at(self, data_dir: str | Path | None) -> "Digits":
        """Everywhere."""
        del data_dir
        return self

    def open(self, dataset: Dataset, split: str, cache_dir: str | Path | None) -> splits.ArraySplit:
        """One split of the digits, enlarged."""
        del cache_dir
        return splits.ArraySplit(dataset, *read(split, dataset.image_shape[0]))


def read(split: str, image_size: int) -> tuple[np.ndarray, np.ndarray]:
    """One split of the digits.

    The three splits are always the same: cuts of one fixed permutation.

    Args:
      split: "train", "validation" or "test".
      image_size: what the 8x8 images are enlarged to, by repeating pixels.

    Returns:
      images [n, image_size, image_size, 3] uint8, three equal channels; labels [n] int32.
    """
    # Imported here, as it takes a second.
    from sklearn import datasets  # type: ignore[import-untyped]  # it has no stubs

    data = datasets.load_digits()
    names = list(_SIZES)
    start = sum(_SIZES[name] for name in names[: names.index(split)])
    rows = order.permutation(len(data.target), seed=0, epoch=0)[start : start + _SIZES[split]]
    pixels = np.rint(data.images[rows] * (255 / 16)).astype(np.uint8)
    nearest = np.arange(image_size) * 8 // image_size
    enlarged = pixels[:, nearest[:, None], nearest]
    return np.repeat(enlarged[..., None], 3, axis=-1), data.target[rows].astype(np.int32)
