"""Digests of what every layer gives for images that are made from a seed. No JAX.

docs/integers.md says what the images are and what is digested. Whatever runs networks is given as a
function, which runs what `with_sums` makes of a network.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from flightnn_jax.integer.limits import IMAGE
from flightnn_jax.integer.network import Add, Convolution, Digests, IntegerNetwork, Layer

IMAGES = 64
_BATCH = 8
_SUMS = ".sums"  # behind a layer's name: no name of a layer has a point

Run = Callable[[np.ndarray], Mapping[str, Any]]  # from images to outputs by the layers' names


def image(golden: np.ndarray, seed: int, number: int) -> np.ndarray:
    """[*input_shape] uint8, an image that follows from golden ones, [n, *input_shape] uint8.

    Example:
      >>> image(np.zeros((1, 1, 1, 4), np.uint8), 0, 3)
      array([[[  0, 255, 173,   0]]], dtype=uint8)
    """
    like = golden[number // 4 % len(golden)]
    g = like.astype(np.int64) if like.ndim == 3 else like.astype(np.int64)[None, None]
    height, width, channels = g.shape
    blocks = range(-(-(8 + g.size) // 32))
    random = b"".join(hashlib.sha256(f"{seed}/{number}/{i}".encode()).digest() for i in blocks)
    h = random[:8]
    noise = np.frombuffer(random, np.uint8, g.size, offset=8).astype(np.int64).reshape(g.shape)
    y, z, c = np.ogrid[:height, :width, :channels]
    u = width - 1 - z if h[5] % 2 else z
    kind = number % 4
    if kind == 0:
        base = g[(y + h[0]) % height, (u + h[1]) % width, c]
    elif kind == 1:
        base = ((256 - h[2]) * g[y, u, c] + h[2] * noise) >> 8
    elif kind == 2:
        base = noise[y >> h[2] % 5, z >> h[2] % 5, c]
    else:
        ramp = h[2] * (256 * y // height) + h[3] * (256 * z // width)
        base = ((ramp >> 6) + h[4] * c) % 256
    contrasted = ((base - 128) * (16 + h[6]) >> 6) + 64 + (h[7] >> 1)
    return np.clip(contrasted, 0, 255).astype(np.uint8).reshape(like.shape)


def with_sums(network: IntegerNetwork) -> IntegerNetwork:
    """The network with one more layer for each activation of a convolution: its v, as sums."""
    layers: list[Layer] = []
    for layer in network.layers:
        if isinstance(layer, Convolution) and layer.shift is not None:
            layers.append(
                dataclasses.replace(layer, name=layer.name + _SUMS, shift=None, linear=False)
            )
        layers.append(layer)
    return dataclasses.replace(network, layers=tuple(layers))


def of(network: IntegerNetwork, run: Run, images: int = IMAGES, seed: int = 0) -> Digests:
    """The digests of a network.

    Args:
      network: with golden images.
      run: of `with_sums(network)`.
      images: how many images are digested.
      seed: of the images.
    """
    outputs = {layer.name: hashlib.sha256() for layer in network.layers}
    sums = {layer.name: hashlib.sha256() for layer in network.rounded}
    for batch in _batches(network, images, seed):
        values = {name: np.asarray(value) for name, value in run(batch).items()}
        values[IMAGE] = (batch ^ 128).view(np.int8)
        for name, digest in outputs.items():
            digest.update(_data(values[name]))
        for layer in network.rounded:
            sums[layer.name].update(_data(_sums(layer, values)))
    return Digests(
        images,
        seed,
        *({name: digest.hexdigest() for name, digest in each.items()} for each in (outputs, sums)),
    )


def _sums(layer: Convolution | Add, values: Mapping[str, np.ndarray]) -> np.ndarray:
    """The v of a layer, int32."""
    if isinstance(layer, Convolution):
        return values[layer.name + _SUMS]
    first, second = (
        values[name].astype(np.int32) << (0 if lift is None else lift.astype(np.int32))
        for name, lift in zip(layer.inputs, layer.lift, strict=True)
    )
    return first + second


def _batches(network: IntegerNetwork, images: int, seed: int) -> Iterator[np.ndarray]:
    assert network.golden is not None, "digests are of images that are made from golden ones"
    for start in range(0, images, _BATCH):
        numbers = range(start, min(start + _BATCH, images))
        yield np.stack([image(network.golden.images, seed, j) for j in numbers])


def _data(values: np.ndarray) -> bytes:
    return values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
