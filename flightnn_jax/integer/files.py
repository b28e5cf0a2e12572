"""Integer networks as safetensors files, by docs/integers.md: written atomically, read with care.

NumPy alone is needed. Whatever a file holds, reading it gives a network that `check` accepts or
an IntegerNetworkError, and takes memory in proportion to the file.
"""

import hashlib
import io
import json
import math
import os
import re
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from flightnn_jax import atomic
from flightnn_jax.integer import invariants, limits, manifest
from flightnn_jax.integer.limits import MAX_FILE, MAX_HEADER, IntegerNetworkError
from flightnn_jax.integer.network import IntegerNetwork

_LENGTH = 8  # bytes of the header's length
_TYPES: dict[str, np.dtype[Any]] = {
    "U8": np.dtype(np.uint8),
    "I8": np.dtype(np.int8),
    "I32": np.dtype("<i4"),
}
_TENSOR = re.compile(r"[A-Za-z][A-Za-z0-9_]*\.[A-Za-z0-9_]+", re.ASCII)
_NAMES = {dtype.newbyteorder("="): name for name, dtype in _TYPES.items()}


def save(network: IntegerNetwork, path: str | Path) -> None:
    """Writes a network; the file is there whole or not at all, whenever the machine stops.

    Args:
      network: what `check` accepts.
      path: of the file; one that is there is replaced.

    Raises:
      IntegerNetworkError: if the network breaks an invariant.
      OSError: if the file cannot be written.

    Example:
      >>> import tempfile
      >>> from flightnn_jax.integer import Average
      >>> layers = (Average("average", "image", None, -11),)
      >>> network = IntegerNetwork(
      ...     "brightness", (4, 4, 1), layers, 3, None, -11, ("bright",), {}, None
      ... )
      >>> with tempfile.TemporaryDirectory() as directory:
      ...     save(network, f"{directory}/brightness.safetensors")
      ...     load(f"{directory}/brightness.safetensors").labels
      ('bright',)
    """
    atomic.write(path, to_bytes(network))


def load(path: str | Path) -> IntegerNetwork:
    """Reads a network and checks it: digest, every rule and limit, certificates.

    It runs no image, so that NumPy is enough: whether golden outputs and digests are what the
    network gives is not checked here. `proof.differences` does that, and `launch.verify` and
    `launch.check`. A file of version 1 gives a network with certificates of version 2.

    Args:
      path: of the file.

    Raises:
      IntegerNetworkError: if the file is damaged, of a newer version, or breaks a rule.
      OSError: if it cannot be opened or read.

    Example:
      >>> load("no_such_file.safetensors")
      Traceback (most recent call last):
      FileNotFoundError: [Errno 2] No such file or directory: 'no_such_file.safetensors'
    """
    if Path(path).exists() and not Path(path).is_file() and not Path(path).is_dir():
        raise IntegerNetworkError(f"{path} is no regular file: give one that launch.lower wrote")
    with Path(path).open("rb") as file:
        try:
            return _read(file, os.fstat(file.fileno()).st_size)
        except IntegerNetworkError as error:
            raise IntegerNetworkError(f"{path}: {error}") from error


def from_bytes(data: bytes) -> IntegerNetwork:
    """What `load` does, from the bytes of a file."""
    return _read(io.BytesIO(data), len(data))


def to_bytes(network: IntegerNetwork) -> bytes:
    """The bytes of the file; the same for the same network.

    Raises:
      IntegerNetworkError: if the network breaks an invariant.
    """
    invariants.check(network)
    fields, tensors = manifest.describe(network)
    text = json.dumps(fields, separators=(",", ":"), allow_nan=False)
    header: dict[str, Any] = {"__metadata__": {"manifest": text, "sha256": digest(text, tensors)}}
    # In the safetensors library's own order, in which all int32 are aligned.
    order = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))
    end = 0
    for name in order:
        start, end = end, end + tensors[name].nbytes
        kind, shape = _NAMES[tensors[name].dtype], list(tensors[name].shape)
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [start, end]}
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    if len(head) > MAX_HEADER or len(head) + end + _LENGTH > MAX_FILE:
        raise IntegerNetworkError(
            f"network: a header of {len(head)} and tensors of {end} bytes: a file holds "
            f"{MAX_HEADER} and {MAX_FILE}: shorten provenance and labels, or keep fewer "
            "golden images"
        )
    return b"".join(
        [len(head).to_bytes(_LENGTH, "little"), head, *(_data(tensors[n]) for n in order)]
    )


def digest(text: str, tensors: manifest.Tensors) -> str:
    """SHA-256 of a manifest and its tensors, in hexadecimal.

    Example:
      >>> digest("{}", {})[:16] == hashlib.sha256(b"{}" + bytes(1)).hexdigest()[:16]
      True
    """
    sha = hashlib.sha256(text.encode() + b"\0")
    for name in sorted(tensors, key=str.encode):
        array = tensors[name]
        shape = ",".join(map(str, array.shape))
        sha.update(b"\0".join(part.encode() for part in (name, _NAMES[array.dtype], shape, "")))
        sha.update(_data(array))
    return sha.hexdigest()


def _data(array: np.ndarray) -> bytes:
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def _read(file: BinaryIO, size: int) -> IntegerNetwork:
    length = int.from_bytes(file.read(_LENGTH), "little")
    if not _LENGTH <= size <= MAX_FILE or length > min(MAX_HEADER, size - _LENGTH):
        raise IntegerNetworkError(
            f"a file of {size} bytes whose header would have {length}: it is truncated, no "
            "safetensors file, or of the wrong byte order"
        )
    header = _json("header", file.read(length))
    if not isinstance(header, dict):
        raise IntegerNetworkError("header: it is no JSON object")
    text, expected = _metadata(header.pop("__metadata__", None))
    fields = _json("manifest", text.encode())
    manifest.check_version(fields)  # before the digest, which a newer version may take otherwise
    places = _places(header, size - _LENGTH - length)
    data = file.read()
    if len(data) != size - _LENGTH - length:
        raise IntegerNetworkError("the file changed its size while it was read: load it again")
    tensors = {name: place.read(data) for name, place in places.items()}
    if digest(text, tensors) != expected:
        raise IntegerNetworkError(
            "sha256: the file's digest is not that of what it holds: it is damaged"
        )
    return manifest.build(fields, tensors, size)


def _metadata(entries: Any) -> tuple[str, str]:
    names = ("manifest", "sha256")
    if not isinstance(entries, dict) or set(entries) != set(names):
        raise IntegerNetworkError(
            f"header: __metadata__ must hold {' and '.join(names)}, and no more"
        )
    text, sha256 = (entries[name] for name in names)
    if type(text) is not str or type(sha256) is not str:
        raise IntegerNetworkError("header: manifest and sha256 must be texts")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise IntegerNetworkError("header: the manifest is no text of Unicode characters") from None
    return text, sha256


def _json(where: str, data: bytes) -> Any:
    """What a JSON text holds; no name twice, no NaN, no depth that Python cannot follow."""
    try:
        return json.loads(
            data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant
        )
    except (ValueError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise IntegerNetworkError(f"{where}: {why:.200}: it is no JSON that can be read") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) != len(pairs):
        raise ValueError("an object names a key twice")
    return entries


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


class _Place(NamedTuple):
    """Where a tensor stands in the data."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    start: int
    end: int

    def read(self, data: bytes) -> np.ndarray:
        array = np.frombuffer(data[self.start : self.end], self.dtype).reshape(self.shape)
        return array.astype(self.dtype.newbyteorder("="))


def _places(header: dict[str, Any], size: int) -> dict[str, _Place]:
    """Where the tensors are; together they are all of the data."""
    places: dict[str, _Place] = {}
    for name, entry in header.items():
        if not _TENSOR.fullmatch(name):
            raise IntegerNetworkError(f"{name!r:.80}: no name of a tensor, which is LAYER.PART")
        if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
            raise IntegerNetworkError(
                f"{name!r:.80}: dtype, shape and data_offsets, no more and no less"
            )
        kind, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
        if not isinstance(kind, str) or kind not in _TYPES:
            raise IntegerNetworkError(
                f"{name!r:.80}: type {kind!r:.50}: choose of {', '.join(_TYPES)}"
            )
        for values, most in ((shape, 5), (offsets, 2)):
            good = isinstance(values, list) and len(values) <= most
            if not good or not all(limits.whole(value, 0, MAX_FILE) for value in values):
                raise IntegerNetworkError(
                    f"{name!r:.80}: {values!r:.80} is no shape, or are no offsets"
                )
        if len(offsets) != 2 or math.prod(shape) * _TYPES[kind].itemsize != offsets[1] - offsets[0]:
            raise IntegerNetworkError(
                f"{name!r:.80}: shape {shape} and offsets {offsets} do not fit: as many bytes as "
                "the shape asks for"
            )
        places[name] = _Place(_TYPES[kind], tuple(shape), *offsets)
    ends = sorted((place.start, place.end) for place in places.values())
    starts = [start for start, _ in ends] + [size]
    if starts != [0, *(end for _, end in ends)]:
        raise IntegerNetworkError(
            f"tensors: they do not fill the {size} bytes of data, without gaps and overlaps, from "
            "the first byte to the last: the file may be truncated"
        )
    return places
