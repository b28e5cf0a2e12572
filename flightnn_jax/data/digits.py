"""The embedded data set: scikit-learn's 1,797 handwritten digits, which need no download."""

import dataclasses
import importlib.util
from pathlib import Path

import numpy as np

from flightnn_jax.data import order, splits
from flightnn_jax.data.dataset import Dataset

# Of 1,797: about 70, 10 and 20 percent.
_PARTS = {"train": slice(1257), "validation": slice(1257, 1437), "test": slice(1437, 1797)}


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
    table = _table()
    rows = order.permutation(len(table), seed=0, epoch=0)[_PARTS[split]]
    pixels = np.rint(table[rows, :-1].reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    nearest = np.arange(image_size) * 8 // image_size
    enlarged = pixels[:, nearest[:, None], nearest]
    return np.repeat(enlarged[..., None], 3, axis=-1), table[rows, -1].astype(np.int32)


def _table() -> np.ndarray:
    """[1797, 65] uint8: 64 pixels, 0 to 16, and the label of each digit."""
    # Importing scikit-learn takes a second, reading its file a hundredth of one.
    package = importlib.util.find_spec("sklearn")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("the digits come with scikit-learn", name="sklearn")
    file = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
    return np.loadtxt(file, np.uint8, delimiter=",")
