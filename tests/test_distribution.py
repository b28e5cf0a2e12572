"""The distribution loss: by hand, by activations and in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from flightnn_jax import Binary, Shift, distribution


def by_hand(mean, deviation, form):
    """Channel by channel, term by term."""
    total = 0.0
    for mu, sigma in zip(np.float64(mean), np.float64(deviation), strict=True):
        if form == "paper":
            total += max(abs(mu) - sigma, 0) ** 2
            total += max(sigma / 4 - 1, 0) ** 2 + max(1 - abs(mu) - sigma / 4, 0) ** 2
        else:
            total += max(mu**2 - sigma**2, 0)
            total += max(2 - abs(mu) - sigma, 0) ** 2 + max(sigma - 4, 0) ** 2
    return total / len(mean)


@pytest.mark.parametrize("form", ["released", "paper"])
def test_closed_form_is_that_of_activations(form):
    rng = np.random.default_rng(0)
    sums = rng.normal(3, 40, (64, 4, 4, 24)).astype(np.float64)
    scale = rng.choice([-1, 1], 24) * rng.uniform(0.01, 7, 24)
    bias = rng.normal(0, 3, 24)
    own = (sums - sums.mean((0, 1, 2))) / np.sqrt(sums.var((0, 1, 2)) + 1e-5)
    with jax.enable_x64(True):
        closed = distribution.of_batch_norm(jnp.asarray(scale), jnp.asarray(bias), form)
        measured = distribution.of_activations(jnp.asarray(scale * own + bias), form)
    assert_allclose(closed, measured, rtol=1e-6)
    assert_allclose(closed, by_hand(bias, np.abs(scale), form), rtol=1e-6)


def test_what_it_asks_for():
    with pytest.raises(ValueError, match="form='printed' is unknown: choose 'released' or 'paper'"):
        distribution.of_moments(jnp.zeros(2), jnp.ones(2), "printed")
    kernel = {"kernel": jnp.ones((2, 2))}
    with pytest.raises(ValueError, match=r"of which \['dense'\] have no batch norm"):
        distribution.distribution_loss({"dense": kernel}, {"dense": {"kernel": Binary()}})
    with pytest.raises(ValueError, match=r"of layers \[\]"):
        distribution.distribution_loss({"dense": kernel}, {"dense": {"kernel": Shift()}})


def test_the_control_makes_the_loss_zero_and_touches_nothing_else():
    rng = np.random.default_rng(0)
    layer = {"kernel": jnp.ones((2, 8)), "scale": jnp.ones(8), "bias": 9 * rng.normal(size=8)}
    params = {"conv1": layer, "conv2": layer}
    norm = {"scale": None, "bias": None}
    spec = {"conv1": {"kernel": Shift(), **norm}, "conv2": {"kernel": Binary(), **norm}}
    assert distribution.distribution_loss(params, spec) > 1
    fixed = distribution.with_fixed_norms(params, spec)
    assert distribution.distribution_loss(fixed, spec) < 1e-9
    assert fixed["conv1"] is layer
    assert fixed["conv2"]["kernel"] is layer["kernel"]
