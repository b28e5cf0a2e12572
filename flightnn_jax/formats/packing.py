"""Bytes of stored codes: a frame with a checksum around a body, and integers packed bit by bit.

    magic 4 | version 1 | kind 1 | body length 8 | body | CRC-32 of all before it 4

All numbers are little-endian. A reader checks lengths against the data at hand before it
allocates anything, and the checksum before it believes anything.
"""

import struct
import zlib
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

MAGIC = b"FLNN"
VERSION = 1
_HEADER = struct.Struct("<4sBBQ")
_CHECKSUM = struct.Struct("<I")
_ARRAY = struct.Struct("<BBb")
_DTYPES = ("float16", "bfloat16", "float32", "float64")
_CHUNK = 1 << 20
_MAX_AXES = 32


def frame(kind: int, body: bytes) -> bytes:
    """Puts a header before a body and a checksum behind it."""
    framed = _HEADER.pack(MAGIC, VERSION, kind, len(body)) + body
    return framed + _CHECKSUM.pack(zlib.crc32(framed))


def unframe(kind: int, data: bytes) -> bytes:
    """The body of `frame(kind, body)`.

    Raises:
      ValueError: if anything about the frame is wrong.
    """
    if not isinstance(data, bytes | bytearray | memoryview):
        raise TypeError(f"packed codes are bytes, not {type(data).__name__}: open files in binary")
    smallest = _HEADER.size + _CHECKSUM.size
    if len(data) < smallest:
        raise ValueError(
            f"packed codes of {len(data)} bytes are truncated: header and checksum alone take "
            f"{smallest}; read the file again, in binary and to its end"
        )
    magic, version, actual_kind, length = _HEADER.unpack_from(data)
    if magic != MAGIC:
        raise ValueError(f"packed codes must start with {MAGIC!r}, not {magic!r}: other data?")
    if version != VERSION:
        raise ValueError(
            f"packed codes of version {version}: this library reads version {VERSION}; use the "
            "release that wrote them"
        )
    if len(data) != smallest + length:
        raise ValueError(
            f"packed codes must have {smallest + length} bytes by their header, not {len(data)}: "
            "truncated, or followed by something else"
        )
    (expected,) = _CHECKSUM.unpack_from(data, len(data) - _CHECKSUM.size)
    actual = zlib.crc32(data[: -_CHECKSUM.size])
    if actual != expected:
        raise ValueError(
            f"packed codes are corrupted: their CRC-32 is {actual:08x} and should be "
            f"{expected:08x}; get another copy"
        )
    if actual_kind != kind:
        raise ValueError(
            f"packed codes are of kind {actual_kind}, not {kind}: unpack them with the class that "
            "packed them"
        )
    return data[_HEADER.size : -_CHECKSUM.size]


def pack_array_header(shape: Sequence[int], dtype: DTypeLike, filter_axis: int) -> bytes:
    """Type, axes and shape of the weights that some codes stand for.

    The type's number (0 float16, 1 bfloat16, 2 float32, 3 float64), the number of axes and the
    filter axis take 1 byte each, every length 8.
    """
    axis = filter_axis % len(shape)
    head = _ARRAY.pack(_DTYPES.index(jnp.dtype(dtype).name), len(shape), axis)
    return head + struct.pack(f"<{len(shape)}Q", *shape)


class Reader:
    """Takes a body apart from the front; every reading past its end is an error."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    def take(self, size: int) -> bytes:
        """The next `size` bytes."""
        if size > len(self._body) - self._at:
            raise ValueError(
                f"packed codes end too soon: {size} more bytes are needed, "
                f"{len(self._body) - self._at} are left"
            )
        self._at += size
        return self._body[self._at - size : self._at]

    def unpack(self, layout: struct.Struct) -> tuple[int, ...]:
        """The next fields of a fixed layout."""
        return layout.unpack(self.take(layout.size))

    def array_header(self) -> tuple[tuple[int, ...], str, int]:
        """Shape, type and filter axis, as `pack_array_header` wrote them."""
        code, ndim, axis = self.unpack(_ARRAY)
        if code >= len(_DTYPES) or not 0 < ndim <= _MAX_AXES or not 0 <= axis < ndim:
            raise ValueError(
                f"packed codes name type {code}, {ndim} axes and filter axis {axis}: there are "
                f"{len(_DTYPES)} types, 1 to {_MAX_AXES} axes and the filter axis is one of them"
            )
        return self.unpack(struct.Struct(f"<{ndim}Q")), _DTYPES[code], axis

    def integers(self, count: int, bits: int) -> np.ndarray:
        """The next `count` integers of `bits` bits each; the bits behind the last one are 0."""
        data = self.take((count * bits + 7) // 8)
        used = count * bits % 8
        if used and data[-1] >> used:
            raise ValueError(
                f"packed codes end in the byte {data[-1]}, of which {used} bits are used: the "
                "others must be 0, as this library writes them"
            )
        return unpack_integers(data, count, bits)

    def finish(self) -> None:
        """Raises if anything is left."""
        if self._at != len(self._body):
            raise ValueError(
                f"packed codes have {len(self._body) - self._at} bytes more than they describe"
            )


def pack_integers(values: np.ndarray, bits: int) -> bytes:
    """Packs non-negative integers below 2**bits, lowest bit first, without gaps.

    Example:
      >>> pack_integers(np.array([1, 15, 2]), 4).hex()
      'f102'
    """
    flat = values.reshape(-1).astype(np.uint32)
    places = np.arange(bits, dtype=np.uint32)
    chunks = []
    for start in range(0, flat.size, _CHUNK):  # a chunk fills whole bytes, whatever `bits` is
        chunk = flat[start : start + _CHUNK, None]
        chunks.append(np.packbits((chunk >> places) & 1, bitorder="little"))
    return b"".join(chunk.tobytes() for chunk in chunks)


def unpack_integers(data: bytes, count: int, bits: int) -> np.ndarray:
    """The first `count` integers that `pack_integers` wrote, as uint32."""
    values = np.empty(count, np.uint32)
    places = np.arange(bits, dtype=np.uint32)
    raw = np.frombuffer(data, np.uint8)
    for start in range(0, count, _CHUNK):
        size = min(_CHUNK, count - start)
        first = start * bits // 8
        chunk = raw[first : first + (size * bits + 7) // 8]
        ones = np.unpackbits(chunk, count=size * bits, bitorder="little").reshape(size, bits)
        values[start : start + size] = (ones.astype(np.uint32) << places).sum(axis=1)
    return values
