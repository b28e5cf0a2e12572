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
from flightnn_jax.deploy import affine, floating, invariants, kernels
from flightnn_jax.deploy.artefact import Add, Average, Convolution, Dense, MaxPool, ShiftWeights
from flightnn_jax.deploy.certificate import Range
from flightnn_jax.deploy.lower import LoweringError, lower
from flightnn_jax.models import Model
from flightnn_jax.networks import Conv, GlobalAverage, Network, Residual

pytestmark = pytest.mark.slow

SCHEMES = ("flightnn", "lightnn1", "lightnn2", "fp4")
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


def variables_of(net, seed=0):
    """Parameters, statistics and ranges as training might leave them, without training."""
    rng = np.random.default_rng(seed)
    params, stats, ranges = {}, {}, {}
    for step in networks.walk(net):
        for inner in step.inside or [step]:
            if inner.kernel_shape is None:
                continue
            shape = inner.kernel_shape
            kernel = rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[:-1]))
            params[inner.name] = {"kernel": kernel, "bias": rng.normal(size=shape[-1]) / 4}
            if isinstance(inner.layer, Conv):
                params[inner.name]["scale"] = rng.normal(1, 0.5, shape[-1])
                mean, spread = rng.normal(size=shape[-1]) / 4, rng.uniform(0.1, 1, shape[-1])
                stats[inner.name] = {"mean": mean, "variance": spread}
                ranges[inner.name] = rng.uniform(1, 6)
        ranges[step.name] = rng.uniform(1, 6)
        if step.inside:
            ranges = {k: v for k, v in ranges.items() if k not in _sums(step)}
    trees = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), (params, stats))
    return (*trees, ranges)


def _sums(step):
    return {inner.name for inner in step.inside[1:]}


@functools.cache
def lowered(net, scheme="flightnn", terms=None):
    params, stats, ranges = variables_of(net)
    spec = schemes.find(scheme).spec(params)
    return lower(net, params, spec, stats, ranges, affine_terms=terms)


def images_of(net, count=4):
    return np.random.default_rng(1).integers(0, 256, (count, *net.input_shape), np.uint8)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("net", [VGG, RESNET], ids=["vgg", "resnet"])
def test_weights_are_those_that_training_used(net, scheme):
    params, _, _ = variables_of(net)
    trained = quantize_params(params, schemes.find(scheme).spec(params))
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


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("net", [VGG, RESNET], ids=["vgg", "resnet"])
def test_every_activation_is_what_training_rounds(net, scheme):
    """Layer by layer from the integers' own inputs; a tie may fall to the other side."""
    network = lowered(net, scheme)
    variables = variables_of(net)
    images = images_of(net)
    outputs = {k: np.asarray(v) for k, v in floating.function_of(network)(images).items()}
    integers = {"image": images.astype(int) - 128, **outputs}
    compared = 0
    for layer in network.layers:
        if isinstance(layer, Convolution | Add) and outputs[layer.name].dtype == np.int8:
            wanted = in_float64(net, network, layer.name, integers, *variables)
            difference = np.abs(outputs[layer.name] - wanted)
            assert difference.max() <= 1
            assert np.mean(difference) < 0.03  # multipliers have 8 bits and more
            assert np.unique(wanted).size > 30
            compared += 1
    assert compared == {"net4": 4, "small": 5}[net.name]


def test_average_and_dense_are_exact():
    network = lowered(RESNET)
    params, _, ranges = variables_of(RESNET)
    outputs = floating.function_of(network)(images_of(RESNET))
    outputs = {k: np.asarray(v) for k, v in outputs.items()}
    layers = {layer.name: layer for layer in network.layers}
    mean = outputs["block2"].astype(float).mean((1, 2)) * 2.0 ** layers["block2"].exponent
    step = 2.0 ** int(activation_exponent(np.float32(ranges["average"])))
    rounded = np.clip(np.rint(mean / step), -128, 127)  # float64 holds all of this
    assert_array_equal(outputs["average"], rounded)
    trained = quantize_params(params, schemes.find("flightnn").spec(params))["dense"]
    logits = rounded * step @ np.asarray(trained["kernel"], np.float64)
    logits = logits + np.asarray(trained["bias"])
    found = outputs["dense"] * 2.0**network.output_exponent
    assert np.abs(found - logits).max() <= 2.0 ** (network.output_exponent - 1)  # of the bias


@pytest.mark.parametrize("name", networks.NAMES)
@pytest.mark.parametrize("scheme", ["flightnn", "fp4"])
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


def test_signed_powers_are_nearest():
    x = np.random.default_rng(0).normal(size=500) * 1000
    powers = np.array([s * 2.0**e for e in range(16) for s in (-1, 1)] + [0.0])
    nearest = np.abs(x[:, None] - powers).min(axis=1)
    found = affine.signed_powers(x, 1)
    assert np.isin(found, powers).all()
    assert_array_equal(np.abs(found - x), nearest)
    both = affine.signed_powers(x, 2)
    assert np.isin(both - found, powers).all()
    assert np.all(np.abs(both - x) <= nearest)


def line(factor, offset, middle=0.0):
    return affine.Line(*(np.array([x], np.float64) for x in (factor, offset, middle)))


@pytest.mark.parametrize("factor", [0.0, 1e-9, 3e-4, -0.3, 0.77, 900.0, -32768.0])
@pytest.mark.parametrize("offset", [0.0, 0.5, -1234.5, 3e6])
def test_shifts_are_as_large_as_their_limits_allow(factor, offset):
    found = affine.largest(affine.fits(line(factor, offset), 19, None, 1 << 29))
    expected = max(
        s
        for s in range(20)
        if abs(round(factor * 2**s)) <= 2**15 and abs(round(offset * 2**s)) <= 2**29
    )
    assert found.tolist() == [expected]


def test_rounding_a_multiplier_leaves_the_mean_where_it_is():
    """acc = 1000 on average: 3/4 acc - 700 becomes a power of two that is equal there."""
    multiplier, bias = affine.integers_at(line(0.7, -650.0, 1000.0), np.array([4]), terms=1)
    assert multiplier.tolist() == [8.0]  # 0.7 * 16 = 11.2
    assert (multiplier * 1000 + bias).tolist() == [800.0]  # (700 - 650) * 16
    assert affine.integers_at(line(0.7, -650.0), np.array([4]), None)[1].tolist() == [-10400.0]


@pytest.mark.parametrize("multiplier", [0, 1, -1, 7, -7, 300, -300])
@pytest.mark.parametrize("bias", [0, 99, -99])
@pytest.mark.parametrize("ends", [(-5000, 5000), (100, 200), (-3, -2)])
def test_a_clip_leaves_what_is_within_the_limit(multiplier, bias, ends):
    limit = 1000
    acc = Range(*(np.array([end]) for end in ends))
    found = affine.clipped(np.array([multiplier]), np.array([bias]), acc, limit)
    for value in range(ends[0], ends[1] + 1):
        v = value * multiplier + bias
        clip = min(max(value, int(found.low[0])), int(found.high[0]))
        if abs(v) <= limit:
            assert clip == value
        else:  # saturated, on the same side
            w = clip * multiplier + bias
            assert abs(w) <= limit
            assert limit - abs(multiplier) < abs(w)
            assert (w > 0) == (v > 0)


def activated(v, shift, slope=3):
    n = shift if v >= 0 else shift + slope
    return int(np.clip(np.rint(v / 2**n), -128, 127))


@pytest.mark.parametrize(
    ("factor", "offset"),
    [
        (1e5, 0.0),
        (1e5, 30.0),
        (-7e6, 3.5e7),
        (1e9, -2e12),
        (40000.0, 2e9),
        (1e5, 1e12),
        (0.5, 1e12),
        (3.0, -1e10),
    ],
)
def test_what_saturates_everywhere_but_at_one_sum_is_exact(factor, offset):
    acc = Range(np.array([-5000]), np.array([5000]))
    multiplier, bias, good = affine.saturating(line(factor, offset), acc, 3)
    assert good.tolist() == [True]
    for value in range(-5000, 5001):
        exact = factor * value + offset
        wanted = np.clip(np.rint(exact if exact >= 0 else exact / 8), -128, 127)
        assert activated(int(multiplier[0] * value + bias[0]), 0) == wanted


def test_what_is_out_of_reach_is_refused():
    acc = Range(np.array([-(10**6)]), np.array([10**6]))
    assert not affine.saturating(line(1000.0, -6e8), acc, 3)[2].any()
    assert not affine.saturating(line(1e5, -9e10), acc, 3)[2].any()


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
    params, stats, ranges = variables_of(VGG)
    tree = {"params": params, "stats": stats}[where]
    tree["conv2"][part] = tree["conv2"][part].at[1].set(value)
    network = lower(VGG, params, schemes.find("lightnn2").spec(params), stats, ranges)
    images = images_of(VGG)
    outputs = {k: np.asarray(v) for k, v in floating.function_of(network)(images).items()}
    wanted = in_float64(VGG, network, "conv2", outputs, params, stats, ranges)
    difference = np.abs(outputs["conv2"] - wanted)
    assert difference.max() <= 1
    assert difference.mean() < 0.03


def test_an_empty_filter_gives_its_bias():
    params, stats, ranges = variables_of(VGG)
    spec = schemes.find("flightnn").spec(params, per="filter")
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
    outputs = {k: np.asarray(v) for k, v in floating.function_of(network)(images).items()}
    wanted = in_float64(VGG, network, "conv2", outputs, params, stats, ranges)
    assert_array_equal(outputs["conv2"][..., 3], wanted[..., 3])


def test_the_integers_answer_as_the_model_does():
    params, stats, ranges = variables_of(RESNET)
    spec = schemes.find("lightnn2").spec(params)
    network = lower(RESNET, params, spec, stats, ranges)
    images = images_of(RESNET, 32)
    variables = {
        "params": quantize_params(params, spec),
        "batch_stats": stats,
        "ranges": jax.tree.map(jnp.float32, ranges),
    }
    wanted = np.asarray(Model(RESNET).apply(variables, jnp.asarray(images)))
    found = (
        np.asarray(floating.function_of(network)(images)["dense"]) * 2.0**network.output_exponent
    )
    assert np.abs(found - wanted).max() < 0.05 * np.abs(wanted).max()


def refused(message, net=VGG, spec=None, ranges=None, stats=None, **options):
    params, own_stats, own_ranges = variables_of(net)
    spec = make_spec(params, Shift(k=2)) if spec is None else make_spec(params, spec)
    with pytest.raises(LoweringError, match=message):
        lower(net, params, spec, stats or own_stats, ranges or own_ranges, **options)


REFUSED = {
    "float": (schemes.find("full").weights, "conv1: weights that are .*Array.*, not Shift"),
    "flush": (Shift(k=1, window=Window(width=7, below="flush")), "conv1: terms with 7 exponents"),
    "wide": (Shift(k=1, window=Window(width=9)), "conv1: terms with 9 exponents and 'clamp'"),
    "no window": (Shift(k=1, window=None), "conv1: terms with no window: a term of 4 bits"),
    "eight bits": (FixedPoint(bits=8), "conv1: fixed-point weights of 8 bits"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_integers_is_refused_by_name(name):
    fmt, message = REFUSED[name]
    params, stats, ranges = variables_of(VGG)
    spec = {
        layer: {part: fmt if part == "kernel" else None for part in arrays}
        for layer, arrays in params.items()
    }
    with pytest.raises(LoweringError, match=message):
        lower(VGG, params, spec, stats, ranges)


def test_other_filters_are_refused():
    with pytest.raises(LoweringError, match="conv1: filter_axis=0 of 2 axes: filters are the last"):
        kernels.integer_weights("conv1", Shift(k=1, filter_axis=0).encode(jnp.ones((2, 3))))


def test_other_activations_are_refused():
    refused("activations of float bits: integer networks have 8", activation_bits=None)
    refused("activations of 4 bits", activation_bits=4)
    refused("conv1: it has no activation range", ranges={"conv2": 1.0})


def test_other_slopes_and_orders_are_refused():
    steep = networks.network("net4", width=8, input_shape=(8, 8, 3), slope_exponent=-8)
    refused("slope_exponent=-8: a leaky ReLU's shift is 1 to 7", net=steep)
    layers = (Conv(4), GlobalAverage(), networks.Dense(6), networks.Dense(5))
    refused("dense: it stands behind dense|twice", net=Network("two", (8, 8, 3), 5, layers))


def test_ranges_that_were_never_measured_are_refused():
    _, _, ranges = variables_of(RESNET)
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
    _, stats, _ = variables_of(VGG)
    stats["conv3"]["mean"] = stats["conv3"]["mean"].at[0].set(jnp.inf)
    refused("conv3: batch norm's statistics are not finite", stats=stats)


def test_terms_below_the_largest_weight_are_shifts():
    codes = Shift(k=2).encode(jnp.array([[1.0, 0.75], [0.0, -(2.0**-7)]]))
    weights = kernels.integer_weights("dense", codes)
    assert isinstance(weights, ShiftWeights)
    assert weights.integers().tolist() == [[128, 96], [0, -1]]
    assert int(weights.shift.max()) == 7
