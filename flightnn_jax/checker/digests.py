"""Images that follow from a seed and golden images, and digests of what layers give for them."""

import hashlib
import itertools
import math
from collections.abc import Iterator

import numpy as np

from flightnn_jax.checker.interpreter import trace
from flightnn_jax.checker.manifest import Digests
from flightnn_jax.checker.reader import Network

_AT_ONCE = 2**20  # values of all layers, about


def wrong(network: Network, digests: Digests) -> Iterator[str]:
    """Runs the images, and says which digests are not those of what the layers give.

    Args:
      network: one of which all else is right.
      digests: what it claims.

    Yields:
      A reason for each wrong digest, layer by layer.
    """
    claimed = {"sums": digests.sums, "outputs": digests.outputs}
    hashes = {(kind, name): hashlib.sha256() for kind, names in claimed.items() for name in names}
    golden = network.tensors["golden.image"]
    values = sum(math.prod(value.shape) for value in network.values.values())
    numbers = iter(range(digests.images))
    while batch := list(itertools.islice(numbers, max(1, _AT_ONCE // values))):
        images = np.stack([image(golden, digests.seed, j) for j in batch])
        for name, v, output in trace(network, images):
            is_sums = network.values[name].sums
            hashes["outputs", name].update(output.astype("<i4" if is_sums else "i1").tobytes())
            if v is not None:
                hashes["sums", name].update(v.astype("<i4").tobytes())
    for layer in network.manifest.layers:
        for kind, names in claimed.items():
            true = hashes[kind, layer.name].hexdigest() if layer.name in names else None
            if true is not None and names[layer.name] != true:
                yield (
                    f"digests.{kind}.{layer.name} is {names[layer.name]}, and the interpreter's "
                    f"over {digests.images} images is {true}"
                )


def image(golden: np.ndarray, seed: int, j: int) -> np.ndarray:
    """Image j of a seed.

    Args:
      golden: uint8 [count, *input_shape].
      seed: 0 to 2^32 - 1.
      j: 0 or more.

    Returns:
      uint8 [*input_shape].

    Example:
      >>> image(np.full((1, 2, 2, 1), 128, np.uint8), 7, 0).tolist()
      [[[72], [72]], [[72], [72]]]
    """
    source = golden[j // 4 % len(golden)]
    shape = source.shape if source.ndim == 3 else (1, 1, len(source))
    height, width, _ = shape
    random = _random_bytes(f"{seed}/{j}/", 8 + source.size)
    h0, h1, h2, h3, h4, h5, h6, h7 = random[:8]
    g = source.reshape(shape).astype(np.int64)
    if h5 % 2:
        g = g[:, ::-1]
    n = np.frombuffer(random[8:], np.uint8).astype(np.int64).reshape(shape)
    y, z, c = np.indices(shape)
    base = (
        lambda: np.roll(g, (-h0, h1 if h5 % 2 else -h1), (0, 1)),
        lambda: ((256 - h2) * g + h2 * n) // 256,
        lambda: n[y // 2 ** (h2 % 5), z // 2 ** (h2 % 5), c],
        lambda: ((h2 * (256 * y // height) + h3 * (256 * z // width)) // 64 + h4 * c) % 256,
    )[j % 4]()
    pixels = (base - 128) * (16 + h6) // 64 + 64 + h7 // 2
    return pixels.clip(0, 255).astype(np.uint8).reshape(source.shape)


def _random_bytes(prefix: str, count: int) -> bytes:
    blocks = (hashlib.sha256(f"{prefix}{i}".encode("ascii")).digest() for i in itertools.count())
    return b"".join(itertools.islice(blocks, -(-count // 32)))[:count]
