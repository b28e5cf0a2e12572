"""The limits of docs/integers.md in one table, and how a value is held against a rule. No JAX.

Every error names where it is, the value and the rule.
"""

import math
import re
from typing import Any

import numpy as np

Shape = tuple[int, ...]
IMAGE = "image"  # the name by which layers read the image's activations

MIN_ACTIVATION, MAX_ACTIVATION = -128, 127
MAX_LAYERS = 4096
MAX_AXIS = 1 << 16
MAX_WEIGHTS = 1 << 26  # of all layers
MAX_WEIGHTS_PER_BYTE = 64  # of a file: a filter without terms takes no codes
MAX_VALUES = 1 << 28  # of one tensor of one image
MAX_TERMS = 3
MAX_TERM_SHIFT = 7
MAX_AFFINE_TERMS = 32
MAX_SHIFT = 30  # of an activation, its slope included
MAX_LIFT = 24
MIN_AVERAGE_SHIFT = -16
MAX_SLOPE = 7
MAX_EXPONENT = 1000
MAX_DIGEST_IMAGES = 1024
MAX_SEED = (1 << 32) - 1
MAX_HEADER = 1 << 22
MAX_FILE = 1 << 30
ACCUMULATOR_BITS = 32
ACTIVATION_BITS = 31  # of what `activate` rounds, so that half a step more does not overflow
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}", re.ASCII)
DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
RESERVED = (IMAGE, "golden")


class IntegerNetworkError(ValueError):
    """An integer network, or a file of one, that breaks a rule of docs/integers.md."""


def require(holds: Any, where: str, what: str, rule: str) -> None:
    """Raises IntegerNetworkError unless the rule holds."""
    if not holds:
        raise IntegerNetworkError(f"{where:.80}: {what:.200}: {rule}")


def whole(value: Any, low: int, high: int) -> bool:
    """Whether a value is a Python integer from `low` to `high`; a boolean is not."""
    return type(value) is int and low <= value <= high


def check_whole(where: str, name: str, value: Any, low: int, high: int) -> None:
    """An integer in a range."""
    require(whole(value, low, high), where, f"{name}={value}", f"it is {low:,} to {high:,}")


def check_exponent(where: str, name: str, value: Any) -> None:
    """An exponent of two, which no interpreter reads."""
    rule = f"an exponent is a whole number from -{MAX_EXPONENT} to {MAX_EXPONENT}"
    require(whole(value, -MAX_EXPONENT, MAX_EXPONENT), where, f"{name}={value}", rule)


def check_axes(where: str, shape: Shape, *ranks: int) -> None:
    """A shape of one of these numbers of axes."""
    good = len(shape) in ranks and all(whole(axis, 1, MAX_AXIS) for axis in shape)
    rule = f"it has {' or '.join(map(str, ranks))} axes of 1 to {MAX_AXIS:,}, whole numbers"
    require(good, where, f"shape {tuple(shape)}", rule)
    rule = f"it is too large: {MAX_VALUES:,} values at most"
    require(math.prod(shape) <= MAX_VALUES, where, f"shape {tuple(shape)}", rule)


def check_array(where: str, name: str, array: Any, dtype: Any, shape: Shape) -> None:
    """An array of this type and shape."""
    is_array = isinstance(array, np.ndarray)
    what = f"{array.dtype} of shape {array.shape}" if is_array else repr(array)
    rule = f"it is an array of {np.dtype(dtype).name} of shape {tuple(shape)}"
    good = is_array and array.dtype == dtype and array.shape == tuple(shape)
    require(good, where, f"{name} is {what}", rule)


def check_within(where: str, name: str, array: np.ndarray, low: int, high: int) -> None:
    """An array whose elements are all in a range."""
    least, most = array.min(initial=low), array.max(initial=low)
    good = low <= least and most <= high
    require(good, where, f"{name} from {least} to {most}", f"each is from {low} to {high}")
