"""The outermost layer of a file: a safetensors container, taken apart by hand, and its digest."""

import hashlib
import json
import math
import struct
from typing import Any, NamedTuple

MAX_HEADER = 2**22
MAX_AXES = 5

ITEM_SIZES = {"U8": 1, "I8": 1, "I32": 4}


class FileError(ValueError):
    """A file is not an integer network; the message says where, why, and what would be right."""


class Tensor(NamedTuple):
    """A tensor as it stands in the file.

    Attributes:
      dtype: safetensors' name of the type: 'U8', 'I8' or 'I32'.
      shape: length of each axis.
      data: its bytes, little-endian, row-major; a view of the file's.
    """

    dtype: str
    shape: tuple[int, ...]
    data: memoryview


class Container(NamedTuple):
    """What a file holds, before anything is understood of it.

    Attributes:
      manifest: the JSON text.
      sha256: the digest that the file claims.
      tensors: by name.
    """

    manifest: str
    sha256: str
    tensors: dict[str, Tensor]


def unpack(data: bytes) -> Container:
    """Takes a safetensors file apart.

    Args:
      data: all bytes of the file.

    Returns:
      Its manifest, its digest and its tensors. Whether the digest is right is left to `digest`.

    Raises:
      FileError: if the bytes are no such file.

    Example:
      >>> header = b'{"__metadata__": {"manifest": "{}", "sha256": ""}}'
      >>> unpack(len(header).to_bytes(8, "little") + header)
      Container(manifest='{}', sha256='', tensors={})
    """
    if len(data) < 8:
        raise FileError(f"the file has {len(data)} bytes: at least 8 give its header's length")
    (length,) = struct.unpack_from("<Q", data)
    if length > min(MAX_HEADER, len(data) - 8):
        raise FileError(
            f"the header's length is {length}, but {len(data) - 8} bytes follow and {MAX_HEADER} "
            "are allowed: the file is cut off, or not a little-endian safetensors file"
        )
    header = parse_json(data[8 : 8 + length], "the header")
    if not isinstance(header, dict) or not isinstance(header.get("__metadata__"), dict):
        raise FileError("the header has no __metadata__: an object with manifest and sha256")
    metadata = header.pop("__metadata__")
    if set(metadata) != {"manifest", "sha256"}:
        raise FileError(f"__metadata__ has the entries {_few(metadata)}: manifest and sha256 alone")
    if not all(isinstance(text, str) for text in metadata.values()):
        raise FileError("__metadata__: manifest and sha256 must be texts")
    tensors = _tensors(header, memoryview(data)[8 + length :])
    return Container(metadata["manifest"], metadata["sha256"], tensors)


def digest(container: Container) -> str:
    """The SHA-256 that a container must claim.

    Args:
      container: a manifest and tensors; what it claims does not matter.

    Returns:
      The digest in lower-case hexadecimal.

    Example:
      >>> digest(Container("{}", "", {}))[:16]
      '68e9e86b6926cc2b'
    """
    tensors = sorted((name.encode(), tensor) for name, tensor in container.tensors.items())
    sha = hashlib.sha256(container.manifest.encode() + b"\0")
    for name, tensor in tensors:
        shape = ",".join(map(str, tensor.shape))
        sha.update(b"\0".join([name, tensor.dtype.encode(), shape.encode(), b""]))
        sha.update(tensor.data)
    return sha.hexdigest()


def parse_json(text: str | bytes, place: str) -> Any:
    """A JSON text as Python's values; no key twice, no NaN, UTF-8, no half of a surrogate pair.

    Args:
      text: the JSON text.
      place: what it is, for the error.

    Raises:
      FileError: if it is no such text.

    Example:
      >>> parse_json(b'{"a": [1, 2]}', "the header")
      {'a': [1, 2]}
    """
    try:
        text = text.decode() if isinstance(text, bytes) else text
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
        _check_characters(value)
        return value
    except RecursionError:
        raise FileError(f"{place} is nested too deeply: a few levels are enough") from None
    except UnicodeEncodeError:
        raise FileError(f"half of a surrogate pair in {place}: texts have whole ones") from None
    except ValueError as error:  # those of JSON, UTF-8, of numbers too long, and our own
        raise FileError(f"{place} is not JSON: {error}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) != len(pairs):
        raise ValueError(f"a key stands twice among {_few([key for key, _ in pairs])}")
    return entries


def _check_characters(value: Any) -> None:
    """Raises ValueError if a text somewhere in a value is not made of whole characters."""
    rest = [value]
    while rest:
        value = rest.pop()
        if isinstance(value, str):
            value.encode()
        elif isinstance(value, dict):
            rest += [*value, *value.values()]
        elif isinstance(value, list):
            rest += value


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number of JSON")


def _tensors(header: dict[str, Any], data: memoryview) -> dict[str, Tensor]:
    """The tensors of a header, which together cover the data without gaps."""
    tensors, ranges = {}, []
    for name, entry in header.items():
        place = f"tensor {name[:80]!r}"
        if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
            raise FileError(f"{place} needs dtype, shape and data_offsets, and nothing else")
        dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
        if not isinstance(dtype, str) or dtype not in ITEM_SIZES:
            raise FileError(f"{place} has the type {dtype!r:.80}: U8, I8 and I32 are allowed")
        if not _counts(shape) or len(shape) > MAX_AXES:
            raise FileError(f"{place} has the shape {shape!r:.80}: at most {MAX_AXES} axes, >= 0")
        if not _counts(offsets) or len(offsets) != 2:
            raise FileError(f"{place}: data_offsets must be two numbers, not {offsets!r:.80}")
        begin, end = offsets
        size = math.prod(shape) * ITEM_SIZES[dtype]
        if end > len(data) or end - begin != size:
            raise FileError(
                f"{place} stands at {begin} to {end} of {len(data)} bytes, and {dtype} of shape "
                f"{shape} takes {size}: the file is cut off or its header is wrong"
            )
        ranges.append((begin, end))
        tensors[name] = Tensor(dtype, tuple(shape), data[begin:end])
    at = 0
    for begin, end in sorted(ranges):
        if begin != at:
            raise FileError(f"a tensor begins at byte {begin} of the data, not at {at}: no gaps")
        at = end
    if at != len(data):
        raise FileError(f"{len(data) - at} bytes follow the last tensor: none may")
    return tensors


def _counts(value: Any) -> bool:
    """Whether a value is a list of integers, none negative or absurdly large."""
    return isinstance(value, list) and all(type(n) is int and 0 <= n < 2**40 for n in value)


def _few(names: Any) -> str:
    return ", ".join(name[:40] for name in list(names)[:8])
