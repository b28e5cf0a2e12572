"""The operations between convolutions against their plain form and its automatic derivative."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from flightnn_jax import quantize_activations
from flightnn_jax.activations import activation_exponent
from flightnn_jax.training import layers
from flightnn_jax.training.layers import Activation

SLOPE = 2.0**-3
FULL = Activation(slope_exponent=-3, bits=8, track=True)
RULES = [
    Activation(),
    Activation(slope_exponent=-3),
    Activation(slope_exponent=-3, track=True),
    Activation(slope_exponent=-3, bits=8),
    Activation(slope_exponent=-1, bits=4),
    Activation(bits=2),
    FULL,
    Activation(sign=True),
    Activation(ceiling=float("inf"), bits=8, track=True),
    Activation(ceiling=1.5, bits=4, track=True),
]


def naive(rule, x, scale, bias, largest):
    """Batch norm in two passes, and a straight-through quantizer, by automatic derivatives."""
    mean = x.mean((0, 1, 2), keepdims=True)
    variance = ((x - mean) ** 2).mean((0, 1, 2), keepdims=True)
    y = (x - mean) / jnp.sqrt(variance + rule.epsilon) * scale.reshape(1, 1, 1, -1)
    return naive_activation(rule, y + bias.reshape(1, 1, 1, -1), largest)


def naive_activation(rule, y, largest):
    if rule.sign:
        window = jnp.clip(y, -1, 1)
        return window + jax.lax.stop_gradient(jnp.where(y >= 0, 1.0, -1.0) - window)
    if rule.slope_exponent is not None:
        y = jnp.where(y >= 0, y, y * 2.0**rule.slope_exponent)
    if rule.ceiling is not None:
        y = jnp.where(y >= 0, jnp.where(y >= rule.ceiling, rule.ceiling, y), 0)
    if rule.track:
        largest = layers.moved(rule, largest, y)
    if rule.bits is not None:
        y = quantize_activations(y, activation_exponent(largest, rule.bits), rule.bits)
    return y


def random(shape, seed=0, dtype=np.float32):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), dtype)


@pytest.mark.whole(9)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.quick(0)
def test_normalize_and_its_gradients(rule, dtype):
    with jax.enable_x64(dtype == "float64"):
        x = 3 * random((4, 6, 6, 5), dtype=dtype) + 1
        scale, bias, g = random(5, 1, dtype), random(5, 2, dtype), random((4, 6, 6, 5), 3, dtype)
        largest = jnp.asarray(0.8, "float32")

        def fused(x, scale, bias):
            return layers.normalize(rule, x, scale, bias, largest).output

        def plain(x, scale, bias):
            return naive(rule, x, scale, bias, largest)

        found, back = jax.vjp(jax.jit(fused), x, scale, bias)
        wanted, wanted_back = jax.vjp(plain, x, scale, bias)
        assert found.dtype == x.dtype
        # Float sums differ in their order. A value at the border of two steps may then round to
        # the other one: off by one step, not more, and rarely.
        close = 1e-4 if dtype == "float32" else 1e-10
        off = np.abs(np.asarray(found - wanted))
        if rule.bits is None:
            assert off.max() < close
        else:
            range_ = layers.normalize(rule, x, scale, bias, largest).largest
            step = 2.0 ** int(activation_exponent(range_, rule.bits))
            assert off.max() <= step * 1.001
            assert (off > step / 2).mean() < 0.01
        for ours, theirs in zip(back(g), wanted_back(g), strict=True):
            assert_allclose(ours, theirs, atol=20 * close, rtol=20 * close)


def test_statistics_equal_flax():
    x = 2 * random((8, 4, 4, 3)) + 1
    scale, bias = random(3, 1), random(3, 2)
    norm = nn.BatchNorm(use_running_average=False, momentum=0.9, epsilon=1e-5)
    start = {"mean": jnp.zeros(3), "var": jnp.ones(3)}
    with jax.numpy_rank_promotion("allow"):
        wanted, state = norm.apply(
            {"params": {"scale": scale, "bias": bias}, "batch_stats": start},
            x,
            mutable=["batch_stats"],
        )
    done = layers.normalize(Activation(), x, scale, bias, jnp.zeros(()))
    assert_allclose(done.output, wanted, atol=1e-5)
    assert_allclose(0.1 * done.mean, state["batch_stats"]["mean"], atol=1e-6)
    assert_allclose(0.9 + 0.1 * done.variance, state["batch_stats"]["var"], atol=1e-6)


def test_a_constant_channel_gives_its_bias_and_finite_gradients():
    x = jnp.full((2, 2, 2, 1), 1.7)
    rule = Activation()

    def total(x):
        return layers.normalize(rule, x, jnp.ones(1), jnp.full(1, 0.5), jnp.zeros(())).output.sum()

    assert_allclose(total(x), 4, atol=1e-3)
    assert np.isfinite(jax.grad(total)(x)).all()


@pytest.mark.whole(4)
@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("slope_exponent", [None, -1, -3])
@pytest.mark.quick(0)
def test_activate_equals_the_library_quantizer_on_every_border(bits, slope_exponent):
    """All quarter steps through the range and beyond it, forwards and backwards: no tolerance."""
    largest = jnp.float32(0.7)
    rule = Activation(slope_exponent=slope_exponent, bits=bits)
    step = 2.0 ** int(activation_exponent(largest, bits))
    reach = 2 ** (bits - 1) * (1 if slope_exponent is None else 2**-slope_exponent) + 3
    y = jnp.asarray(np.arange(-4 * reach, 4 * reach + 1) / 4 * step, jnp.float32)
    g = random(y.shape)
    found, back = jax.vjp(functools.partial(layers.activate, rule), y, largest)
    wanted, wanted_back = jax.vjp(lambda y: naive_activation(rule, y, largest), y)
    assert_array_equal(found, wanted)
    assert_array_equal(back(g)[0], wanted_back(g)[0])
    assert_array_equal(found / step, np.round(np.asarray(found / step)))


def test_the_range_is_that_of_the_output():
    x, scale, bias = random((4, 4, 4, 6)), random(6, 1), random(6, 2)
    rule = FULL._replace(bits=None)
    done = layers.normalize(rule, x, scale, bias, jnp.zeros(()))
    # The first measurement is taken as it is; a negative scale exchanges a channel's ends.
    assert (np.asarray(scale) < 0).any()
    assert_allclose(done.largest, np.abs(done.output).max(), rtol=1e-6)
    again = layers.normalize(rule, x, scale, bias, jnp.float32(10))
    assert_allclose(again.largest, 0.9 * 10 + 0.1 * np.abs(done.output).max(), rtol=1e-6)
    frozen = layers.normalize(rule._replace(track=False), x, scale, bias, jnp.float32(10))
    assert frozen.largest == 10


@pytest.mark.quick(0)
def test_no_gradient_through_what_is_measured():
    x = random((2, 2, 2, 3))
    for field in ("mean", "variance", "largest"):

        def measured(x, field=field):
            done = layers.normalize(FULL, x, jnp.ones(3), jnp.zeros(3), jnp.zeros(()))
            return getattr(done, field).sum()

        assert_array_equal(jax.grad(measured)(x), 0)


def pool_by_xla(x):
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


@pytest.mark.whole(3)
@pytest.mark.parametrize("shape", [(1, 2, 2, 1), (3, 4, 6, 5), (2, 8, 8, 16)])
@pytest.mark.parametrize("values", ["distinct", "tied"])
@pytest.mark.quick(0)
def test_max_pool_and_its_gradient_equal_xla(shape, values):
    """Ties too: on five values almost every square has some, and the first one wins."""
    x = random(shape)
    x = x if values == "distinct" else jnp.round(x)
    g = random((shape[0], shape[1] // 2, shape[2] // 2, shape[3]), 1)
    found, back = jax.vjp(layers.max_pool, x)
    wanted, wanted_back = jax.vjp(pool_by_xla, x)
    assert_array_equal(found, wanted)
    assert_array_equal(back(g)[0], wanted_back(g)[0])


def test_pool_and_quantizer_commute():
    y = 4 * random((2, 4, 4, 3))
    rule = Activation(slope_exponent=-3, bits=8)
    largest = jnp.float32(3)
    before = layers.max_pool(layers.activate(rule, y, largest))
    leaky = layers.max_pool(layers.leaky(rule, y))
    after = layers.activate(Activation(bits=8), leaky, largest)
    assert_array_equal(before, after)


@pytest.mark.parametrize(("side", "divisor"), [(1, 1), (2, 4), (4, 16), (7, 64), (8, 64)])
def test_the_average_divides_by_a_power_of_two(side, divisor):
    x = jnp.ones((2, side, side, 3))
    assert_array_equal(layers.global_average(x), np.full((2, 3), side * side / divisor))
