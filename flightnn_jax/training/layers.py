r"""What a network does between its convolutions, on arrays, with backward passes that are cheap.

    convolution -> batch norm -> leaky ReLU -> (2x2 max-pool) -> quantizer

A ReLU or ReLU6 may stand in place of the leaky one. Batch norm, leaky ReLU and quantizer of one
layer are one operation here. Its backward pass keeps the convolution's output and a few numbers a
channel, and computes the rest again: on a CPU a pass over memory costs more than the arithmetic.
Running statistics are returned, not stored.

In integers the same chain is a per-channel affine map, a shift for negative values, one rounding
and one saturation.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from flightnn_jax import activations, filters, networks, numerics


class Activation(NamedTuple):
    """What follows batch norm, fixed while it is trained.

    Attributes:
      slope_exponent: a leaky ReLU with 2**slope_exponent for negative values; None for none.
      ceiling: a ReLU that ends there in place of a leaky one: `inf` for one without end, 6 for
        ReLU6; None for none.
      bits: of the quantizer behind it; None for none.
      track: whether the largest magnitude behind the leaky ReLU is measured on this batch and
        moves the running one, from which the quantizer's step follows.
      momentum: of the running range: new = momentum * old + (1 - momentum) * measured. The first
        measurement is taken as it is.
      epsilon: what batch norm adds to the variance.
      devices: over which the batch is spread. Sums are then taken on each device first, and those
        of a channel travel together. It changes their order, and nothing else.
      sign: whether the output is -1 or, from 0 on, 1, in place of leaky ReLU and quantizer. The
        gradient passes where batch norm's output is within [-1, 1].
      levels: a ReLU whose output is the nearest of so many levels, `activations.level_exponent`
        apart, in place of leaky ReLU and quantizer; None for none. The gradient passes from 0 up
        to half a step beyond the last level.
    """

    slope_exponent: int | None = None
    bits: int | None = None
    track: bool = False
    momentum: float = 0.9
    epsilon: float = 1e-5
    devices: int = 1
    sign: bool = False
    ceiling: float | None = None
    levels: int | None = None


class Normalized(NamedTuple):
    """A layer's output and what was measured on the batch. Only `output` is differentiable.

    Attributes:
      output: like the input.
      mean: [channels] of the input over the batch.
      variance: [channels] likewise, biased, by E[x^2] - E[x]^2.
      largest: [] the running range of the output, moved if the rule says so.
    """

    output: jax.Array
    mean: jax.Array
    variance: jax.Array
    largest: jax.Array


def normalize(
    rule: Activation, x: jax.Array, scale: jax.Array, bias: jax.Array, largest: jax.Array
) -> Normalized:
    r"""Batch norm with the batch's own statistics, leaky ReLU and quantizer, as `rule` says.

    .. math:: y = \gamma (x - \mu) / \sqrt{\sigma^2 + \epsilon} + \beta, \qquad
       q = \mathrm{clip}(\mathrm{round}(\mathrm{leaky}(y)\, 2^{-e}))\, 2^e

    The gradient flows through mean and variance; through the quantizer straight where nothing
    saturates, and not where it does. At y = 0 the leaky ReLU's derivative is 1. Over a sharded
    batch, statistics are those of the global batch: sums over it are plain sums under jit.

    Args:
      rule: which of the parts there are.
      x: [batch, height, width, channels], a convolution's output.
      scale: [channels] gamma.
      bias: [channels] beta.
      largest: [] running range of the output; 0 before the first batch.

    Example:
      >>> import jax.numpy as jnp
      >>> x = jnp.array([-1.0, 1.0, 3.0, 5.0]).reshape(4, 1, 1, 1)
      >>> rule = Activation(slope_exponent=-3, bits=8, track=True)
      >>> done = normalize(rule, x, jnp.ones(1), jnp.zeros(1), jnp.zeros(()))
      >>> print(done.output.ravel(), f"{done.largest:.4f}")
      [-0.171875 -0.0625    0.453125  1.34375 ] 1.3416
    """
    return _normalize(rule, x, scale, bias, largest)


def _inverse(rule: Activation, variance: jax.Array) -> jax.Array:
    return jax.lax.rsqrt(variance + rule.epsilon)


def affine(
    rule: Activation, mean: jax.Array, variance: jax.Array, scale: jax.Array, bias: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Batch norm as a x + b: [channels] each. It folds into the deployed affine map."""
    a = scale * _inverse(rule, variance)
    return a, bias - mean * a


def scaled(x: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
    """Multiplies by a and adds b in each channel, the last axis of x."""
    return x * filters.per_filter(a, x.ndim, -1) + filters.per_filter(b, x.ndim, -1)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _normalize(
    rule: Activation, x: jax.Array, scale: jax.Array, bias: jax.Array, largest: jax.Array
) -> Normalized:
    return _normalize_forward(rule, x, scale, bias, largest)[0]


_Kept = tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]


def _normalize_forward(
    rule: Activation, x: jax.Array, scale: jax.Array, bias: jax.Array, largest: jax.Array
) -> tuple[Normalized, _Kept]:
    mean, of_squares = _on_all_devices(rule, jnp.mean, x, x * x)
    variance = jnp.maximum(of_squares - mean * mean, 0)
    a, b = affine(rule, mean, variance, scale, bias)
    if rule.track:
        # y is monotone in x, so a channel's ends are enough, and the sums' pass finds them.
        largest = moved(rule, largest, leaky(rule, scaled(_ends(rule, x), a, b)))
    output = _activated(rule, scaled(x, a, b), largest)
    return Normalized(output, mean, variance, largest), (x, scale, bias, mean, variance, largest)


def _ends(rule: Activation, x: jax.Array) -> jax.Array:
    """[2, channels] the largest and the smallest value."""
    if rule.devices == 1:
        return jnp.stack([jnp.max(x, (0, 1, 2)), jnp.min(x, (0, 1, 2))])
    top, bottom = _on_all_devices(rule, jnp.max, x, -x)
    return jnp.stack([top, -bottom])


def _on_all_devices(
    rule: Activation, reduce: Callable[..., jax.Array], *values: jax.Array
) -> tuple[jax.Array, ...]:
    """Reduces arrays over all but their channels, [channels] each, with one exchange for all.

    A partitioner puts an exchange behind every reduction over a batch that is spread. So what a
    device has comes first, and is stacked before devices are reduced, too. On one device, and for
    a batch that the devices do not divide, there is nothing to exchange.
    """
    batch, devices = values[0].shape[0], rule.devices
    if devices == 1 or batch % devices:
        return tuple(reduce(each, (0, 1, 2)) for each in values)
    shape = (devices, batch // devices, *values[0].shape[1:])
    own = jnp.stack([reduce(each.reshape(shape), (1, 2, 3)) for each in values], 1)
    return tuple(reduce(own, 0))


def _normalize_backward(
    rule: Activation, kept: _Kept, cotangents: Normalized
) -> tuple[jax.Array, jax.Array, jax.Array, None]:
    """With g = dL/dy, z = (x - mean) / std, and mean(.) over the batch.

    dL/dx = gamma / std (g - mean(g) - z mean(g z)), dL/dgamma = sum g z, dL/dbeta = sum g
    """
    x, scale, bias, mean, variance, largest = kept
    a, b = affine(rule, mean, variance, scale, bias)
    g = _activated_backward(rule, scaled(x, a, b), largest, cotangents.output)
    inverse = _inverse(rule, variance)
    count = x.size // x.shape[-1]
    to_bias, of_products = _on_all_devices(rule, jnp.sum, g, g * x)
    to_scale = (of_products - mean * to_bias) * inverse
    of_x = -a * inverse * to_scale / count
    constant = -a * to_bias / count - of_x * mean
    to_x = scaled(x, of_x, constant) + g * filters.per_filter(a, x.ndim, -1)
    return to_x, to_scale, to_bias, None


_normalize.defvjp(_normalize_forward, _normalize_backward)


def moved(rule: Activation, largest: jax.Array, values: jax.Array) -> jax.Array:
    """The running range after a batch with these values; `momentum` of `Activation` says how."""
    measured = jax.lax.stop_gradient(jnp.max(jnp.abs(values)))
    blend = rule.momentum * largest + (1 - rule.momentum) * measured
    return jnp.where(largest > 0, blend, measured)


def activate(rule: Activation, y: jax.Array, largest: jax.Array) -> jax.Array:
    """Leaky ReLU and quantizer, as `rule` says, with the step that suits values up to `largest`.

    Equals `quantize_activations` of the leaky ReLU, bit for bit.

    Args:
      rule: which of the two there are.
      y: of any shape.
      largest: [] range; not differentiable.

    Example:
      >>> import jax.numpy as jnp
      >>> rule = Activation(slope_exponent=-3, bits=8)
      >>> activate(rule, jnp.array([-1.0, 0.7, 5.0]), jnp.float32(1)).tolist()
      [-0.125, 0.703125, 1.984375]
    """
    return _activate(rule, y, largest)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _activate(rule: Activation, y: jax.Array, largest: jax.Array) -> jax.Array:
    return _activated(rule, y, largest)


def _activate_forward(
    rule: Activation, y: jax.Array, largest: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _activated(rule, y, largest), (y, largest)


def _activate_backward(
    rule: Activation, kept: tuple[jax.Array, jax.Array], cotangent: jax.Array
) -> tuple[jax.Array, None]:
    return _activated_backward(rule, *kept, cotangent), None


_activate.defvjp(_activate_forward, _activate_backward)


def leaky(rule: Activation, y: jax.Array) -> jax.Array:
    """The ReLU of `rule`, leaky or not; y itself without one."""
    if rule.ceiling is not None:
        return jnp.clip(y, 0, rule.ceiling)
    return y if rule.slope_exponent is None else jnp.where(y >= 0, y, y * 2.0**rule.slope_exponent)


def _activated(rule: Activation, y: jax.Array, largest: jax.Array) -> jax.Array:
    if rule.sign:
        return jnp.where(y >= 0, jnp.ones_like(y), -1)
    if rule.levels is not None:
        step = 2.0 ** activations.level_exponent(rule.levels)
        return jnp.clip(jnp.round(y / step), 0, rule.levels - 1) * step
    y = leaky(rule, y)
    if rule.bits is None:
        return y
    half = 1 << (rule.bits - 1)
    steps = _steps_per_one(rule.bits, largest)
    # A division by a power of two, not a product with its inverse: both are exact, but XLA
    # computes a quotient once for all its users, and anything cheaper again for each of them.
    return jnp.clip(jnp.round(y * steps), -half, half - 1) / steps


def _activated_backward(
    rule: Activation, y: jax.Array, largest: jax.Array, cotangent: jax.Array
) -> jax.Array:
    """By comparisons of y with the ends of the range, which need no rounding.

    With n = 2**(bits-1) and half to even, round(v) is in -n .. n - 1 iff -n - 1/2 <= v < n - 1/2.
    """
    if rule.sign:
        return jnp.where(jnp.abs(y) <= 1, cotangent, 0)
    if rule.levels is not None:
        end = (rule.levels - 0.5) * 2.0 ** activations.level_exponent(rule.levels)
        return jnp.where((y >= 0) & (y < end), cotangent, 0)
    if rule.ceiling is not None:
        cotangent = jnp.where((y >= 0) & (y < rule.ceiling), cotangent, 0)
    slope = 1.0 if rule.slope_exponent is None else 2.0**rule.slope_exponent
    passed = jnp.where(y >= 0, cotangent, cotangent * slope) if slope != 1 else cotangent
    if rule.bits is None:
        return passed
    half = 1 << (rule.bits - 1)
    step = 1 / _steps_per_one(rule.bits, largest)
    inside = (y < (half - 0.5) * step) & (y >= -(half + 0.5) / slope * step)
    return jnp.where(inside, passed, 0)


def _steps_per_one(bits: int, largest: jax.Array) -> jax.Array:
    """2**-e, the number of steps of the activations' grid in one."""
    return numerics.power_of_two(-activations.activation_exponent(largest, bits))


@jax.custom_vjp
def max_pool(x: jax.Array) -> jax.Array:
    """The largest value of each 2x2 square of [batch, height, width, channels].

    The gradient goes to the largest value; of several equal ones to the first in reading order
    (left to right, then down), as in PyTorch and in XLA's own pooling.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> x = jnp.array([[1.0, 4.0], [4.0, 2.0]]).reshape(1, 2, 2, 1)
      >>> print(max_pool(x).ravel(), jax.grad(lambda x: max_pool(x).sum())(x).ravel())
      [4.] [0. 1. 0. 0.]
    """
    return _max_pool_forward(x)[0]


def _max_pool_forward(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The maxima, and which of the four each of them is (int8)."""
    a, b, c, d = x[:, ::2, ::2], x[:, ::2, 1::2], x[:, 1::2, ::2], x[:, 1::2, 1::2]
    largest = jnp.maximum(jnp.maximum(a, b), jnp.maximum(c, d))
    place = jnp.where(a == largest, 0, jnp.where(b == largest, 1, jnp.where(c == largest, 2, 3)))
    return largest, place.astype(jnp.int8)


def _max_pool_backward(place: jax.Array, cotangent: jax.Array) -> tuple[jax.Array]:
    batch, height, width, channels = cotangent.shape
    square = jnp.arange(4, dtype=jnp.int8).reshape(1, 1, 2, 1, 2, 1)
    spread = jnp.where(
        place[:, :, None, :, None, :] == square, cotangent[:, :, None, :, None, :], 0
    )
    rows = spread.reshape(batch, height, 2, 2 * width, channels)
    return (rows.reshape(batch, 2 * height, 2 * width, channels),)


max_pool.defvjp(_max_pool_forward, _max_pool_backward)


def max_pool_of(pool: networks.MaxPool, x: jax.Array) -> jax.Array:
    """The largest value of each window of a pool, of what lies inside of the image."""
    if pool.is_plain:
        return max_pool(x)
    around = (pool.padding, pool.padding)
    window, strides = (1, pool.size, pool.size, 1), (1, pool.stride, pool.stride, 1)
    padding = ((0, 0), around, around, (0, 0))
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, strides, padding)


def average_pool(pool: networks.AveragePool, x: jax.Array) -> jax.Array:
    """The sum of each window of a pool, zeros around the image included, shifted to the right."""
    around = (pool.padding, pool.padding)
    window, strides = (1, pool.size, pool.size, 1), (1, pool.stride, pool.stride, 1)
    padding = ((0, 0), around, around, (0, 0))
    return jax.lax.reduce_window(x, 0.0, jax.lax.add, window, strides, padding) * 2.0**-pool.shift


def global_average(x: jax.Array) -> jax.Array:
    """[batch, height, width, channels] -> [batch, channels]: a sum, then a shift to the right.

    The sum is divided by the power of two that is not below height x width: see
    `networks.GlobalAverage`.
    """
    shift = (x.shape[1] * x.shape[2] - 1).bit_length()
    return jnp.sum(x, (1, 2)) * 2.0**-shift
