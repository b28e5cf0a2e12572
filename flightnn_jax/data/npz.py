"""A data set of a user's own: one file of NumPy arrays."""

import dataclasses
import io
import os
import zipfile
import zlib
from pathlib import Path

import numpy as np

from flightnn_jax.data import order, splits
from flightnn_jax.data.dataset import DataError, Dataset, Shape, locate, numbers, of_a_user

MAX_CLASSES = 1 << 16
VALIDATION_PARTS = 10  # one of them is the validation split
_MAX_RATIO = 1032  # DEFLATE makes no bytes smaller than this
_MAX_HEADER = 1 << 14  # bytes; NumPy reads no longer ones, after it has taken their memory
_NAMES = "class_names"
_MIRROR = "mirror"
_MAX_NAME = 1000  # letters
_ADVICE = (
    "write it with np.savez(PATH, x_train=..., y_train=..., x_test=..., y_test=...): images "
    "[n, height, width] or [n, height, width, channels] uint8, labels [n] whole numbers from 0; "
    "if you like, class_names, one text a class, and mirror, True if mirrored images are as good"
)
_DAMAGE = (ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)

Headers = dict[str, tuple[tuple[int, ...], np.dtype]]


@dataclasses.dataclass(frozen=True)
class Npz:
    """An .npz file with x_train, y_train, x_test, y_test and, if there are names, class_names.

    With `mirror`, [] bool, it says whether training images are mirrored at random.

    The validation split is a tenth of x_train, at least one image: the rows at the head of a
    fixed permutation of its length, so it is the same in every run.

    Attributes:
      path: of the file.
    """

    path: str

    @property
    def home(self) -> str:
        """The directory of the file."""
        return str(Path(self.path).parent)

    def at(self, data_dir: str | Path | None) -> "Npz":
        """See `locate`."""
        return Npz(str(locate(self.path, data_dir)))

    def open(self, dataset: Dataset, split: str, cache_dir: str | Path | None) -> splits.ArraySplit:
        """Reads one split into memory."""
        del cache_dir
        part = "test" if split == "test" else "train"
        images = self._array(f"x_{part}").reshape(-1, *dataset.image_shape)
        labels = self._array(f"y_{part}").astype(np.int32)
        if part == "train":
            rows = order.permutation(len(labels), seed=0, epoch=0)
            held_out = max(1, len(rows) // VALIDATION_PARTS)
            chosen = rows[:held_out] if split == "validation" else np.sort(rows[held_out:])
            images, labels = images[chosen], labels[chosen]
        return splits.ArraySplit(dataset, images, labels)

    def error(self, problem: str) -> DataError:
        """What to raise of this file."""
        return DataError(f"{self.path}: {problem}")

    def headers(self) -> Headers:
        """Shape and type of each array, which are compared with the bytes that there are."""
        headers = {}
        try:
            with zipfile.ZipFile(self.path) as archive:
                for info in archive.infolist():
                    name = info.filename.removesuffix(".npy")
                    with archive.open(info) as member:
                        file = io.BytesIO(member.read(_MAX_HEADER))
                        version = np.lib.format.read_magic(file)
                        read = np.lib.format.read_array_header_1_0
                        if version != (1, 0):
                            read = np.lib.format.read_array_header_2_0
                        shape, _, dtype = read(file)
                        start = file.tell()
                    size = start + int(np.prod(shape, dtype=object)) * dtype.itemsize
                    most = min(info.compress_size * _MAX_RATIO, _memory())
                    if not dtype.hasobject and (size != info.file_size or size > most):
                        raise ValueError(
                            f"{name} claims {size:,} bytes and has {info.file_size:,}, "
                            f"{info.compress_size:,} of them in the file; this machine has memory "
                            f"for {_memory():,}"
                        )
                    headers[name] = (shape, dtype)
        except _DAMAGE as error:
            raise self.error(f"no .npz file that can be read ({error}): {_ADVICE}") from error
        return headers

    def _array(self, name: str) -> np.ndarray:
        try:
            with np.load(self.path, allow_pickle=False) as arrays:
                return arrays[name]
        except _DAMAGE as error:
            raise self.error(f"{name} cannot be read ({error}): write the file anew") from error

    def mirrors(self, headers: Headers) -> bool:
        """Whether the file says that training images may be mirrored."""
        if _MIRROR not in headers:
            return False
        shape, dtype = headers[_MIRROR]
        if shape != () or dtype != np.bool_:
            raise self.error(f"{_MIRROR} is {dtype} of shape {shape}: it must be True or False")
        return bool(self._array(_MIRROR))

    def labels(self, headers: Headers) -> tuple[str, ...]:
        """The classes' names, after all labels were compared with them."""
        names = self._names(*headers[_NAMES]) if _NAMES in headers else None
        largest = {}
        for name in ("y_train", "y_test"):
            labels = self._array(name)
            largest[name] = int(labels.max())
            if labels.min() < 0:
                raise self.error(
                    f"{name} has the label {labels.min()}: labels are 0, 1, ... for the classes"
                )
        classes = 1 + max(largest.values()) if names is None else len(names)
        for name, label in largest.items():
            if label >= min(classes, MAX_CLASSES):
                rule = f"there are {classes:,} {_NAMES}"
                if names is None:
                    rule = f"{MAX_CLASSES:,} classes are the most"
                raise self.error(f"{name} has the label {label:,}, but {rule}")
        if classes < 2:
            raise self.error("all labels are 0: a classifier needs two classes or more")
        return numbers(classes) if names is None else names

    def _names(self, shape: tuple[int, ...], dtype: np.dtype) -> tuple[str, ...]:
        is_text = dtype.kind == "U" and dtype.itemsize <= 4 * _MAX_NAME
        if len(shape) != 1 or shape[0] > MAX_CLASSES or not (is_text or dtype.hasobject):
            raise self.error(
                f"{_NAMES} is {dtype} of shape {shape}: it must be one text of at most {_MAX_NAME} "
                f"letters a class, np.array([...], dtype=str), for {MAX_CLASSES:,} at most"
            )
        return tuple(self._array(_NAMES).tolist())


def _memory() -> int:
    """Bytes of memory that this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def describe(name: str, path: str, data_dir: str | Path | None, image_size: int | None) -> Dataset:
    """The data set of a file, whose arrays are all checked.

    Raises:
      DataError: if one is missing or not as `Npz` says.
    """
    del image_size  # images have the size that they have
    source = Npz(path).at(data_dir)
    headers = source.headers()
    shapes = [_image_shape(source, headers, part) for part in ("train", "test")]
    if shapes[0] != shapes[1]:
        raise source.error(
            f"x_train has images of shape {shapes[0]} and x_test of {shapes[1]}: one is needed"
        )
    dataset = of_a_user(name, source.labels(headers), source, shapes[0])
    return dataclasses.replace(dataset, flip=source.mirrors(headers))


def _image_shape(source: Npz, headers: Headers, part: str) -> Shape:
    """(height, width, channels) of a part's images, the types and shapes being right."""
    for name in (f"x_{part}", f"y_{part}"):
        if name not in headers:
            held = ", ".join(headers) or "none"
            raise source.error(f"there is no array {name} among its arrays, {held}: {_ADVICE}")
        if headers[name][1].hasobject:
            raise source.error(
                f"{name} holds Python objects, which only unpickling could read, and that may run "
                f"any code: {_ADVICE}"
            )
    (shape, dtype), (label_shape, label_dtype) = headers[f"x_{part}"], headers[f"y_{part}"]
    if dtype.kind == "f":
        raise source.error(
            f"x_{part} is {dtype}: images are uint8, 0 to 255, which is what the network reads "
            "exactly. Where pixels are 0 to 1, store np.rint(255 * x).astype(np.uint8); leave any "
            "normalization out, batch norm does it"
        )
    if dtype != np.uint8 or len(shape) not in (3, 4) or min(shape) < 1:
        raise source.error(f"x_{part} is {dtype} of shape {shape}: {_ADVICE}")
    if label_dtype.kind not in "iu" or label_shape != shape[:1]:
        raise source.error(
            f"y_{part} is {label_dtype} of shape {label_shape}: it must be one whole number for "
            f"each of the {shape[0]:,} images of x_{part}"
        )
    if part == "train" and shape[0] < 2:
        raise source.error("x_train has one image, and one is kept for validation: give more")
    return (shape[1], shape[2], 1 if len(shape) == 3 else shape[3])
