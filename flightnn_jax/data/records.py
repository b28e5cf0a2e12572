"""Records of a directory that TFDS has prepared, read without TensorFlow."""

import dataclasses
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flightnn_jax.data import images, splits
from flightnn_jax.data.dataset import DataError, Dataset, Split, of_a_user

_NAMES_OF_CLASSES = ("pythonClassName", "python_class_name", "type", "proto_cls")
_FORMAT = "array_record"  # in random access and without TensorFlow


@dataclasses.dataclass(frozen=True)
class Tfds:
    """A data set that TFDS has prepared.

    Attributes:
      name: its name in TFDS.
      test_split: the original split that is the test split here.
      validation_percent: how much of the original train split is the validation split: the last
        records of it, for CIFAR train[45000:].
      data_dir: what `tfds build --data_dir` was given; None takes $TFDS_DATA_DIR, or
        ~/tensorflow_datasets.
    """

    name: str
    test_split: str = "test"
    validation_percent: int = 10
    data_dir: str | None = None

    @property
    def home(self) -> str:
        """Its `data_dir`, resolved."""
        given = self.data_dir or os.environ.get("TFDS_DATA_DIR")
        return str(Path(given or Path.home() / "tensorflow_datasets").expanduser().absolute())

    def at(self, data_dir: str | Path | None) -> "Tfds":
        """With another `data_dir`."""
        return dataclasses.replace(self, data_dir=None if data_dir is None else str(data_dir))

    def open(self, dataset: Dataset, split: str, cache_dir: str | Path | None) -> Split:
        """Decodes one split; photographs when they are read."""
        return splits.split_of(Records(dataset, self, split), cache_dir)


def describe(
    name: str, prepared: str, data_dir: str | Path | None, image_size: int | None
) -> Dataset:
    """A prepared data set that nobody described here.

    Its features must be an `image` of bytes and a `label`. Where images have sizes of their own,
    they are taken as photographs, and an `image_size` is needed.

    Raises:
      DataError: if it is not there, or is none of images and labels.
      ValueError: if the `image_size` is missing.
    """
    source = Tfds(prepared).at(data_dir)
    _, builder = _open(source)
    features = dict(builder.info.features.items())
    kinds = {key: type(feature).__name__ for key, feature in features.items()}
    fits = (kinds.get("image"), kinds.get("label")) == ("Image", "ClassLabel")
    image = features["image"] if fits else None
    if image is None or image.shape[-1] not in (1, 3) or image.np_dtype != np.uint8:
        raise DataError(
            f"{prepared} has the features {kinds}: it must have an `image`, an Image of uint8 with "
            "1 or 3 channels, and a `label`, a ClassLabel"
        )
    if "test" not in builder.info.splits:
        source = dataclasses.replace(source, test_split="validation")
    labels = tuple(features["label"].names)
    if None not in image.shape:
        return of_a_user(name, labels, source, tuple(image.shape))
    if image_size is None:
        raise ValueError(
            f"images of {prepared} have sizes of their own: give the side of the squares that they "
            "are cropped to, --config.image_size=N"
        )
    shape = (image_size, image_size, 3)
    return of_a_user(name, labels, source, shape, photographs=True, resizes=True)


class Records:
    """Part of a split of a prepared data set: see `images.Encoded`.

    Attributes:
      dataset: which, with TFDS's own names of the classes.
      directory: the prepared version, such as data_dir/cifar10/3.0.2.
      split: name of the original split.
      start: the first record in it.
      key: changes when the records do, by the names, sizes and times of their files.

    Raises:
      DataError: if it is not there, or cannot be read. It says how to get it.
    """

    def __init__(self, dataset: Dataset, source: Tfds, split: str) -> None:
        self.name = source.name
        self.split = source.test_split if split == "test" else "train"
        self.directory, builder = _open(source)
        if self.split not in builder.info.splits:
            raise DataError(
                f"{self.directory} has the splits {', '.join(builder.info.splits) or '(none)'} "
                f"but not {self.split!r}: prepare the data set anew. {_remedy(source.name)}"
            )
        labels = tuple(builder.info.features["label"].names)
        if len(labels) != dataset.classes:
            raise DataError(
                f"{self.directory} has {len(labels)} classes instead of {dataset.classes}: prepare "
                f"the data set anew. {_remedy(source.name)}"
            )
        self.dataset = dataclasses.replace(dataset, labels=labels)
        info = builder.info.splits[self.split]
        cut = info.num_examples - round(info.num_examples * source.validation_percent / 100)
        part = {"train": f"[:{cut}]", "validation": f"[{cut}:]", "test": ""}[split]
        self.start = cut if split == "validation" else 0
        self.key = self._key(part, info.num_shards)
        # Imported here and below, as it takes a second.
        import tensorflow_datasets as tfds  # type: ignore[import-untyped]  # it has no stubs

        self._source = builder.as_data_source(
            split=self.split + part,
            decoders={"image": tfds.decode.SkipDecoding()},
            file_format=_FORMAT,
        )

    def _key(self, part: str, shards: int) -> str:
        files = sorted(self.directory.glob(f"*-{self.split}.{_FORMAT}-*"))
        if len(files) != shards:
            raise DataError(
                f"split {self.split!r} in {self.directory} has {len(files)} files instead of "
                f"{shards}: copy the directory again, or prepare it anew. {_remedy(self.name)}"
            )
        digest = hashlib.sha256((self.directory / "dataset_info.json").read_bytes())
        for file in files:
            stat = file.stat()
            digest.update(f"{file.name} {stat.st_size} {stat.st_mtime_ns}".encode())
        bounds = part.strip("[]").replace(":", "-")
        name = f"{self.name}-{self.directory.name}-{self.split}{bounds}"
        return f"{name}-{digest.hexdigest()[:16]}"

    def __len__(self) -> int:
        return len(self._source)

    def read(self, rows: Sequence[int]) -> list[images.Example]:
        """The examples at these places, counted from 0 in this part of the split."""
        try:
            examples = self._source.__getitems__(list(rows))
        except Exception:  # one of them is damaged: which?
            examples = [self._read_one(row) for row in rows]
        return [self._checked(row, example) for row, example in zip(rows, examples, strict=True)]

    def _read_one(self, row: int) -> Any:
        try:
            return self._source[row]
        except Exception as error:
            raise self.damaged(row, str(error)) from error

    def _checked(self, row: int, example: Any) -> images.Example:
        image, label = example["image"], int(example["label"])
        if not 0 <= label < self.dataset.classes:
            raise self.damaged(row, f"label {label} of {self.dataset.classes} classes")
        return images.Example(image, label)

    def damaged(self, row: int, reason: str) -> DataError:
        """What to raise of an example that cannot be used."""
        return DataError(
            f"record {self.start + row} of split {self.split!r} in {self.directory} is damaged "
            f"({reason}): copy the directory again, or prepare it anew. {_remedy(self.name)}"
        )


def _find_directory(name: str, data_dir: str) -> Path:
    """The newest prepared version of a data set."""
    root = Path(data_dir)
    if not root.is_dir():
        raise DataError(f"the data directory {root} does not exist. {_remedy(name)}")
    infos = root.glob(f"{name}/*/dataset_info.json")
    versions = [
        ([int(n) if n.isdigit() else -1 for n in info.parent.name.split(".")], info.parent)
        for info in infos
    ]
    if not versions:
        raise DataError(f"the data directory {root} holds no prepared {name}. {_remedy(name)}")
    return max(versions)[1]


def _raise_if_foreign(features: Path) -> None:
    """Raises ValueError if a record names classes of other modules, which TFDS would import."""

    def check(pairs: list[tuple[str, Any]]) -> None:
        for key, name in pairs:
            is_class = key in _NAMES_OF_CLASSES and isinstance(name, str) and "." in name
            if is_class and not name.startswith("tensorflow_datasets."):
                raise ValueError(f"features.json names {name!r}, which is not TFDS's own")

    if features.exists():
        json.loads(features.read_bytes(), object_pairs_hook=check)


def _open(source: Tfds) -> tuple[Path, Any]:
    """The directory of the newest prepared version of a data set, and TFDS's builder of it."""
    name, directory = source.name, _find_directory(source.name, source.home)
    import tensorflow_datasets as tfds

    try:
        _raise_if_foreign(directory / "features.json")
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
    return directory, builder


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
