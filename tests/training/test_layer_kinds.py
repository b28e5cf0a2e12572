"""Layers of all kinds: the integers are what training defines, by every path."""

import jax
import numpy as np
import pytest

from flightnn_jax import networks, quantize_params
from flightnn_jax.activations import activation_exponent
from flightnn_jax.integer import from_bytes, to_bytes, verify
from flightnn_jax.networks import Conv, Dense, GlobalAverage, MaxPool, Network, Residual
from flightnn_jax.training import evaluation
from flightnn_jax.training.models import Model
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


def in_float64(layer, x, kernel, own, stats):
    """A convolution as training defines it, before it is rounded."""
    size = layer.size
    x = np.pad(x, [(0, 0), (size // 2,) * 2, (size // 2,) * 2, (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), (1, 2))
    y = np.einsum("nyxiab,abio->nyxo", windows[:, :: layer.stride, :: layer.stride], kernel)
    if layer.norm:
        spread = np.sqrt(np.float64(stats["variance"]) + 1e-5)
        y = (y - np.float64(stats["mean"])) / spread * np.float64(own["scale"])
    y = y + np.float64(own["bias"])
    ends = {"leaky": y / 8, "relu": 0, "relu6": 0}[layer.activation]
    return np.minimum(np.where(y >= 0, y, ends), 6 if layer.activation == "relu6" else np.inf)


@pytest.mark.parametrize("extreme", [False, True])
@pytest.mark.parametrize("scheme", ["flightnn", "lightnn1"])
def test_integers_are_what_training_defines(scheme, extreme):
    state = state_of(ACTIVE, scheme, seed=3, extreme=extreme)
    network = evaluation.lowered(Model(ACTIVE), state)
    network = from_bytes(to_bytes(network))
    images = images_of(ACTIVE, 4)
    integers = {"image": images.astype(int) - 128, **brute_force.layer_outputs(network, images)}
    trained = quantize_params(state.params, state.spec)
    layers = {layer.name: layer for layer in network.layers}
    exponents = {"image": -7}
    steps = {step.name: step for step in networks.walk_weights(ACTIVE)}
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
        if steps[layer.name].layer.activation != "leaky":
            assert integers[layer.name].min() >= 0
    assert layers["conv1"].affine.low.max() > -(10**4)


@pytest.mark.slow
@pytest.mark.parametrize("terms", [None, 1])
def test_every_path_runs_them(terms):
    state = state_of(ACTIVE, "flightnn", 5, extreme=True)
    network = evaluation.lowered(Model(ACTIVE), state, affine_terms=terms)
    paths = {k: path for k, path in verify.PATHS.items() if k not in verify.unavailable()}
    runners = {"brute force": lambda x: brute_force.layer_outputs(network, x)}
    runners |= {name: path.runner(network) for name, path in paths.items()}
    assert verify.compare(network, runners, [(images_of(ACTIVE, 5), None)]).mismatches == 0


def test_gradients_and_ranges():
    """A ReLU6 behind a bias: its range is at most 6, and every array has a gradient."""
    model = Model(ACTIVE)
    images = images_of(ACTIVE, 8)
    variables = model.init(jax.random.key(0), images)

    def loss(params):
        given = {**variables, "params": params}
        mutable = ["batch_stats", "ranges"]
        logits, updates = model.apply(given, images, train=True, mutable=mutable)
        return (logits**2).mean(), updates

    gradients, updates = jax.jit(jax.grad(loss, has_aux=True))(variables["params"])
    assert all(np.abs(g).max() > 0 for g in jax.tree.leaves(gradients))
    assert {n for n, p in variables["params"].items() if "scale" not in p} == {
        *("conv2", "conv3", "block1_second", "dense")
    }
    assert set(updates["batch_stats"]) == {"conv1", "block1_first", "conv4"}
    assert 0 < updates["ranges"]["conv2"] <= 6


def test_json_has_what_is_not_usual():
    plain = networks.to_dict(Network("n", (8, 8, 1), 4, (Conv(4), GlobalAverage())))
    assert plain["layers"][0] == {"kind": "conv", "filters": 4, "size": 3, "stride": 1}
    assert networks.from_dict(networks.to_dict(ACTIVE)) == ACTIVE
    for wrong in (Conv(4, activation="tanh"), Conv(4, norm=1)):
        with pytest.raises(ValueError, match="an activation is one of"):
            Network("n", (8, 8, 1), 4, (wrong, GlobalAverage()))
    block = Residual(Conv(2), Conv(2, activation="relu"))
    with pytest.raises(ValueError, match="only its first"):
        Network("n", (8, 8, 2), 2, (block, GlobalAverage()))
