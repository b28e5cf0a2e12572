"""From bytes to a network whose form is right: every tensor there, of its type and shape.

Memory stays within a small multiple of the file, whatever the file claims: tensors are views of
its bytes, and weights are unpacked one layer at a time, when they are asked for.
"""

import dataclasses
import math
from pathlib import Path

import numpy as np

from flightnn_jax.checker import container, manifest, wiring
from flightnn_jax.checker.container import FileError, Tensor
from flightnn_jax.checker.kinds import KINDS, index_bits, unpack_codes
from flightnn_jax.checker.manifest import Add, Conv, Dense, Layer, Manifest
from flightnn_jax.checker.wiring import Value

MAX_FILE = 2**30
MAX_WEIGHTS_PER_BYTE = 64
MAX_K = 3
MAX_LEVELS = 256

_TYPES: dict[str, np.dtype] = {"U8": np.dtype("u1"), "I8": np.dtype("i1"), "I32": np.dtype("<i4")}

Expected = tuple[str, tuple[int, ...]]


@dataclasses.dataclass(frozen=True)
class Network:
    """An integer network as read.

    Invariants: the digest is right; all names, types and shapes are those of the document, and
    each k is at most 3. What the numbers say is left to the checker.

    Attributes:
      manifest: the layers.
      values: shape and kind of what `image` and each layer hand on, by name.
      tensors: by name, as arrays that cannot be written to.
    """

    manifest: Manifest
    values: dict[str, Value]
    tensors: dict[str, np.ndarray]

    def layer(self, name: str) -> Layer:
        """The layer of a name."""
        return next(layer for layer in self.manifest.layers if layer.name == name)


def load(path: str | Path) -> Network:
    """Reads a file.

    Args:
      path: where it is.

    Returns:
      The network in it.

    Raises:
      FileError: if it cannot be read, or is not an integer network.

    Example:
      >>> load("/no/such/file")  # doctest: +ELLIPSIS
      Traceback (most recent call last):
        ...
      flightnn_jax.checker.container.FileError: cannot read /no/such/file: No such ...
    """
    try:
        size = Path(path).stat().st_size
        if size > MAX_FILE:
            raise FileError(f"{path} has {size} bytes: an integer network has {MAX_FILE} at most")
        if Path(path).exists() and not Path(path).is_file() and not Path(path).is_dir():
            raise FileError(f"cannot read {path}: it is no regular file")
        data = Path(path).read_bytes()
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}") from None
    return read(data)


def read(data: bytes) -> Network:
    """Reads the bytes of a file.

    Args:
      data: all of them.

    Returns:
      The network in them.

    Raises:
      FileError: if they are not an integer network, or not the one that its digest names.

    Example:
      >>> read(b"PK and so on")  # doctest: +ELLIPSIS
      Traceback (most recent call last):
        ...
      flightnn_jax.checker.container.FileError: the header's length is ...
    """
    box = container.unpack(data)
    value = manifest.check_version(box.manifest)
    true = container.digest(box)
    if box.sha256 != true:
        raise FileError(
            f"the file claims the digest {box.sha256[:64]!r}, and its contents have {true}: it "
            "was changed or damaged, so take a good copy"
        )
    parsed = manifest.parse(value)
    values = wiring.connect(parsed)
    weights = wiring.count_weights(parsed)
    if weights > MAX_WEIGHTS_PER_BYTE * len(data):
        raise FileError(
            f"{weights} weights in a file of {len(data)} bytes: {MAX_WEIGHTS_PER_BYTE} a byte"
            " are the most"
        )
    return Network(parsed, values, _arrays(parsed, values, box.tensors))


def _arrays(
    parsed: Manifest, values: dict[str, Value], tensors: dict[str, Tensor]
) -> dict[str, np.ndarray]:
    """All tensors that there must be, as arrays."""
    arrays: dict[str, np.ndarray] = {}

    def take(name: str, expected: Expected) -> None:
        if name.startswith("golden.") and not parsed.golden and name not in tensors:
            arrays[name] = np.zeros(expected[1], _TYPES[expected[0]])
            return
        if name not in tensors:
            raise FileError(f"the tensor {name} is missing: {expected} is needed")
        dtype, shape, data = tensors[name]
        if (dtype, shape) != expected:
            raise FileError(f"the tensor {name} is {(dtype, shape)}, and must be {expected}")
        arrays[name] = np.frombuffer(data, _TYPES[dtype]).reshape(shape)

    take("golden.image", ("U8", (parsed.golden, *parsed.input_shape)))
    for layer in parsed.layers:
        value = values[layer.name]
        for suffix, expected in _plain_tensors(layer, value, values).items():
            take(f"{layer.name}.{suffix}", expected)
        if isinstance(layer, Conv | Dense):
            if KINDS[layer.weights].has_levels:
                name = f"{layer.name}.levels"
                take(name, ("I8", _levels_shape(name, tensors)))
            take(f"{layer.name}.codes", ("U8", (_code_bytes(layer, arrays),)))
            if KINDS[layer.weights].has_levels:
                _check_levels(layer, arrays[name], arrays[f"{layer.name}.codes"])
        dtype = "I32" if value.sums else "I8"
        take(f"golden.{layer.name}", (dtype, (parsed.golden, *value.shape)))
    extra = sorted(set(tensors) - set(arrays))
    if extra:
        raise FileError(f"the tensor {extra[0][:80]!r} belongs to no layer: none may be too many")
    return arrays


def _plain_tensors(layer: Layer, value: Value, values: dict[str, Value]) -> dict[str, Expected]:
    """Types and shapes of a layer's tensors, but for the codes, whose length is k's to say."""
    channels = value.shape[-1:]
    expected: dict[str, Expected] = {}
    if isinstance(layer, Conv | Dense):
        expected["bias"] = ("I32", channels)
        expected["certificate"] = ("I32", (*channels, 10))
        if KINDS[layer.weights].has_terms:
            expected["k"] = ("U8", channels)
    if isinstance(layer, Conv):
        expected |= dict.fromkeys(("multiplier", "low", "high"), ("I32", channels))
        if layer.output != "sum":
            expected["shift"] = ("U8", channels)
    if isinstance(layer, Add):
        expected |= {"shift": ("U8", channels), "certificate": ("I32", (*channels, 3))}
        for i, name in enumerate(layer.inputs):
            if not values[name].sums:
                expected[f"lift{i}"] = ("U8", channels)
    return expected


def _code_bytes(layer: Conv | Dense, arrays: dict[str, np.ndarray]) -> int:
    """Length of a layer's codes."""
    kind, filters = KINDS[layer.weights], layer.shape[-1]
    if kind.has_terms:
        k = arrays[f"{layer.name}.k"]
        if k.max() > MAX_K:
            raise FileError(f"{layer.name}.k has a {k.max()}: a filter has {MAX_K} terms at most")
        filters = int(k.sum())
    bits = kind.bits or index_bits(arrays[f"{layer.name}.levels"].size)
    return -(-math.prod(layer.shape[:-1]) * filters * bits // 8)


def _levels_shape(name: str, tensors: dict[str, Tensor]) -> tuple[int, ...]:
    """The shape of a table of levels, whose length the file chooses."""
    if name not in tensors:
        return (1,)
    _, shape, _ = tensors[name]
    if len(shape) != 1 or not 1 <= shape[0] <= MAX_LEVELS:
        raise FileError(f"{name} has the shape {shape}: a layer has 1 to {MAX_LEVELS} levels")
    return shape


def _check_levels(layer: Conv | Dense, levels: np.ndarray, codes: np.ndarray) -> None:
    """That levels rise, and that each index has one."""
    if np.any(levels[1:] <= levels[:-1]):
        raise FileError(f"{layer.name}.levels do not rise: each is larger than the one before")
    used = unpack_codes(codes, index_bits(levels.size))[: math.prod(layer.shape)]
    if used.max() >= levels.size:
        raise FileError(
            f"{layer.name}.codes has the index {used.max()}: there are {levels.size} levels"
        )
