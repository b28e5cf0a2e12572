"""The integer network as StableHLO: bytes that JAX, IREE or another compiler runs again."""

from collections.abc import Callable
from typing import Any

import jax
from jax import export

from flightnn_jax.integer import inference
from flightnn_jax.integer.network import IntegerNetwork


def to_stablehlo(
    network: IntegerNetwork, *, path: str = "shifts", platforms: tuple[str, ...] = ("cpu",)
) -> bytes:
    """A network with everything in it, for any size of batch.

    Args:
      network: a valid one.
      path: as in `make_inference`. The fast path is made for the backend that exports it.
      platforms: where the bytes are to run, such as ("cpu", "cuda", "tpu").

    Example:
      >>> import jax.numpy as jnp
      >>> from flightnn_jax.integer import Average
      >>> sums = (Average("average", "image", None, -7),)
      >>> network = IntegerNetwork("mean", (2, 2, 3), sums, 3, None, -7, ("r", "g", "b"), {}, None)
      >>> infer = from_stablehlo(to_stablehlo(network))
      >>> infer(jnp.full((1, 2, 2, 3), 130, jnp.uint8)).tolist()  # 4 (130 - 128)
      [[8, 8, 8]]
    """
    (batch,) = export.symbolic_shape("batch")
    images = jax.ShapeDtypeStruct((batch, *network.input_shape), jax.numpy.uint8)
    infer = jax.jit(inference.make_inference(network, path))
    return bytes(export.export(infer, platforms=platforms)(images).serialize())


def from_stablehlo(data: bytes) -> Callable[[Any], jax.Array]:
    """The function from images to logits that `to_stablehlo` wrote."""
    return jax.jit(export.deserialize(bytearray(data)).call)
