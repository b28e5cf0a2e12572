"""Values of a record's fields: from texts, and whether they are of a field's type."""

import types
import typing
from typing import Any

MAX_FLOAT = 1.7e308  # 10**400 is no float, and NaN none that can be compared


def parsed(name: str, kind: Any, text: str) -> Any:
    """A value of type `kind` from its text.

    Args:
      name: of the field.
      kind: its type: int, float, bool, str, a tuple of floats, or one of these or None.
      text: as on a command line.

    Raises:
      ValueError: if the text does not fit the type.

    Example:
      >>> parsed("decay_at", tuple[float, ...], "0.5,0.75"), parsed("width", int | None, "none")
      ((0.5, 0.75), None)
    """
    if isinstance(kind, types.UnionType):
        parts = typing.get_args(kind)
        if text.lower() == "none" and type(None) in parts:
            return None
        kind = next(part for part in parts if part is not type(None))
        if str in parts and not _is_float(text):
            kind = str
    try:
        if typing.get_origin(kind) is tuple:
            return tuple(float(part) for part in text.split(",") if part)
        if kind is bool:
            return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
        return kind(text)
    except (KeyError, ValueError):
        raise ValueError(f"{name}={text!r:.80}: the field takes {needed(kind)}") from None


def _is_float(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def needed(kind: Any) -> str:
    """A type in words."""
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
    kinds = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    known = [words.get(one, "numbers between commas") for one in kinds if one is not type(None)]
    return known[0] + ", or none" * (type(None) in kinds)


def is_of(kind: Any, value: Any) -> bool:
    """Whether a value, which JSON or a user's Python may have made, is of a field's type."""
    if isinstance(kind, types.UnionType):
        return any(is_of(one, value) for one in typing.get_args(kind))
    if typing.get_origin(kind) is tuple:
        return type(value) is tuple and all(is_of(float, part) for part in value)
    if kind is float:
        return type(value) in (int, float) and -MAX_FLOAT <= value <= MAX_FLOAT
    return type(value) is kind
