"""Activations of a few levels: the integers' are those of batch norm's output, table by table."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from flightnn_jax import activations, quantize_params
from flightnn_jax.checker import checker, reader
from flightnn_jax.integer import certificate, from_bytes, tables, to_bytes
from flightnn_jax.training import evaluation, layers
from flightnn_jax.training.models import Model
from tests.support import brute_force
from tests.support.variables import NETWORKS, images_of, state_of
from tests.training.test_signs import NET, sums_of


def test_levels_and_their_gradient():
    rule = layers.Activation(levels=8)
    y = jnp.array([-9.0, -0.3, 0.0, 0.2, 0.25, 0.3, 1.0, 3.6, 3.74, 3.8, 9.0])
    out, pull = jax.vjp(lambda y: layers.activate(rule, y, jnp.zeros(())), y)
    assert_array_equal(out, np.float32([0, 0, 0, 0, 0, 0.5, 1, 3.5, 3.5, 3.5, 3.5]))
    assert_array_equal(pull(jnp.ones(11))[0], [0, 0, 1, 1, 1, 1, 1, 1, 1, 0, 0])


@pytest.mark.quick(0)
@pytest.mark.whole(1)
@pytest.mark.parametrize("scheme", ["table40", "table320"])
def test_levels_of_the_integers_are_those_of_training(scheme):
    count = {"table40": 8, "table320": 32}[scheme]
    model, state = Model(NET, levels=count), state_of(NET, scheme, seed=3)
    network = evaluation.lowered(model, state)
    assert_array_equal(to_bytes(from_bytes(to_bytes(network))), to_bytes(network))
    integers = brute_force.layer_outputs(network, images_of(NET, 5))
    trained = quantize_params(state.params, state.spec)
    by_name = {layer.name: layer for layer in network.layers}
    step = activations.level_exponent(count)
    for name, source in (("conv2", "pool1"), ("conv3", "pool2"), ("conv4", "conv3")):
        layer, of = by_name[name], state.batch_stats[name]
        assert layer.exponent == step
        whole = np.ldexp(np.float64(trained[name]["kernel"]), -layer.weight_exponent)
        acc = sums_of(integers[source], np.int64(whole), layer.stride)
        y = np.ldexp(np.float64(acc), layer.weight_exponent + step) - np.float64(of["mean"])
        y *= np.float64(state.params[name]["scale"]) / np.sqrt(np.float64(of["variance"]) + 1e-5)
        y += np.float64(state.params[name]["bias"])
        real = np.ldexp(y, -step)
        assert set(np.unique(integers[name])) <= set(range(count))
        wanted = np.clip(np.round(real), 0, count - 1)
        # Multipliers and ends of clips are rounded: at most half a level, and hardly ever one.
        assert np.abs(integers[name] - np.clip(real, 0, count - 1)).max() < 0.75
        assert np.mean(integers[name] != wanted) < 0.02
        low, high = certificate.reaches(network)[name]
        assert low.min() == 0
        assert high.max() == count - 1
    assert checker.check(reader.read(to_bytes(network))) == []
    made = {table.layer: table for table in tables.tables(network)}
    for name in ("conv2", "conv3", "conv4"):
        assert made[name].low == 0
        assert len(made[name].products) <= count
        assert made[name].products.size <= {"table40": 40, "table320": 320}[scheme]


def test_residual_blocks_are_refused():
    with pytest.raises(ValueError, match=r"residual blocks .* activations that are levels"):
        Model(NETWORKS["resnet"], levels=8).leveled  # noqa: B018
    with pytest.raises(ValueError, match="1 levels of activations: there are 2 to 128"):
        activations.level_exponent(1)
