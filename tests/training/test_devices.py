"""What devices exchange in a layer's batch norm: as little as can be, and the same numbers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from benchmarks import hlo
from flightnn_jax.training import layers, step

DEVICES = 8


@pytest.fixture(scope="module")
def exchanged():
    """By the number of devices in the rule and whether ranges are tracked: results, exchanges."""
    mesh = step.data_mesh(jax.devices()[:DEVICES])
    x = np.random.default_rng(0).integers(-9, 10, (16, 2, 2, 4)).astype(np.float32)

    def of(devices, track):
        rule = layers.Activation(slope_exponent=-3, bits=8, track=track, devices=devices)

        def both(x):
            ones, zeros = jnp.ones(4), jnp.zeros(4)
            normalize = functools.partial(layers.normalize, rule)
            done, backward = jax.vjp(normalize, x, ones, zeros, jnp.float32(2))
            nothing = jax.tree.map(jnp.zeros_like, done)
            return done, backward(nothing._replace(output=jnp.ones_like(x)))

        spread = step.by_batch(mesh)
        compiled = jax.jit(both, in_shardings=spread).lower(x).compile()
        program = hlo.instructions(compiled.as_text())
        return compiled(jax.device_put(x, spread)), hlo.exchanges(program)

    return {key: of(*key) for key in ((DEVICES, True), (1, True), (DEVICES, False))}


def test_sums_travel_together(exchanged):
    """8 bytes a channel for the sums, as many for the ends, and as many for the gradients'."""
    pair = ("all-reduce", 2 * 4 * 4)
    assert exchanged[DEVICES, False][1] == [pair] * 2
    assert exchanged[DEVICES, True][1] == [pair] * 3


def test_the_numbers_are_those_of_sums_over_the_whole_batch(exchanged):
    """Of integers, whose sums have one value in any order."""
    together, apart = (exchanged[devices, True][0] for devices in (DEVICES, 1))
    assert_array_equal(together[0].mean, apart[0].mean)
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-6, atol=1e-7), together, apart
    )
