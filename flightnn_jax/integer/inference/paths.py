"""Running an integer network: the two functions that users call, and the paths to choose from."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from flightnn_jax.integer.inference import int8, native, popcount, shifts, tables
from flightnn_jax.integer.network import IntegerNetwork
from flightnn_jax.platforms import Platform, resolved

Function = Callable[[jax.Array], dict[str, jax.Array]]

# A path takes a network and a platform, and gives the function from images to every layer's output.
PATHS: Mapping[str, Callable[[IntegerNetwork, Platform], Function]] = {
    "fast": int8.build,
    "native": native.build,
    "shifts": lambda network, _: lambda images: shifts.layer_outputs(network, images),
    "tables": lambda network, _: tables.build(network),
    "popcount": lambda network, _: popcount.build(network),
}


def make_inference(
    network: IntegerNetwork, path: str = "fast", platform: str | None = None
) -> Callable[[Any], jax.Array]:
    """The network as one compiled function; it compiles once for each size of batch.

    Args:
      network: what to compute, valid in the sense of `invariants.check`.
      path: "fast"; "native", a kernel in C++ that is faster still, for CPUs: the first use
        compiles it, which takes seconds and a C++ compiler; "shifts", the reference with shifts
        and additions; "tables", which looks products up; or "popcount", which counts bits where
        weights and activations are signs. The integers are equal.
      platform: "cpu", "cuda", "rocm" or "tpu", for which the program is made, as paths differ; by
        default where JAX runs. Name it to compile or to export for another one.

    Returns:
      From images, [batch, height, width, channels] uint8, to logits, [batch, classes] int32.

    Raises:
      ValueError: if there is no such path or platform; the function, if images are not what the
        network takes.
      native_build.NativeError: if the native path cannot run on this machine; it says why.

    Example:
      >>> from flightnn_jax.integer import Average
      >>> sums = (Average("average", "image", None, -7),)
      >>> network = IntegerNetwork("mean", (2, 2, 3), sums, 3, None, -7, ("r", "g", "b"), {}, None)
      >>> infer = make_inference(network)
      >>> infer(jnp.full((1, 2, 2, 3), 130, jnp.uint8)).tolist()  # 4 (130 - 128)
      [[8, 8, 8]]
    """
    outputs = _checked(network, path, platform)
    last = network.layers[-1].name
    return jax.jit(lambda images: outputs(images)[last])


def make_layer_outputs(
    network: IntegerNetwork, path: str = "fast", platform: str | None = None
) -> Callable[[Any], dict[str, jax.Array]]:
    """As `make_inference`, but the function returns every layer's output by the layer's name.

    Example:
      >>> from flightnn_jax.integer import Average, MaxPool
      >>> layers = (MaxPool("pool1", "image"), Average("average", "pool1", None, -7))
      >>> network = IntegerNetwork("mean", (2, 2, 1), layers, 3, None, -7, ("grey",), {}, None)
      >>> outputs = make_layer_outputs(network, "shifts")(jnp.zeros((1, 2, 2, 1), jnp.uint8))
      >>> {name: output.tolist() for name, output in outputs.items()}
      {'average': [[-128]], 'pool1': [[[[-128]]]]}
    """
    return jax.jit(_checked(network, path, platform))


def _checked(network: IntegerNetwork, path: str, platform: str | None) -> Function:
    if path not in PATHS:
        raise ValueError(f"path={path!r} is unknown: choose of {', '.join(PATHS)}")
    outputs = PATHS[path](network, resolved(platform))

    def checked(images: jax.Array) -> dict[str, jax.Array]:
        if images.dtype != jnp.uint8 or images.shape[1:] != tuple(network.input_shape):
            raise ValueError(
                f"images of {images.dtype} and shape {images.shape}: {network.name} takes uint8 of "
                f"shape (batch, {', '.join(map(str, network.input_shape))})"
            )
        return outputs(images)

    return checked
