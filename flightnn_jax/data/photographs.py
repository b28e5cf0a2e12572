"""Photographs to square crops of one size, on the host: Pillow decodes no more than is needed."""

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # see images.py
    from PIL import Image

# The customary crops of ImageNet: a random part of 8 to 100 % of the area and of an aspect ratio
# between 3/4 and 4/3 for training, the middle 87.5 % of the shorter side for evaluation.
_MIN_AREA = 0.08
_MAX_RATIO = 4 / 3
_MIDDLE = 0.875

RANDOM_NUMBERS = 5

Box = tuple[float, float, float, float]


def crop(image: "Image.Image", size: int, uniform: np.ndarray | None) -> np.ndarray:
    """A crop of an image, scaled.

    Args:
      image: as Pillow opens it, pixels not decoded yet.
      size: height and width of the result.
      uniform: [5] numbers in [0, 1), which choose area, aspect ratio, place and mirroring; None
        takes the middle.

    Returns:
      [size, size, 3] uint8.
    """
    from PIL import Image

    width, height = image.size
    box = middle_box(width, height) if uniform is None else random_box(width, height, uniform)
    # A JPEG decodes at 1/2, 1/4 or 1/8 of its size if the crop needs no more.
    left, top, right, bottom = box
    enough = math.ceil(width * size / (right - left)), math.ceil(height * size / (bottom - top))
    image.draft("RGB", enough)
    across, down = image.size[0] / width, image.size[1] / height
    part = (left * across, top * down, right * across, bottom * down)
    scaled = image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR, box=part)
    pixels = np.asarray(scaled)
    return pixels[:, ::-1] if uniform is not None and uniform[4] < 0.5 else pixels


def middle_box(width: int, height: int) -> Box:
    """The middle square, as (left, top, right, bottom).

    Example:
      >>> middle_box(160, 80)
      (45.0, 5.0, 115.0, 75.0)
    """
    side = _MIDDLE * min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


def random_box(width: int, height: int, uniform: np.ndarray) -> Box:
    """A random part, as (left, top, right, bottom); a side that does not fit is cut.

    Example:
      >>> random_box(160, 90, np.array([1.0, 0.5, 0.0, 0.0]))  # all of the area, square
      (0.0, 0.0, 120.0, 90.0)
    """
    area = width * height * (_MIN_AREA + (1 - _MIN_AREA) * uniform[0])
    ratio = _MAX_RATIO ** (2 * uniform[1] - 1)
    across = min(float(width), math.sqrt(area * ratio))
    down = min(float(height), math.sqrt(area / ratio))
    left, top = (width - across) * uniform[2], (height - down) * uniform[3]
    return float(left), float(top), float(left + across), float(top + down)
