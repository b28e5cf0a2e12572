"""What is known of a data set, whatever it is read from."""

import dataclasses
from pathlib import Path
from typing import Protocol

import numpy as np

SPLITS = ("train", "validation", "test")
MIN_IMAGE_SIZE = 8

Shape = tuple[int, int, int]


class DataError(ValueError):
    """Data that is missing, damaged, or not what it should be."""


class Split(Protocol):
    """Part of a data set: `splits.ArraySplit` or `splits.RecordSplit`."""

    @property
    def dataset(self) -> "Dataset":
        """Which it belongs to."""

    def __len__(self) -> int: ...

    def read(
        self, rows: np.ndarray, uniform: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Images [b, *image_shape] uint8 and labels [b] int32 of some rows [b].

        `uniform`, [b, photographs.RANDOM_NUMBERS] numbers in [0, 1), chooses random crops of
        photographs; None takes the middle.
        """


class Source(Protocol):
    """Where a data set is read from: a frozen record of what reading it takes."""

    @property
    def home(self) -> str | None:
        """The `data_dir` at which it is there again; None if it needs none."""

    def at(self, data_dir: str | Path | None) -> "Source":
        """The same, looked for in a directory; None means where it is by default."""

    def open(self, dataset: "Dataset", split: str, cache_dir: str | Path | None) -> Split:
        """Reads one of `SPLITS`. Images that take long to decode are kept in `cache_dir`."""


@dataclasses.dataclass(frozen=True)
class Dataset:
    """What is known of a data set before its images are read.

    Every data set has three splits here. "train" and "validation" are parts of the original train
    split; "test" is what results are reported on, and only evaluation opens it.

    Attributes:
      name: as configs say it.
      labels: a text for each class; its number where nobody named it.
      source: where it is read from.
      image_shape: (height, width, channels) of its images; of the crops, if they are photographs.
      pad: training images are shifted by up to so many pixels in each direction.
      flip: whether training images are mirrored at random.
      resizes: whether images come in any square size that is asked for.
      photographs: whether images have sizes of their own and are too many for memory. They are
        then cropped on the host, at random for training, and `pad` and `flip` are off.
    """

    name: str
    labels: tuple[str, ...]
    source: Source
    image_shape: Shape = (32, 32, 3)
    pad: int = 4
    flip: bool = True
    resizes: bool = False
    photographs: bool = False

    def __post_init__(self) -> None:
        if self.resizes and self.image_shape[0] < MIN_IMAGE_SIZE:
            raise ValueError(
                f"image_size={self.image_shape[0]}: images that are resized have {MIN_IMAGE_SIZE} "
                "pixels a side or more"
            )

    @property
    def classes(self) -> int:
        """How many."""
        return len(self.labels)

    def open(self, split: str, cache_dir: str | Path | None = None) -> Split:
        """Reads one of `SPLITS`; see `catalog.load`."""
        if split not in SPLITS:
            raise ValueError(f"split {split!r} is unknown: choose one of {', '.join(SPLITS)}")
        return self.source.open(self, split, cache_dir)

    def sized(self, image_size: int | None) -> "Dataset":
        """With images of that height and width; None leaves them as they are.

        Raises:
          ValueError: if there are none of that size.
        """
        height, width, channels = self.image_shape
        if image_size is None or image_size == height == width:
            return self
        if not self.resizes:
            raise ValueError(
                f"image_size={image_size} for {self.name}, whose images have {height} pixels a "
                f"column and {width} a row: leave it out, or choose a network that takes this size"
            )
        return dataclasses.replace(self, image_shape=(image_size, image_size, channels))


def numbers(classes: int) -> tuple[str, ...]:
    """Labels of classes that nobody named: '0', '1', and so on."""
    return tuple(map(str, range(classes)))


def of_a_user(
    name: str, labels: tuple[str, ...], source: Source, image_shape: Shape, **fields: bool
) -> Dataset:
    """A data set of which nobody said how to augment it.

    Training images are shifted by up to an eighth of their shorter side, as CIFAR's are, which
    hardly ever changes a class; mirrored they are not, since that may.

    Raises:
      DataError: if two classes have one name, or a name is no text that can be printed.
    """
    if len(set(labels)) < len(labels) or not all(label.isprintable() for label in labels):
        raise DataError(
            f"{name} has the classes {labels!r:.200}: give each a printable name of its own"
        )
    pad = 0 if fields.get("photographs") else min(image_shape[:2]) // 8
    return Dataset(name, labels, source, image_shape, pad=pad, flip=False, **fields)


def locate(path: str, data_dir: str | Path | None) -> Path:
    """Where a user's file or folder is.

    Args:
      path: as the user gave it, relative to `data_dir`, by default the current directory.
      data_dir: what was moved there is found by the last part of its path.

    Raises:
      DataError: if it is not there.
    """
    given = Path(path).expanduser()
    root = Path(data_dir or "").expanduser()
    places = [root / given] if data_dir is None else [root / given, root / given.name]
    for place in places:
        if place.exists():
            return place.resolve()
    raise DataError(
        f"{' and '.join(str(place.absolute()) for place in dict.fromkeys(places))}: no such data "
        "set. Give its path as it is now, or with --data_dir=DIR the directory that it was moved to"
    )
