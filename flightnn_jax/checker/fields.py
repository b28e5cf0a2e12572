"""The entries of a JSON object, one by one, each checked for its type and range."""

import re
from typing import Any

from flightnn_jax.checker.container import FileError

MAX_AXIS = 65536
MAX_EXPONENT = 1000

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_RESERVED = ("image", "golden")


class Fields:
    """A JSON object that must have certain entries, and no others.

    Args:
      value: the object, as JSON gave it.
      place: where it stands, for errors.
      keys: names of the entries.

    Raises:
      FileError: if it has other entries.

    Example:
      >>> fields = Fields({"stride": 2}, "layer 'conv1'", ["stride"])
      >>> fields.integer("stride", 1, 8)
      2
    """

    def __init__(self, value: dict[str, Any], place: str, keys: list[str]) -> None:
        if set(value) != set(keys):
            missing = [key for key in keys if key not in value]
            extra = [key[:40] for key in value if key not in keys]
            raise FileError(
                f"{place} lacks {missing} and has {extra[:8]} too many: {', '.join(keys)} it is"
            )
        self._value, self._place = value, place

    def integer(self, key: str, least: int, most: int) -> int:
        """An integer between two limits; true, 1.0 and "1" are none."""
        return self._integer(key, self._value[key], least, most)

    def exponent(self, key: str) -> int:
        """An exponent of two, of which no interpreter takes notice."""
        return self.integer(key, -MAX_EXPONENT, MAX_EXPONENT)

    def optional(self, key: str, least: int, most: int) -> int | None:
        """null, or an integer between two limits."""
        return None if self._value[key] is None else self.integer(key, least, most)

    def axes(self, key: str, counts: tuple[int, ...]) -> tuple[int, ...]:
        """A shape with one of certain numbers of axes, each of them 1 to 65,536 long."""
        value = self._list(key)
        if len(value) not in counts:
            raise self._error(key, value, f"a list of {' or '.join(map(str, counts))} lengths")
        return tuple(self._integer(key, n, 1, MAX_AXIS) for n in value)

    def text(self, key: str) -> str:
        """Any text."""
        value = self._value[key]
        if not isinstance(value, str):
            raise self._error(key, value, "a text")
        return value

    def choice(self, key: str, *choices: str) -> str:
        """One of certain texts."""
        value = self._value[key]
        if value not in choices:
            raise self._error(key, value, " or ".join(map(repr, choices)))
        return value

    def name(self, key: str) -> str:
        """A layer's name: a letter, then letters, digits and underscores; not a reserved one."""
        value = self._value[key]
        if not isinstance(value, str) or not _NAME.fullmatch(value) or value in _RESERVED:
            rule = f"a letter and up to 63 of A-Z a-z 0-9 _, and none of {', '.join(_RESERVED)}"
            raise self._error(key, value, rule)
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts."""
        value = self._list(key)
        if not all(isinstance(text, str) for text in value):
            raise self._error(key, value, "a list of texts")
        return tuple(value)

    def objects(self, key: str, most: int) -> list[Any]:
        """A list of at least one thing, and no more than a limit."""
        value = self._list(key)
        if not 1 <= len(value) <= most:
            raise FileError(f"{self._place}: {len(value)} {key}: 1 to {most} are allowed")
        return value

    def notes(self, key: str) -> dict[str, str | int | float]:
        """Texts and numbers by name."""
        value = self._value[key]
        if not isinstance(value, dict) or not all(_is_note(note) for note in value.values()):
            raise self._error(key, value, "an object of texts and finite numbers")
        return value

    def digests(self, key: str, names: list[str]) -> dict[str, str]:
        """SHA-256 digests in lower-case hexadecimal, of exactly these names."""
        value = self._value[key]
        if not isinstance(value, dict) or set(value) != set(names):
            raise self._error(key, value, f"an object with {', '.join(names):.200}")
        for digest in value.values():
            if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
                raise self._error(key, digest, "64 digits 0-9 a-f")
        return value

    def _list(self, key: str) -> list[Any]:
        value = self._value[key]
        if not isinstance(value, list):
            raise self._error(key, value, "a list")
        return value

    def _integer(self, key: str, value: Any, least: int, most: int) -> int:
        if type(value) is not int or not least <= value <= most:
            raise self._error(key, value, f"an integer, {least} to {most}")
        return value

    def _error(self, key: str, value: Any, rule: str) -> FileError:
        return FileError(f"{self._place}: {key} is {value!r:.80}, and must be {rule}")


def _is_note(value: Any) -> bool:
    finite = type(value) is float and abs(value) != float("inf")
    return isinstance(value, str) or type(value) is int or finite
