"""A data set of a user's own: a folder of images, one folder a class."""

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path

from flightnn_jax.data import images, splits
from flightnn_jax.data.dataset import DataError, Dataset, Shape, Split, locate, of_a_user

ENDINGS = (".png", ".jpg", ".jpeg")
MAX_BYTES = 1 << 28  # of an image
PARTS = 10  # of the images without a split of their own: validation is part 0, test 1 and 2
_LAYOUT = "PATH/train/CLASS/*.png (or .jpg) and PATH/test/CLASS/*.png; or PATH/CLASS/*.png alone"


@dataclasses.dataclass(frozen=True)
class Folder:
    """PNG and JPEG files in folders named for their classes: train/CLASS/*, test/CLASS/*.

    Without the folder `test`, and for the validation split, a hash of CLASS/FILE decides, so an
    image stays where it is when others are added: of ten parts, validation is one, test two.

    Attributes:
      path: of the folder.
    """

    path: str

    @property
    def home(self) -> str:
        """The directory that the folder is in."""
        return str(Path(self.path).parent)

    def at(self, data_dir: str | Path | None) -> "Folder":
        """See `locate`."""
        return Folder(str(locate(self.path, data_dir)))

    def open(self, dataset: Dataset, split: str, cache_dir: str | Path | None) -> Split:
        """Decodes one split; photographs when they are read."""
        return splits.split_of(Files(dataset, tuple(self.files(split))), cache_dir)

    def files(self, split: str) -> list[Path]:
        """The images of a split, by class and name.

        Raises:
          DataError: if there is none, or something else is there.
        """
        train, test = self._train(), Path(self.path) / "test"
        if split == "test" and test.is_dir():
            return _images(test)
        taken = (1, 2) if not test.is_dir() else ()
        parts = {"train": set(range(PARTS)) - {0, *taken}, "validation": {0}, "test": set(taken)}
        files = [file for file in _images(train) if part_of(file) in parts[split]]
        if not files:
            raise DataError(
                f"{train}: by the hashes of their names no image falls into the {split} split, one "
                "or two of ten: add images"
            )
        return files

    def classes(self) -> tuple[str, ...]:
        """The names of the folders of training images."""
        return tuple(dict.fromkeys(file.parent.name for file in _images(self._train())))

    def _train(self) -> Path:
        train = Path(self.path) / "train"
        return train if train.is_dir() else Path(self.path)


@dataclasses.dataclass(frozen=True)
class Files:
    """The encoded images of a split; see `images.Encoded`.

    Attributes:
      dataset: which they belong to.
      files: one an image, in folders named for their classes.
    """

    dataset: Dataset
    files: tuple[Path, ...]

    @property
    def key(self) -> str:
        """By the names, sizes and times of all files."""
        digest = hashlib.sha256()
        for file in self.files:
            stat = file.stat()
            digest.update(f"{file} {stat.st_size} {stat.st_mtime_ns}\n".encode())
        return f"folder-{digest.hexdigest()[:32]}"

    def __len__(self) -> int:
        return len(self.files)

    def read(self, rows: Sequence[int]) -> list[images.Example]:
        """The examples at these places."""
        files, labels = [self.files[row] for row in rows], self.dataset.labels
        return [images.Example(f.read_bytes(), labels.index(f.parent.name)) for f in files]

    def damaged(self, row: int, reason: str) -> DataError:
        """What to raise of an image that cannot be used."""
        return DataError(
            f"{self.files[row]}: the image cannot be used ({reason}): replace or remove it. With "
            "--config.image_size=N all images are cropped to squares of N pixels a side"
        )


def describe(name: str, path: str, data_dir: str | Path | None, image_size: int | None) -> Dataset:
    """The data set of a folder.

    With an `image_size` images are taken as photographs. Without one, the first image says which
    shape all have.

    Raises:
      DataError: if the folder is not as `Folder` says.
    """
    source = Folder(path).at(data_dir)
    labels = source.classes()
    if len(labels) < 2:
        raise DataError(
            f"{source.path} has images of {len(labels)} classes: a classifier needs two or more, "
            f"as {_LAYOUT}"
        )
    test = Path(source.path) / "test"
    unknown = sorted({f.parent.name for f in source.files("test")} - set(labels))
    if unknown:
        raise DataError(f"{test} has the classes {unknown}, which are not among {list(labels)}")
    if image_size is not None:
        shape: Shape = (image_size, image_size, 3)
        return of_a_user(name, labels, source, shape, photographs=True, resizes=True)
    first = Files(of_a_user(name, labels, source, (1, 1, 1)), tuple(source.files("train")[:1]))
    with images.decoding(first, 0, first.read([0])[0]) as image:
        return of_a_user(name, labels, source, images.shape_of(image))


def part_of(file: Path) -> int:
    """Which of `PARTS` an image is in.

    Example:
      >>> part_of(Path("/data/train/cat/12.png")), part_of(Path("elsewhere/cat/12.png"))
      (6, 6)
    """
    digest = hashlib.sha256(f"{file.parent.name}/{file.name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % PARTS


def _images(root: Path) -> list[Path]:
    """All images in the folders of a folder; hidden files and folders are passed over."""
    folders = sorted(path for path in root.iterdir() if path.is_dir() and path.name[0] != ".")
    files = []
    for folder in folders:
        inside = sorted(path for path in folder.iterdir() if path.name[0] != ".")
        others = [
            path
            for path in inside
            if path.suffix.lower() not in ENDINGS
            or not path.is_file()
            or path.stat().st_size > MAX_BYTES
        ]
        if others or not inside:
            what = f"{others[0].name!r} and {len(others) - 1} more" if others else "nothing"
            raise DataError(
                f"{folder} holds {what}: only files that end in {', '.join(ENDINGS)}, of at "
                f"most {MAX_BYTES:,} bytes, may be in the folder of a class, and one at least. The "
                f"layout is {_LAYOUT}"
            )
        files += inside
    if not files:
        raise DataError(f"{root} has no folders of images: the layout is {_LAYOUT}")
    return files
