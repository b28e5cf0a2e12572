"""Layers of all kinds: the integers are what training defines, by every path."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from flightnn_jax import networks, quantize_params
from flightnn_jax.activations import activation_exponent
from flightnn_jax.data.feed import Batch
from flightnn_jax.integer import certificate, from_bytes, to_bytes, verify
from flightnn_jax.networks import (
    AveragePool,
    Conv,
    Dense,
    Flatten,
    GlobalAverage,
    MaxPool,
    Network,
    Residual,
)
from flightnn_jax.training import evaluation, layers, products
from flightnn_jax.training.models import Model
from flightnn_jax.training.step import data_mesh
from tests.support import brute_force
from tests.support.variables import images_of, state_of

ACTIVE = Network(
    "active",
    (8, 8, 3),
    5,
    (
        Conv(6, activation="relu"),
        MaxPool(),
        Conv(8, size=1, activation="relu6", norm=False),
        Conv(8, stride=2, norm=False),
        Residual(Conv(8, activation="relu"), Conv(8, norm=False)),
        Conv(6, activation="relu6"),
        GlobalAverage(),
        Dense(5),
    ),
)


WINDOWS = Network(
    "windows",
    (9, 8, 3),
    5,
    (
        Conv(8, padding=2, activation="relu6"),
        MaxPool(3, 2, 1),
        Conv(8, groups=8, activation="relu6"),
        Conv(12, size=1, groups=2, activation="none"),
        Residual(Conv(12, groups=12), Conv(12, groups=3)),
        Conv(6, stride=2, padding=0, groups=6, norm=False, activation="none"),
        MaxPool(2, 1),
        Flatten(),
        Conv(7, size=1, activation="relu"),
        Dense(5),
    ),
)
MEANS = Network(
    "means",
    (9, 13, 3),
    5,
    (
        Conv(6, activation="none", padding=0),
        AveragePool(3, 1),
        MaxPool(2, 1),
        AveragePool(),
        Conv(5, size=1, activation="relu6"),
        AveragePool(4, 3, 2),
        Flatten(),
        Dense(5),
    ),
)
NETWORKS = {net.name: net for net in (ACTIVE, WINDOWS)}


def in_float64(layer, x, kernel, own, stats):
    """A convolution as training defines it, before it is rounded."""
    size, p = layer.size, layer.size // 2 if layer.padding is None else layer.padding
    x = np.pad(x, [(0, 0), (p, p), (p, p), (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), (1, 2))
    windows = windows[:, :: layer.stride, :: layer.stride]
    groups = zip(
        np.split(windows, layer.groups, axis=3),
        np.split(kernel, layer.groups, axis=-1),
        strict=True,
    )
    y = np.concatenate([np.einsum("nyxiab,abio->nyxo", *group) for group in groups], axis=-1)
    if layer.norm:
        spread = np.sqrt(np.float64(stats["variance"]) + 1e-5)
        y = (y - np.float64(stats["mean"])) / spread * np.float64(own["scale"])
    y = y + np.float64(own["bias"])
    ends = {"leaky": y / 8, "none": y, "relu": 0, "relu6": 0}[layer.activation]
    return np.minimum(np.where(y >= 0, y, ends), 6 if layer.activation == "relu6" else np.inf)


@pytest.mark.quick(0)
@pytest.mark.whole(2)
@pytest.mark.parametrize("extreme", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_integers_are_what_training_defines(name, extreme):
    net = NETWORKS[name]
    state = state_of(net, "flightnn", seed=3, extreme=extreme)
    network = evaluation.lowered(Model(net), state)
    network = from_bytes(to_bytes(network))
    images = images_of(net, 4)
    integers = {"image": images.astype(int) - 128, **brute_force.layer_outputs(network, images)}
    trained = quantize_params(state.params, state.spec)
    exponents = {"image": -7}
    steps = {step.name: step for step in networks.walk_weights(net)}
    for layer in network.layers:
        exponents[layer.name] = getattr(layer, "exponent", exponents.get(layer.inputs[0]))
        if layer.name not in steps or integers[layer.name].dtype != np.int8:
            continue
        x = np.ldexp(np.float64(integers[layer.input]), exponents[layer.input])
        kernel = np.float64(trained[layer.name]["kernel"])
        stats = state.batch_stats.get(layer.name)
        if integers[layer.name].ndim == 2:
            continue
        y = in_float64(steps[layer.name].layer, x, kernel, state.params[layer.name], stats)
        step = 2.0 ** int(activation_exponent(state.ranges[layer.name]))
        wanted = np.clip(np.rint(y / step), -128, 127)
        difference = np.abs(integers[layer.name] - wanted)
        if not extreme:
            assert difference.max() <= 1
            assert np.mean(difference) < 0.03
        if steps[layer.name].layer.activation == "none":
            assert layer.linear
            assert integers[layer.name].min() < -40
        elif steps[layer.name].layer.activation != "leaky":
            assert certificate.reaches(network)[layer.name].low.min() == 0
            assert integers[layer.name].min() >= 0


@pytest.mark.whole(1)
@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["flightnn", "bnn"])
def test_averages_are_the_sums_that_training_shifts(scheme):
    """Of values of both signs, of values from 0 on, and of signs."""
    state = state_of(MEANS, scheme, seed=0, extreme=scheme == "flightnn")
    model = Model(MEANS, signs=scheme == "bnn")
    network = evaluation.lowered(model, state)
    linear = {layer.name for layer in network.weighted if getattr(layer, "linear", False)}
    assert linear == {"conv1", "mean1", "mean2", *(["mean3"] if scheme == "bnn" else [])}
    images = images_of(MEANS, 4)
    integers = brute_force.layer_outputs(network, images)
    steps = {step.name: step.layer for step in networks.walk(MEANS)}
    exponents = {layer.name: getattr(layer, "exponent", None) for layer in network.layers}
    exponents["pool1"] = exponents["mean1"]
    for name, source in (("mean1", "conv1"), ("mean2", "pool1"), ("mean3", "conv2")):
        pool, x = steps[name], integers[source].astype(np.int64)
        around = (pool.padding, pool.padding)
        x = np.pad(x, [(0, 0), around, around, (0, 0)])
        windows = np.lib.stride_tricks.sliding_window_view(x, (pool.size, pool.size), (1, 2))
        sums = windows[:, :: pool.stride, :: pool.stride].sum((-1, -2))
        real = np.ldexp(np.float64(sums), exponents[source] - pool.shift)
        wanted = np.clip(np.rint(np.ldexp(real, -exponents[name])), -128, 127)
        np.testing.assert_array_equal(integers[name], wanted, err_msg=name)
        given = np.ldexp(np.float32(integers[source]), exponents[source])
        np.testing.assert_array_equal(layers.average_pool(pool, given), real, err_msg=name)
    labels = integers["dense"].argmax(axis=1).astype(np.int32)
    batch = Batch(jnp.asarray(images), jnp.asarray(labels), jnp.ones(len(labels), bool))
    counted = evaluation.evaluate(model, data_mesh(jax.devices()[:1]), state, [batch])
    assert (counted.top1, counted.float_reason) == (1.0, None)


def test_windows_of_averages_that_do_not_fit():
    with pytest.raises(ValueError, match=r"mean1: AveragePool\(.*\) on 8x8: a window of even size"):
        Network("wrong", (8, 8, 3), 5, (Conv(4, activation="relu"), AveragePool(2, 1), Dense(5)))
    assert networks.from_dict(networks.to_dict(MEANS)) == MEANS


@pytest.mark.whole(2)
@pytest.mark.slow
@pytest.mark.parametrize("terms", [None, 1])
@pytest.mark.parametrize("name", [*NETWORKS, "means"])
def test_every_path_runs_them(name, terms):
    net = {**NETWORKS, "means": MEANS}[name]
    state = state_of(net, "flightnn", 5, extreme=True)
    network = evaluation.lowered(Model(net), state, affine_terms=terms)
    paths = {k: path for k, path in verify.PATHS.items() if k not in verify.unavailable()}
    runners = {"brute force": lambda x: brute_force.layer_outputs(network, x)}
    runners |= {name: path.runner(network) for name, path in paths.items()}
    assert verify.compare(network, runners, [(images_of(net, 5), None)]).mismatches == 0


@pytest.mark.quick(0)
@pytest.mark.whole(1)
@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_and_ranges(name):
    """A ReLU6 behind a bias: its range is at most 6, and every array has a gradient."""
    model = Model(NETWORKS[name])
    images = images_of(NETWORKS[name], 8)
    variables = model.init(jax.random.key(0), images)

    def loss(params):
        given = {**variables, "params": params}
        mutable = ["batch_stats", "ranges"]
        logits, updates = model.apply(given, images, train=True, mutable=mutable)
        return (logits**2).mean(), updates

    gradients, updates = jax.jit(jax.grad(loss, has_aux=True))(variables["params"])
    assert all(np.abs(g).max() > 0 for g in jax.tree.leaves(gradients))
    without = {n for n, p in variables["params"].items() if "scale" not in p}
    assert (
        without
        == {
            "active": {"conv2", "conv3", "block1_second", "dense"},
            "windows": {"conv4", "dense"},
        }[name]
    )
    assert set(updates["batch_stats"]) == set(variables["params"]) - without
    assert 0 < updates["ranges"]["conv2"] <= 6


def test_json_has_what_is_not_usual():
    plain = networks.to_dict(Network("n", (8, 8, 1), 4, (Conv(4), GlobalAverage())))
    assert plain["layers"][0] == {"kind": "conv", "filters": 4, "size": 3, "stride": 1}
    for net in NETWORKS.values():
        assert networks.from_dict(networks.to_dict(net)) == net
    pools = Network("n", (8, 8, 4), 4, (MaxPool(), MaxPool(3, 1), GlobalAverage()))
    assert networks.to_dict(pools)["layers"][:2] == [
        {"kind": "pool"},
        {"kind": "pool", "size": 3, "stride": 1},
    ]
    for wrong in (Conv(4, activation="tanh"), Conv(4, norm=1)):
        with pytest.raises(ValueError, match="an activation is one of"):
            Network("n", (8, 8, 1), 4, (wrong, GlobalAverage()))
    block = Residual(Conv(2), Conv(2, activation="relu"))
    with pytest.raises(ValueError, match="only its first"):
        Network("n", (8, 8, 2), 2, (block, GlobalAverage()))


@pytest.mark.parametrize("groups", [4, 2])
def test_convolutions_in_groups_are_those_of_each(groups):
    """Depthwise by places, and groups by XLA: outputs and gradients against convolutions alone."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 7, 6, 4)).astype(np.float32)
    w = rng.normal(size=(3, 3, 4 // groups, 4)).astype(np.float32)

    def whole(x, w):
        return products.convolve(x, w, 2, "plain", around=2, groups=groups)

    def parts(x, w):
        pairs = zip(jnp.split(x, groups, -1), jnp.split(w, groups, -1), strict=True)
        made = [products.convolve(*pair, 2, "plain", around=2) for pair in pairs]
        return jnp.concatenate(made, -1)

    found, back = jax.vjp(jax.jit(whole), x, w)
    wanted, wanted_back = jax.vjp(jax.jit(parts), x, w)
    g = rng.normal(size=wanted.shape).astype(np.float32)
    for one, other in zip((found, *back(g)), (wanted, *wanted_back(g)), strict=True):
        assert_allclose(one, other, rtol=1e-4, atol=1e-5)


BROKEN = {
    "groups": (Conv(4, groups=2), "3 channels and 4 filters in 2 groups"),
    "padding": (Conv(3, padding=3), "from 0 to the window's size - 1"),
    "pool": (MaxPool(3, 2, -1), "from 0 to the window's size - 1"),
    "window": (Conv(3, size=11, padding=0), "a window of 11x11 on 9x8 with 0"),
    "odd pool": (MaxPool(), "a 2x2 pool on 9x8"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_does_not_fit_is_told(name):
    layer, message = BROKEN[name]
    with pytest.raises(ValueError, match=message):
        Network("n", (9, 8, 3), 4, (layer, Flatten(), Dense(4)))
