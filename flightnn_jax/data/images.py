"""Encoded images (PNG, JPEG, WebP) and their pixels."""

import contextlib
import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from flightnn_jax.data.dataset import DataError, Dataset, Shape

if TYPE_CHECKING:  # Pillow is imported where an image is decoded: arrays do without it
    from PIL import Image

MAX_PIXELS = 1 << 26  # of an image, 8192 x 8192: decoded it takes 256 MB
FORMATS = ("PNG", "JPEG", "WEBP")  # Pillow reads others by starting other programs
_READ_AT_ONCE = 1000
_GRAY = ("1", "L", "LA")
_DEEP = ("I", "F")  # what the modes of more than 8 bits a channel start with


class Example(NamedTuple):
    """An encoded example.

    Attributes:
      image: a PNG, JPEG or WebP file.
      label: 0 to classes - 1.
    """

    image: bytes
    label: int


class Encoded(Protocol):
    """The encoded images of a split, in random access. They can be pickled."""

    @property
    def dataset(self) -> Dataset:
        """Which they belong to."""

    @property
    def key(self) -> str:
        """Text that changes when the images do."""

    def __len__(self) -> int: ...

    def read(self, rows: Sequence[int]) -> list[Example]:
        """The examples at these places."""

    def damaged(self, row: int, reason: str) -> DataError:
        """What to raise of an example that cannot be used."""


@contextlib.contextmanager
def decoding(encoded: Encoded, row: int, example: Example) -> Iterator["Image.Image"]:
    """The image of the example read from `row`, within which its pixels are decoded."""
    from PIL import Image

    bombs = (Image.DecompressionBombError, Image.DecompressionBombWarning)
    problems = (OSError, ValueError, SyntaxError, *bombs)
    try:
        with Image.open(io.BytesIO(example.image), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(
                    f"{image.height}x{image.width} pixels, and {MAX_PIXELS:,} are the most"
                )
            if image.mode.startswith(_DEEP):
                raise ValueError(f"mode {image.mode}: more than 8 bits a channel; convert it to 8")
            yield image
    except problems as error:  # what Pillow raises
        reason = str(error).split(" <_io.")[0]  # an address in memory tells nobody anything
        raise encoded.damaged(row, reason) from error


def pixels(image: "Image.Image", shape: Shape) -> np.ndarray:
    """All of an image, [height, width, channels] uint8, which must be its shape.

    Gray images among colored ones get three equal channels; transparency is dropped.
    """
    height, width, channels = shape
    if image.size != (width, height):
        raise ValueError(
            f"{image.size[1]}x{image.size[0]} pixels instead of {height}x{width}, which all "
            "images must have"
        )
    if channels == 1 and image.mode not in _GRAY:
        raise ValueError(f"mode {image.mode}: a colored image among gray ones")
    return np.asarray(image.convert("L" if channels == 1 else "RGB")).reshape(shape)


def shape_of(image: "Image.Image") -> Shape:
    """(height, width, channels) of an image; 1 channel if it is gray, and else 3."""
    return (image.size[1], image.size[0], 1 if image.mode in _GRAY else 3)


def decode_all(encoded: Encoded) -> tuple[np.ndarray, np.ndarray]:
    """All images, which must have the shape that their data set states.

    One thread: with small images two threads only wait for each other (measured).

    Returns:
      images [n, height, width, channels] uint8; labels [n] int32.
    """
    shape = encoded.dataset.image_shape
    images = np.empty((len(encoded), *shape), np.uint8)
    labels = np.empty(len(encoded), np.int32)
    for start in range(0, len(encoded), _READ_AT_ONCE):
        rows = range(start, min(start + _READ_AT_ONCE, len(encoded)))
        for row, example in zip(rows, encoded.read(rows), strict=True):
            with decoding(encoded, row, example) as image:
                images[row] = pixels(image, shape)
            labels[row] = example.label
    return images, labels
