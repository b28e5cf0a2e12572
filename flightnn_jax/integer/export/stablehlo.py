"""The integer network as StableHLO: bytes that JAX, IREE or another compiler runs again."""

import functools
from collections.abc import Callable
from typing import Any

import jax
from jax import export

from flightnn_jax import platforms as known
from flightnn_jax.integer import inference
from flightnn_jax.integer.network import IntegerNetwork


def to_stablehlo(
    network: IntegerNetwork, *, path: str = "shifts", platforms: tuple[str, ...] = ("cpu",)
) -> bytes:
    """A network with everything in it, for any size of batch.

    Args:
      network: a valid one.
      path: as in `make_inference`. The bytes hold what it is on each of the platforms.
      platforms: where the bytes are to run, such as ("cpu", "cuda", "tpu"). None of them has to
        be there.

    Raises:
      ValueError: if there is no such path or platform, or no platform at all.

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
    names = [known.resolved(name) for name in platforms]
    if not names:
        raise ValueError("platforms=(): name one at least, such as ('cpu', 'cuda', 'tpu')")
    forms = {name: inference.make_inference(network, path, name) for name in names}
    whole = path != "fast" or len(forms) == 1  # all other paths are the same everywhere
    infer = forms[names[0]] if whole else functools.partial(jax.lax.platform_dependent, **forms)
    return bytes(export.export(jax.jit(infer), platforms=names)(images).serialize())


def from_stablehlo(data: bytes) -> Callable[[Any], jax.Array]:
    """The function from images to logits that `to_stablehlo` wrote."""
    return jax.jit(export.deserialize(bytearray(data)).call)
