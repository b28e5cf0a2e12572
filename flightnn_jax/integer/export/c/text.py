"""Pieces of C: names, texts and tables. Whatever a network is called, it is data in them."""

import re
from collections.abc import Iterable

import numpy as np

_WIDTH = 100
_MAX_NAME = 24  # with what stands around it, within the 31 letters that C99 promises to tell apart
_PLAIN = re.compile(r"[A-Za-z0-9 _.,:;=+()\[\]-]")


def name_of(text: str) -> str:
    """A name made of any text: lower-case letters, digits and underscores.

    Example:
      >>> name_of("Net 1 (wide)"), name_of("")
      ('net_1_wide', 'network')
    """
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:_MAX_NAME].strip("_") or "network"


def quoted(text: str) -> str:
    r"""A string of C, with its quotes: UTF-8, in which all but plain letters are octal numbers.

    Example:
      >>> print(quoted('a "b" */ \\ ??/ é'))
      "a \042b\042 \052\057 \134 \077\077\057 \303\251"
    """
    bytes_ = (chr(byte) for byte in text.encode())
    return '"' + "".join(x if _PLAIN.fullmatch(x) else f"\\{ord(x):03o}" for x in bytes_) + '"'


def comment(text: str) -> str:
    """A text as it may stand in a comment: what could end it is a question mark.

    Example:
      >>> comment("a */ b")
      'a ?? b'
    """
    return "".join(x if _PLAIN.fullmatch(x) else "?" for x in text)[:_WIDTH]


def table(kind: str, name: str, values: Iterable[object]) -> str:
    """A constant array; one without values has a zero, since C has no empty ones.

    Example:
      >>> print(table("uint8_t", "shift_conv1", [1, 2]))
      static const uint8_t shift_conv1[2] = {
          1, 2,
      };
    """
    texts = [str(value) for value in values] or ["0"]
    lines, line = [], "   "
    for text in texts:
        if len(line) + len(text) + 2 > _WIDTH:
            lines.append(line)
            line = "   "
        line += f" {text},"
    return "\n".join([f"static const {kind} {name}[{len(texts)}] = {{", *lines, line, "};"])


def array(name: str, values: np.ndarray) -> str:
    """A table of an array of integers, of its own type."""
    return table(f"{values.dtype.name}_t", name, values.reshape(-1).tolist())


def record(kind: str, name: str, fields: dict[str, object]) -> str:
    """A constant struct.

    Example:
      >>> print(record("Add", "layer_add1", {"values": 64, "shift": "shift_add1"}))
      static const Add layer_add1 = {
          .values = 64,
          .shift = shift_add1,
      };
    """
    lines = [f"    .{field} = {value}," for field, value in fields.items()]
    return "\n".join([f"static const {kind} {name} = {{", *lines, "};"])
