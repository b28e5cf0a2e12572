"""The data sets that a config can name."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from flightnn_jax.data import folder, npz, records
from flightnn_jax.data.dataset import Dataset, Split, numbers
from flightnn_jax.data.digits import Digits
from flightnn_jax.data.records import Tfds

DIGITS = Dataset("digits", numbers(10), Digits(), pad=2, flip=False, resizes=True)

DATASETS = (
    Dataset("cifar10", numbers(10), Tfds("cifar10")),
    Dataset("cifar100", numbers(100), Tfds("cifar100")),
    Dataset("svhn_cropped", numbers(10), Tfds("svhn_cropped"), flip=False),
    Dataset(
        "imagenet2012",
        numbers(1000),
        # its own test split has no labels
        Tfds("imagenet2012", test_split="validation", validation_percent=1),
        image_shape=(224, 224, 3),
        pad=0,
        flip=False,
        resizes=True,
        photographs=True,
    ),
    DIGITS,
)

# Of a data set KIND:REST, by kind: a function of (name, rest, data_dir, image_size).
_Describe = Callable[[str, str, str | Path | None, int | None], Dataset]
_KINDS: dict[str, _Describe] = {
    "npz": npz.describe,
    "folder": folder.describe,
    "tfds": records.describe,
}


def check_name(name: str) -> None:
    """Raises ValueError if no data set can have that name; nothing is opened."""
    kind, _, rest = name.partition(":")
    if not (kind in _KINDS and rest) and name not in {dataset.name for dataset in DATASETS}:
        known = ", ".join(dataset.name for dataset in DATASETS)
        raise ValueError(
            f"data set {name!r} is unknown: choose one of {known}, npz:FILE, folder:FOLDER or "
            "tfds:NAME"
        )


def find(
    name: str, *, data_dir: str | Path | None = None, image_size: int | None = None
) -> Dataset:
    """The data set of that name. Those of users are opened, to know their images and classes.

    Args:
      name: "digits", which comes with scikit-learn; "cifar10", "cifar100", "svhn_cropped" or
        "imagenet2012", as TFDS has prepared them; "tfds:NAME" for any other; "npz:FILE" for a
        file as `npz.Npz` says, "folder:FOLDER" for a folder as `folder.Folder` says.
      data_dir: where TFDS has prepared data sets, None for $TFDS_DATA_DIR or
        ~/tensorflow_datasets; where a user's file or folder is, None for the current directory.
      image_size: height and width of the images; None takes the data set's own. Digits are
        enlarged to it; photographs, and a folder's images, are cropped; others have their own.

    Raises:
      DataError: if a user's data set is missing, or not as it should be.
      ValueError: if there is no data set of that name, or none of that size.

    Example:
      >>> find("cifar100").classes
      100
    """
    check_name(name)
    kind, _, rest = name.partition(":")
    if rest:
        return _KINDS[kind](name, rest, data_dir, image_size).sized(image_size)
    (dataset,) = (known for known in DATASETS if known.name == name)
    return dataclasses.replace(dataset, source=dataset.source.at(data_dir)).sized(image_size)


def load(
    name: str,
    split: str,
    *,
    data_dir: str | Path | None = None,
    cache_dir: str | Path | None = None,
    image_size: int | None = None,
) -> Split:
    """Opens one split of a data set; the images of the others are not touched.

    Args:
      name: as `find` says.
      split: "train", "validation" (a part of the original train split, the same in every run)
        or "test".
      data_dir: as `find` says. It is only read.
      cache_dir: where images are kept after they were decoded, a file of 3 kB an image; None takes
        `default_cache_dir()`, and "" keeps none. Photographs are not kept.
      image_size: as `find` says.

    Returns:
      The split: it has a length and its `dataset`, and reads rows.

    Raises:
      DataError: if the data is missing (the message says how to get it) or damaged.
      ValueError: if there is no such data set, split or size.

    Example:
      >>> test = load("digits", "test")
      >>> len(test), test.images.shape, test.labels.dtype
      (360, (360, 32, 32, 3), dtype('int32'))
    """
    return find(name, data_dir=data_dir, image_size=image_size).open(split, cache_dir)
