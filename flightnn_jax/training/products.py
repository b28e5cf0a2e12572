"""Sums of products of activations and weights, exact where matrix units compute them.

Matrix units multiply narrow floats, and sum in float32. Their products are exact where the
operands are: bfloat16 has 8 significant bits, and so has an activation of 8 bits and a weight that
is a sum of two powers of two from a window of 8. A sum is exact as long as it is below 2**24 of
its units, whatever the order; beyond that it is rounded as sums in float32 are.

Gradients have no such operands. They are computed in float32 wherever the step runs: "highest" is
XLA's word for it, without which matrix units round their operands.
"""

import functools
from typing import Literal

import jax
import jax.numpy as jnp

from flightnn_jax import platforms

# plain: as XLA computes float32 by default, which a CPU does in float32
# float32: in float32 on matrix units, too, in several passes
# bfloat16: forward in one pass, from operands that bfloat16 holds; backward as float32
Products = Literal["plain", "float32", "bfloat16"]

SIGNIFICANT_BITS = 8  # of bfloat16


def products_for(
    platform: platforms.Platform, activation_bits: int | None, weight_bits: int | None
) -> Products:
    """How a layer's sums are computed.

    Args:
      platform: where.
      activation_bits: of the activations, as signed integers times a power of two; None for any.
      weight_bits: the most significant bits of a weight; None if that is not known.

    Example:
      >>> products_for("cpu", 8, 8), products_for("tpu", 8, 8), products_for("tpu", 8, 9)
      ('plain', 'bfloat16', 'float32')
    """
    if not platforms.has_matrix_units(platform):
        return "plain"
    if activation_bits is None or weight_bits is None:
        return "float32"
    return "bfloat16" if max(activation_bits, weight_bits) <= SIGNIFICANT_BITS else "float32"


def convolve(x: jax.Array, kernel: jax.Array, stride: int, products: Products) -> jax.Array:
    """A convolution with zeros around the image, so that stride 1 keeps its size.

    Args:
      x: [batch, height, width, inputs] float32.
      kernel: [size, size, inputs, filters] float32.
      stride: of both axes.
      products: see `Products`; "bfloat16" rounds operands that bfloat16 does not hold.

    Returns:
      [batch, height, width, filters] float32.
    """
    if products == "bfloat16":
        return _narrow(stride, x, kernel)
    return _convolve(stride, x, kernel, "highest" if products == "float32" else None)


def dot(x: jax.Array, kernel: jax.Array, products: Products) -> jax.Array:
    """[batch, inputs] x [inputs, units]; a dense layer is too small to be worth narrow operands."""
    return jnp.matmul(x, kernel, precision=None if products == "plain" else "highest")


def _convolve(
    stride: int, x: jax.Array, kernel: jax.Array, precision: Literal["highest"] | None
) -> jax.Array:
    padding = kernel.shape[0] // 2
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        ((padding, padding), (padding, padding)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=precision,
        preferred_element_type=jnp.float32,
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _narrow(stride: int, x: jax.Array, kernel: jax.Array) -> jax.Array:
    return _narrow_forward(stride, x, kernel)[0]


def _narrow_forward(
    stride: int, x: jax.Array, kernel: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    """What is kept is exact, too, and takes half of the memory."""
    kept = x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16)
    return _convolve(stride, *kept, None), kept


def _narrow_backward(
    stride: int, kept: tuple[jax.Array, jax.Array], cotangent: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, kernel = (each.astype(jnp.float32) for each in kept)
    linear = functools.partial(_convolve, stride, precision="highest")
    return jax.vjp(linear, x, kernel)[1](cotangent)


_narrow.defvjp(_narrow_forward, _narrow_backward)
