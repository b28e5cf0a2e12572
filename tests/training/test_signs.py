"""Activations that are signs: the integers' are those of batch norm's output, pools before it."""

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from flightnn_jax import networks, quantize_params
from flightnn_jax.integer import MaxPool, from_bytes, to_bytes
from flightnn_jax.networks import Conv, Dense, GlobalAverage, Network
from flightnn_jax.training import evaluation
from flightnn_jax.training.models import Model
from tests.support import brute_force
from tests.support.variables import NETWORKS, images_of, state_of

NET = Network(
    "signs",
    (8, 8, 3),
    5,
    (
        Conv(4),
        networks.MaxPool(),
        Conv(6),
        networks.MaxPool(),
        Conv(6, stride=2),
        Conv(8, size=1),
        GlobalAverage(),
        Dense(5),
    ),
)


def sums_of(x, w, stride):
    """[batch, height, width, filters] of a convolution in int64."""
    size = w.shape[0]
    x = np.pad(x.astype(np.int64), [(0, 0), (size // 2,) * 2, (size // 2,) * 2, (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), (1, 2))
    return np.einsum("nyxiab,abio->nyxo", windows[:, ::stride, ::stride], w.astype(np.int64))


@pytest.mark.quick(0)
@pytest.mark.parametrize("extreme", [False, True])
@pytest.mark.parametrize("terms", [None, 1])
def test_signs_of_the_integers_are_those_of_training(extreme, terms):
    state = state_of(NET, "bnn", seed=3, extreme=extreme)
    network = evaluation.lowered(Model(NET, signs=True), state, affine_terms=terms)
    network = from_bytes(to_bytes(network))
    integers = brute_force.layer_outputs(network, images_of(NET, 5))
    trained = quantize_params(state.params, state.spec)
    layers = {layer.name: layer for layer in network.layers}
    unit = layers["conv1"].exponent
    for name, source, pool in (("conv2", "pool1", "pool2"), ("conv3", "pool2", None)):
        kernel = np.asarray(trained[name]["kernel"])
        assert set(np.unique(kernel)) == {-1, 1}
        acc = sums_of(integers[source], kernel, layers[name].stride)
        scale, of = np.float64(state.params[name]["scale"]), state.batch_stats[name]
        if pool:
            acc = np.maximum.reduce([acc[:, y::2, x::2] for y in (0, 1) for x in (0, 1)])
            scale = np.abs(scale)
        y = np.ldexp(np.float64(acc), unit) - np.float64(of["mean"])
        y *= scale / np.sqrt(np.float64(of["variance"]) + 1e-5)
        y += np.float64(state.params[name]["bias"])
        assert np.abs(y).min() > 1e-9 or extreme  # no tie, which rounding might decide
        assert_array_equal(integers[pool or name], np.where(y >= 0, 1, -1))
        unit = 0
    assert layers["conv1"].weights.kind == layers["dense"].weights.kind == "integer"
    assert isinstance(layers["pool2"], MaxPool)
    assert set(np.unique(integers["conv4"])) <= {-1, 1}


def test_the_certificate_knows_that_signs_are_small():
    network = evaluation.lowered(Model(NET, signs=True), state_of(NET, "bnn"))
    layers = {layer.name: layer for layer in network.layers}
    assert_array_equal(layers["conv3"].certificate[:, 0], -9 * 6)  # acc_min: 3 x 3 x 6 of -1 to 1
    assert_array_equal(layers["conv3"].certificate[:, 1], 9 * 6)


@pytest.mark.quick(0)
def test_the_float_model_gives_signs_too():
    state = state_of(NET, "bnn", seed=1)
    variables = {
        "params": quantize_params(state.params, state.spec),
        "batch_stats": state.batch_stats,
        "ranges": {k: v for k, v in state.ranges.items() if k in ("conv1", "average")},
    }
    model = Model(NET, signs=True)
    images = jnp.asarray(images_of(NET, 4))
    logits = model.apply(variables, images, floats=True)
    network = evaluation.lowered(model, state)
    wanted = brute_force.layer_outputs(network, np.asarray(images))["dense"]
    assert logits.shape == wanted.shape
    real = wanted * 2.0**network.output_exponent
    assert np.abs(logits - real).max() < 0.1 * np.abs(real).max()


def test_residual_blocks_are_refused():
    with pytest.raises(ValueError, match=r"small has residual blocks .*choose a network without"):
        Model(NETWORKS["resnet"], signs=True).signed  # noqa: B018
