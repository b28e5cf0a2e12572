"""Lowering: weights bit for bit, affine maps against float64, every network, every refusal."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from flightnn_jax import (
    FixedPoint,
    Shift,
    Window,
    activation_exponent,
    make_spec,
    networks,
    quantize_params,
    schemes,
)
from flightnn_jax.integer import (
    Add,
    Average,
    Convolution,
    Dense,
    MaxPool,
    ShiftWeights,
    certificate,
    invariants,
)
from flightnn_jax.integer import lower as lowering
from flightnn_jax.integer.inference import float32
from flightnn_jax.integer.lower import LoweringError, lower
from flightnn_jax.networks import Conv, GlobalAverage, Network, Residual
from flightnn_jax.training.models import Model
from flightnn_jax.training.quantization import spec_of
from tests.support import variables

pytestmark = pytest.mark.slow

SCHEMES = ("flightnn", "fp4", "codebook5", "binaryconnect", "lightnn1", "lightnn2")
VGG = networks.network("net4", width=8, input_shape=(8, 8, 3))
RESNET = Network(
    "small",
    (8, 8, 3),
    5,
    (
        Conv(4),
        Residual(Conv(4), Conv(4)),
        Residual(Conv(8, stride=2), Conv(8), Conv(8, 1, 2)),
        GlobalAverage(),
        networks.Dense(5),
    ),
)


def own_variables(net):
    params, stats, ranges = variables.variables_of(net)
    return (*jax.tree.map(jnp.asarray, (params, stats)), ranges)


@functools.cache
def lowered(net, scheme="flightnn", terms=None):
    params, stats, ranges = own_variables(net)
    spec = spec_of(schemes.find(scheme), params)
    return lower(net, params, spec, stats, ranges, affine_terms=terms)


def images_of(net, count=4):
    return np.random.default_rng(1).integers(0, 256, (count, *net.input_shape), np.uint8)


@pytest.mark.whole(2)
@pytest.mark.parametrize(
    ("net", "scheme"),
    [(RESNET, "flightnn"), *((VGG, scheme) for scheme in SCHEMES)],
    ids=lambda case: getattr(case, "name", case),
)
def test_weights_are_those_that_training_used(net, scheme):
    params, _, _ = own_variables(net)
    trained = quantize_params(params, spec_of(schemes.find(scheme), params))
    for layer in lowered(net, scheme).layers:
        if isinstance(layer, Convolution | Dense):
            real = layer.weights.integers() * 2.0**layer.weight_exponent
            assert_array_equal(real, trained[layer.name]["kernel"])


def in_float64(net, network, name, integers, params, stats, ranges):
    """A layer's output from the outputs before it, as training defines it, in float64."""
    layers = {layer.name: layer for layer in network.layers}

    def real(source):
        of = source
        while isinstance(layers.get(of), MaxPool):
            of = layers[of].input
        exponent = -7 if of == "image" else layers[of].exponent
        return integers[source].astype(np.float64) * 2.0**exponent

    def normalized(layer):
        step = next(s for s in networks.walk_weights(net) if s.name == layer.name)
        weights = layer.weights.integers() * 2.0**layer.weight_exponent
        size, stride = step.layer.size, step.layer.stride
        x = np.pad(real(layer.input), [(0, 0), (size // 2,) * 2, (size // 2,) * 2, (0, 0)])
        windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), (1, 2))
        windows = windows[:, ::stride, ::stride]
        y = np.einsum("nyxiab,abio->nyxo", windows, weights)
        own, of = params[layer.name], stats[layer.name]
        spread = np.sqrt(np.asarray(of["variance"], np.float64) + 1e-5)
        a = np.asarray(own["scale"], np.float64) / spread
        return a * (y - np.asarray(of["mean"], np.float64)) + np.asarray(own["bias"], np.float64)

    layer = layers[name]
    if isinstance(layer, Convolution):
        y = normalized(layer)
    else:
        y = sum(
            normalized(layers[source]) if lift is None else real(source)
            for source, lift in zip(layer.inputs, layer.lift, strict=True)
        )
    y = np.where(y >= 0, y, y / 8)
    step = 2.0 ** int(activation_exponent(np.float32(ranges[name])))
    return np.clip(np.rint(y / step), -128, 127)


@pytest.mark.whole(4)
@pytest.mark.parametrize("net", [VGG, RESNET], ids=["vgg", "resnet"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_activation_is_what_training_rounds(net, scheme):
    """Layer by layer from the integers' own inputs; a tie may fall to the other side."""
    network = lowered(net, scheme)
    trained = own_variables(net)
    images = images_of(net)
    outputs = {k: np.asarray(v) for k, v in float32.function_of(network)(images).items()}
    integers = {"image": images.astype(int) - 128, **outputs}
    compared = 0
    for layer in network.layers:
        if isinstance(layer, Convolution | Add) and outputs[layer.name].dtype == np.int8:
            wanted = in_float64(net, network, layer.name, integers, *trained)
            difference = np.abs(outputs[layer.name] - wanted)
            assert difference.max() <= 1
            assert np.mean(difference) < 0.03  # multipliers have 8 bits and more
            assert np.unique(wanted).size > 30
            compared += 1
    assert compared == {"net4": 4, "small": 5}[net.name]


@pytest.mark.parametrize("net", [VGG, RESNET], ids=["vgg", "resnet"])
def test_clips_end_where_sums_end(net):
    """With what the layers before give, which is less than any activation behind the first."""
    network = lowered(net)
    narrower = 0
    for name, proven in certificate.bounds(network).items():
        layer = next(layer for layer in network.layers if layer.name == name)
        if isinstance(layer, Convolution):
            low, high = proven.accumulators
            assert np.all((layer.affine.low >= low) & (layer.affine.high <= high))
            widest = certificate.accumulators(layer.weights)
            narrower += np.any((low > widest.low) & (high < widest.high))
    assert narrower >= 2


def test_average_and_dense_are_exact():
    network = lowered(RESNET)
    params, _, ranges = own_variables(RESNET)
    outputs = float32.function_of(network)(images_of(RESNET))
    outputs = {k: np.asarray(v) for k, v in outputs.items()}
    layers = {layer.name: layer for layer in network.layers}
    mean = outputs["block2"].astype(float).mean((1, 2)) * 2.0 ** layers["block2"].exponent
    step = 2.0 ** int(activation_exponent(np.float32(ranges["average"])))
    rounded = np.clip(np.rint(mean / step), -128, 127)  # float64 holds all of this
    assert_array_equal(outputs["average"], rounded)
    trained = quantize_params(params, spec_of(schemes.find("flightnn"), params))["dense"]
    logits = rounded * step @ np.asarray(trained["kernel"], np.float64)
    logits = logits + np.asarray(trained["bias"])
    real = outputs["dense"] * 2.0**network.output_exponent
    assert np.abs(real - logits).max() <= 2.0 ** (network.output_exponent - 1)  # of the bias


@pytest.mark.whole(4)
@pytest.mark.parametrize(
    ("name", "scheme"), [("net2", "fp4"), *((name, "flightnn") for name in networks.NAMES)]
)
def test_all_eight_networks(name, scheme):
    size = (64, 64, 3) if name == "net8" else (16, 16, 3)
    net = networks.network(name, width=16, classes=7, input_shape=size)
    network = lowered(net, scheme)
    invariants.check(network)
    assert [layer.name for layer in network.layers] == list(_names(net))
    kinds = {type(layer) for layer in network.layers}
    resnet = {Convolution, Add, Average, Dense} | ({MaxPool} if name == "net8" else set())
    assert kinds == (
        resnet if net.layers[-1] != GlobalAverage() else {Convolution, MaxPool, Average}
    )
    assert (network.slope, network.input_shape, len(network.labels)) == (3, size, 7)


def _names(net):
    for step in networks.walk(net):
        yield from (inner.name for inner in step.inside)
        yield step.name


@pytest.mark.parametrize("terms", [1, 2, 3])
@pytest.mark.parametrize("net", [VGG, RESNET], ids=["vgg", "resnet"])
def test_multipliers_of_powers_of_two(net, terms):
    exact, coarse = lowered(net), lowered(net, terms=terms)
    assert coarse.affine_terms == terms
    for a, b in zip(exact.layers, coarse.layers, strict=True):
        if isinstance(a, Convolution):
            assert invariants.powers_needed(b.affine.multiplier).max() <= terms
            shift = 0 if a.shift is None else a.shift.astype(int) - b.shift
            if a.shift is not None:
                real = a.affine.multiplier / 2.0**shift
                ratio = b.affine.multiplier / real
                # Rounding the largest power first leaves a third, a seventh, ...
                assert np.all(np.abs(ratio - 1) <= 0.34**terms + 1e-3)


CHANGES = {
    "zero scale": ("params", "scale", 0.0),
    "negative scale": ("params", "scale", -1.5),
    "huge scale": ("params", "scale", 1e4),
    "huge bias": ("params", "bias", 1e7),
    "no variance": ("stats", "variance", 0.0),
    "huge mean": ("stats", "mean", -1e4),
}


@pytest.mark.parametrize("name", CHANGES)
def test_extreme_statistics_have_integers(name):
    where, part, value = CHANGES[name]
    params, stats, ranges = own_variables(VGG)
    tree = {"params": params, "stats": stats}[where]
    tree["conv2"][part] = tree["conv2"][part].at[1].set(value)
    network = lower(VGG, params, spec_of(schemes.find("lightnn2"), params), stats, ranges)
    images = images_of(VGG)
    outputs = {k: np.asarray(v) for k, v in float32.function_of(network)(images).items()}
    wanted = in_float64(VGG, network, "conv2", outputs, params, stats, ranges)
    difference = np.abs(outputs["conv2"] - wanted)
    assert difference.max() <= 1
    assert difference.mean() < 0.03


def test_an_empty_filter_gives_its_bias():
    params, stats, ranges = own_variables(VGG)
    spec = spec_of(schemes.find("flightnn"), params, per="filter")
    thresholds = spec["conv2"]["kernel"].thresholds.at[:, 3].set(1e9)
    spec["conv2"]["kernel"] = Shift(k=2, thresholds=thresholds)
    ranges |= {"conv1": 3.0}
    stats["conv2"]["variance"] = stats["conv2"]["variance"].at[3].set(0.0)
    network = lower(VGG, params, spec, stats, ranges)
    layer = next(layer for layer in network.layers if layer.name == "conv2")
    assert layer.weights.k[3] == 0
    assert layer.affine.multiplier[3] == 0
    assert layer.certificate[3, :4].tolist() == [0, 0, 0, 1]
    images = images_of(VGG)
    outputs = {k: np.asarray(v) for k, v in float32.function_of(network)(images).items()}
    wanted = in_float64(VGG, network, "conv2", outputs, params, stats, ranges)
    assert_array_equal(outputs["conv2"][..., 3], wanted[..., 3])


def test_the_integers_answer_as_the_model_does():
    params, stats, ranges = own_variables(RESNET)
    spec = spec_of(schemes.find("lightnn2"), params)
    network = lower(RESNET, params, spec, stats, ranges)
    images = images_of(RESNET, 32)
    trees = {
        "params": quantize_params(params, spec),
        "batch_stats": stats,
        "ranges": jax.tree.map(jnp.float32, ranges),
    }
    wanted = np.asarray(Model(RESNET).apply(trees, jnp.asarray(images), floats=True))
    real = np.asarray(float32.function_of(network)(images)["dense"]) * 2.0**network.output_exponent
    assert np.abs(real - wanted).max() < 0.05 * np.abs(wanted).max()


def refused(message, net=VGG, spec=None, ranges=None, stats=None, **options):
    params, own_stats, own_ranges = own_variables(net)
    spec = make_spec(params, Shift(k=2)) if spec is None else make_spec(params, spec)
    with pytest.raises(LoweringError, match=message):
        lower(net, params, spec, stats or own_stats, ranges or own_ranges, **options)


REFUSED = {
    "float": (None, "conv1: weights that are .*Array.*, not codes"),
    "flush": (Shift(k=1, window=Window(width=7, below="flush")), "conv1: terms with 7 exponents"),
    "wide": (Shift(k=1, window=Window(width=9)), "conv1: terms with 9 exponents, 'clamp'"),
    "no window": (Shift(k=1, window=None), "conv1: terms with no window: a term of 4 bits"),
    "eight bits": (FixedPoint(bits=8), "conv1: fixed-point weights of 8 bits"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_integers_is_refused_by_name(name):
    fmt, message = REFUSED[name]
    params, stats, ranges = own_variables(VGG)
    spec = {
        layer: {part: fmt if part == "kernel" else None for part in arrays}
        for layer, arrays in params.items()
    }
    with pytest.raises(LoweringError, match=message):
        lower(VGG, params, spec, stats, ranges)


def test_other_filters_are_refused():
    with pytest.raises(LoweringError, match="filter_axis=0 of 2 axes: filters are the last"):
        Shift(k=1, filter_axis=0).encode(jnp.ones((2, 3))).to_weights()


def test_other_activations_are_refused():
    refused("activations of float bits: integer networks have 8", activation_bits=None)
    refused("activations of 4 bits", activation_bits=4)
    refused("conv1: it has no activation range", ranges={"conv2": 1.0})


def test_other_slopes_and_orders_are_refused():
    steep = networks.network("net4", width=8, input_shape=(8, 8, 3), slope_exponent=-8)
    refused("slope_exponent=-8: a leaky ReLU's shift is 1 to 7", net=steep)
    step = next(iter(networks.walk(VGG)))
    logits = lowering.Source("dense", -9, None, rounded=False)
    with pytest.raises(LoweringError, match="conv1: it reads dense, whose output is not quantized"):
        lowering._layers(None, step, logits, is_last=True)


def test_ranges_that_were_never_measured_are_refused():
    _, _, ranges = own_variables(RESNET)
    refused(
        r"block1_second: filter 0 maps accumulators to .* acc .* steps of its output, and no shift",
        net=RESNET,
        ranges=ranges | {"block1": 0.0},
    )
    refused(
        r"block1: its input has steps of 2\*\*-\d+ and its output of 2\*\*\d+: no shift",
        net=RESNET,
        ranges=ranges | {"block1": 1e9},
    )
    refused("average: its range 0.0 against", net=RESNET, ranges=ranges | {"average": 0.0})


def test_statistics_that_are_not_finite_are_refused():
    _, stats, _ = own_variables(VGG)
    stats["conv3"]["mean"] = stats["conv3"]["mean"].at[0].set(jnp.inf)
    refused("conv3: batch norm's statistics are not finite", stats=stats)


def test_terms_below_the_largest_weight_are_shifts():
    codes = Shift(k=2).encode(jnp.array([[1.0, 0.75], [0.0, -(2.0**-7)]]))
    weights, exponent = codes.to_weights()
    assert isinstance(weights, ShiftWeights)
    assert weights.integers().tolist() == [[128, 96], [0, -1]]
    assert (int(weights.shift.max()), exponent) == (7, -7)
