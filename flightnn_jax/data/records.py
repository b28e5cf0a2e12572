"""Records of a directory that TFDS has prepared, read without TensorFlow."""

import contextlib
import hashlib
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from flightnn_jax.data import catalog

if TYPE_CHECKING:
    from PIL import Image

_FORMAT = "array_record"  # in random access and without TensorFlow
_READ_AT_ONCE = 1000


class DataError(ValueError):
    """Data that is missing, damaged, or not what it should be."""


class Example(NamedTuple):
    """An encoded example.

    Attributes:
      image: a PNG, JPEG or WebP file.
      label: 0 to classes - 1.
    """

    image: bytes
    label: int


class Records:
    """Part of a split of a prepared data set; examples in random access. It can be pickled.

    Attributes:
      dataset: which.
      directory: the prepared version, such as data_dir/cifar10/3.0.2.
      split: name of the original split.
      start: the first record in it.
      key: changes when the records do, by the names, sizes and times of their files.
    """

    def __init__(self, dataset: catalog.Dataset, split: str, data_dir: str | Path | None) -> None:
        """Opens a split.

        Args:
          dataset: which.
          split: "train", "validation" or "test", as `catalog.Dataset` defines them.
          data_dir: what `tfds build --data_dir` was given; None takes $TFDS_DATA_DIR, or
            ~/tensorflow_datasets.

        Raises:
          DataError: if it is not there, or cannot be read. It says how to get it.
        """
        self.dataset = dataset
        self.split = dataset.test_split if split == "test" else "train"
        self.directory = _find_directory(dataset.name, data_dir)
        builder = _open(dataset.name, self.directory)
        if self.split not in builder.info.splits:
            raise DataError(
                f"{self.directory} has the splits {', '.join(builder.info.splits) or '(none)'} "
                f"but not {self.split!r}: prepare the data set anew. {_remedy(dataset.name)}"
            )
        info = builder.info.splits[self.split]
        cut = info.num_examples - round(info.num_examples * dataset.validation_percent / 100)
        part = {"train": f"[:{cut}]", "validation": f"[{cut}:]", "test": ""}[split]
        self.start = cut if split == "validation" else 0
        self.key = self._key(part, info.num_shards)
        self._source = _source(builder, self.split + part)

    def _key(self, part: str, shards: int) -> str:
        files = sorted(self.directory.glob(f"*-{self.split}.{_FORMAT}-*"))
        if len(files) != shards:
            raise DataError(
                f"split {self.split!r} in {self.directory} has {len(files)} files instead of "
                f"{shards}: copy the directory again, or prepare it anew. "
                + _remedy(self.dataset.name)
            )
        digest = hashlib.sha256((self.directory / "dataset_info.json").read_bytes())
        for file in files:
            stat = file.stat()
            digest.update(f"{file.name} {stat.st_size} {stat.st_mtime_ns}".encode())
        bounds = part.strip("[]").replace(":", "-")
        name = f"{self.dataset.name}-{self.directory.name}-{self.split}{bounds}"
        return f"{name}-{digest.hexdigest()[:16]}"

    def __len__(self) -> int:
        return len(self._source)

    def read(self, rows: Sequence[int]) -> list[Example]:
        """The examples at these places, counted from 0 in this part of the split."""
        try:
            found = self._source.__getitems__(list(rows))
        except Exception:  # one of them is damaged: which?
            found = [self._read_one(row) for row in rows]
        return [self._checked(row, example) for row, example in zip(rows, found, strict=True)]

    def _read_one(self, row: int) -> Any:
        try:
            return self._source[row]
        except Exception as error:
            raise self._damaged(row, str(error)) from error

    def _checked(self, row: int, example: Any) -> Example:
        image, label = example["image"], int(example["label"])
        if not 0 <= label < self.dataset.classes:
            raise self._damaged(row, f"label {label} of {self.dataset.classes} classes")
        return Example(image, label)

    @contextlib.contextmanager
    def decoding(self, row: int, example: Example) -> Iterator["Image.Image"]:
        """The image of the example read from `row`, within which its pixels are decoded."""
        from PIL import Image

        try:
            with Image.open(io.BytesIO(example.image)) as image:
                yield image
        except (OSError, ValueError, SyntaxError) as error:  # what Pillow raises
            raise self._damaged(row, str(error)) from error

    def _damaged(self, row: int, reason: str) -> DataError:
        return DataError(
            f"record {self.start + row} of split {self.split!r} in {self.directory} is damaged "
            f"({reason}): copy the directory again, or prepare it anew. "
            + _remedy(self.dataset.name)
        )


def decode_all(records: Records) -> tuple[np.ndarray, np.ndarray]:
    """All images, which must have the size that the catalog states.

    One thread: with small images two threads only wait for each other (measured).

    Returns:
      images [n, size, size, 3] uint8; labels [n] int32.
    """
    size = records.dataset.image_size
    images = np.empty((len(records), size, size, 3), np.uint8)
    labels = np.empty(len(records), np.int32)
    for start in range(0, len(records), _READ_AT_ONCE):
        rows = range(start, min(start + _READ_AT_ONCE, len(records)))
        for row, example in zip(rows, records.read(rows), strict=True):
            with records.decoding(row, example) as image:
                if image.size != (size, size):
                    width, height = image.size
                    raise ValueError(f"{height}x{width} pixels instead of {size}x{size}")
                images[row] = np.asarray(image.convert("RGB"))
            labels[row] = example.label
    return images, labels


def _find_directory(name: str, data_dir: str | Path | None) -> Path:
    """The newest prepared version of a data set."""
    given = data_dir or os.environ.get("TFDS_DATA_DIR") or Path.home() / "tensorflow_datasets"
    root = Path(given).expanduser()
    if not root.is_dir():
        raise DataError(f"the data directory {root} does not exist. {_remedy(name)}")
    found = [(_version(d.parent.name), d.parent) for d in root.glob(f"{name}/*/dataset_info.json")]
    if not found:
        raise DataError(f"the data directory {root} holds no prepared {name}. {_remedy(name)}")
    return max(found)[1]


def _version(name: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else -1 for part in name.split("."))


def _open(name: str, directory: Path) -> Any:
    # Here, for it takes a second to import.
    import tensorflow_datasets as tfds  # type: ignore[import-untyped]  # it has no stubs

    try:
        builder = tfds.builder_from_directory(directory)
        formats = [fmt.value for fmt in builder.info.available_file_formats()]
    except Exception as error:
        raise DataError(
            f"{directory} is not a data set that TFDS can open ({error}): prepare it anew. "
            + _remedy(name)
        ) from error
    if _FORMAT not in formats:
        raise DataError(
            f"{directory} was prepared as {formats[0]}, which takes TensorFlow to read: where "
            f"TensorFlow is, convert it once with `tfds convert_format --out_file_format={_FORMAT} "
            f"--dataset_version_dir={directory}`"
        )
    return builder


def _source(builder: Any, split: str) -> Any:
    import tensorflow_datasets as tfds

    encoded = {"image": tfds.decode.SkipDecoding()}
    return builder.as_data_source(split=split, decoders=encoded, file_format=_FORMAT)


def _remedy(name: str) -> str:
    by_hand = (
        " with --manual_dir=DOWNLOADS, which must hold the archives that image-net.org gives after "
        "registration" * (name == "imagenet2012")
    )
    return (
        "To get it, once and on any machine: `pip install tensorflow-datasets tensorflow-cpu`, "
        f"then `tfds build {name} --file_format=array_record --data_dir=DIR`{by_hand}; after that "
        "pass --data_dir=DIR or set TFDS_DATA_DIR. The data set 'digits' needs no download."
    )
