"""Sums of products of activations and weights, exact where matrix units compute them.

Matrix units multiply narrow floats, and sum in float32. Their products are exact where the
operands are: bfloat16 has 8 significant bits, and so has an activation of 8 bits and a weight that
is a sum of two powers of two from a window of 8. A sum is exact as long as it is below 2**24 of
its units, whatever the order; beyond that it is rounded as sums in float32 are.

Gradients have no such operands. They are computed in float32 wherever the step runs: "highest" is
XLA's word for it, without which matrix units round their operands.
"""

import functools
from typing import Literal, NamedTuple

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


class Windows(NamedTuple):
    """Where a convolution reads: its stride, zeros on each side of the image, and groups."""

    stride: int
    around: int
    groups: int


def convolve(
    x: jax.Array,
    kernel: jax.Array,
    stride: int,
    products: Products,
    around: int | None = None,
    groups: int = 1,
) -> jax.Array:
    """A convolution with zeros around the image.

    Args:
      x: [batch, height, width, inputs] float32.
      kernel: [size, size, inputs / groups, filters] float32.
      stride: of both axes.
      products: see `Products`; "bfloat16" rounds operands that bfloat16 does not hold.
      around: zeros on each side; by default size // 2, with which stride 1 keeps the size.
      groups: of channels and filters.

    Returns:
      [batch, height, width, filters] float32.
    """
    windows = Windows(stride, kernel.shape[0] // 2 if around is None else around, groups)
    if products == "plain" and kernel.shape[2:] == (1, groups) and groups > 1:
        return _depthwise(windows, x, kernel)
    if products == "bfloat16":
        return _narrow(windows, x, kernel)
    return _convolve(windows, x, kernel, "highest" if products == "float32" else None)


def dot(x: jax.Array, kernel: jax.Array, products: Products) -> jax.Array:
    """[batch, inputs] x [inputs, units]; a dense layer is too small to be worth narrow operands."""
    return jnp.matmul(x, kernel, precision=None if products == "plain" else "highest")


def _depthwise(windows: Windows, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """One filter a channel, place by place of the window: XLA's way on a CPU is a slow loop."""
    size, (stride, around, _) = kernel.shape[0], windows
    height, width = ((n + 2 * around - size) // stride + 1 for n in x.shape[1:3])
    padded = jnp.pad(x, ((0, 0), (around, around), (around, around), (0, 0)))
    total = jnp.zeros((x.shape[0], height, width, x.shape[3]), x.dtype)
    for dy in range(size):
        for dx in range(size):
            rows = padded[:, dy : dy + (height - 1) * stride + 1 : stride]
            seen = rows[:, :, dx : dx + (width - 1) * stride + 1 : stride]
            total = total + seen * kernel[dy, dx][None, None]
    return total


def _convolve(
    windows: Windows, x: jax.Array, kernel: jax.Array, precision: Literal["highest"] | None
) -> jax.Array:
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (windows.stride, windows.stride),
        ((windows.around, windows.around),) * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=windows.groups,
        precision=precision,
        preferred_element_type=jnp.float32,
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _narrow(windows: Windows, x: jax.Array, kernel: jax.Array) -> jax.Array:
    return _narrow_forward(windows, x, kernel)[0]


def _narrow_forward(
    windows: Windows, x: jax.Array, kernel: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    """What is kept is exact, too, and takes half of the memory."""
    kept = x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16)
    return _convolve(windows, *kept, None), kept


def _narrow_backward(
    windows: Windows, kept: tuple[jax.Array, jax.Array], cotangent: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, kernel = (each.astype(jnp.float32) for each in kept)
    linear = functools.partial(_convolve, windows, precision="highest")
    return jax.vjp(linear, x, kernel)[1](cotangent)


_narrow.defvjp(_narrow_forward, _narrow_backward)
