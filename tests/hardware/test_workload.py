"""What is costed: shapes, formats, the k of filters, the bits of sums, and bad input."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flightnn_jax import networks, schemes
from flightnn_jax.hardware import arithmetic, estimate
from flightnn_jax.hardware.arithmetic import KINDS
from flightnn_jax.hardware.device import named
from flightnn_jax.hardware.records import Design
from flightnn_jax.hardware.workload import LayerWork, Workload, from_integers, from_network, spread
from flightnn_jax.integer import Average, Dense, IntegerNetworkError, MaxPool, certificate
from flightnn_jax.integer import kinds as weights_of_integers
from tests.support.networks_at_random import WEIGHTS, random_network, with_layer

check = settings(deadline=None, derandomize=True, database=None)

LAYER = LayerWork("conv1", (3, 3, 4, 2), 1, (8, 8, 4), (8, 8, 2), "shift", (1, 2), 24, 4)


def test_a_layer_with_a_pencil():
    assert (LAYER.filters, LAYER.taps, LAYER.positions) == (2, 36, 64)
    assert LAYER.multiplications == 36 * 64 * 2
    assert (LAYER.terms, LAYER.mean_k, LAYER.operations) == (3, 1.5, 36 * 64 * 3)
    assert LAYER.weight_bits == 4 * (36 * 1 + 36 * 2)
    assert LAYER.map_bits == 8 * (256 + 128)


@pytest.mark.parametrize("name", networks.NAMES)
@pytest.mark.parametrize(("scheme", "bits"), [("full", 32), ("fp4", 4), ("lightnn1", 4)])
def test_layers_are_those_of_the_network(name, scheme, bits):
    net = networks.network(name)
    work = from_network(name, scheme)
    assert [x.name for x in work.layers] == [s.name for s in networks.walk_weights(net)]
    for layer, step in zip(work.layers, networks.walk_weights(net), strict=True):
        assert layer.multiplications == step.multiplications
        assert layer.kernel_shape == step.kernel_shape
    assert sum(x.weight_bits for x in work.layers) == networks.weight_storage_bits(net, bits)
    assert work == from_network(net, scheme)


def test_the_largest_layer_is_the_papers():
    largest = {name: from_network(name, "lightnn1").largest().layers[0] for name in networks.NAMES}
    assert {name: layer.filters for name, layer in largest.items()} == {
        "net1": 64, "net2": 128, "net3": 512, "net4": 64,
        "net5": 128, "net6": 128, "net7": 256, "net8": 256,
    }  # fmt: skip
    assert largest["net7"].kernel_shape == (3, 3, 256, 256)
    assert largest["net7"].multiplications == 256 * 256 * 9 * 16
    assert largest["net2"].kernel_shape == largest["net6"].kernel_shape == (3, 3, 128, 128)


@pytest.mark.parametrize("name", ["net1", "net7", "net8"])
def test_lightnns_are_flightnns_of_one_k(name):
    for scheme, k in (("lightnn1", 1), ("lightnn2", 2)):
        fixed, flexible = from_network(name, scheme), from_network(name, "flightnn", mean_k=k)
        assert fixed.layers == flexible.layers
        assert fixed.mean_k == k


@check
@given(st.floats(0, 2), st.integers(1, 600))
def test_spread_keeps_the_mean(mean, filters):
    k = spread(mean, filters)
    assert len(k) == filters
    assert abs(sum(k) - mean * filters) <= 0.5 + 1e-9
    assert set(k) <= {math.floor(mean), math.ceil(mean)}
    # Every part of the filters has the mean too, as near as integers allow.
    sums = np.cumsum(k) - mean * np.arange(1, filters + 1)
    assert np.abs(sums).max() <= 0.5 + 1e-9


@check
@given(st.integers(1, 40), st.integers(1, 3))
def test_no_input_overflows_the_worst_accumulator(taps, k):
    # The largest magnitude: all activations -128, all terms the largest power, 2**7.
    largest = taps * k * 128 * 128
    bits = KINDS["shift"].accumulator_bits(taps, k)
    assert -(2 ** (bits - 1)) <= -largest
    assert largest <= 2 ** (bits - 1) - 1 < 2 * largest
    four_bits = KINDS["fp4"].accumulator_bits(taps)
    assert taps * 128 * 8 <= 2 ** (four_bits - 1) - 1 < 2 * taps * 128 * 8


def test_k_of_each_filter():
    shapes = [x.filters for x in from_network("net4", "lightnn1").layers]
    k = [[i % 3 for i in range(filters)] for filters in shapes]
    work = from_network("net4", "flightnn", k=k)
    assert [layer.k for layer in work.layers] == [tuple(row) for row in k]
    assert work.mean_k == sum(map(sum, k)) / sum(shapes)


@pytest.mark.parametrize("mean_k", [-0.01, 2.01, math.nan])
def test_mean_k_outside_the_range(mean_k):
    with pytest.raises(ValueError, match=r"mean_k=.* is outside 0 to 2"):
        from_network("net1", "flightnn", mean_k=mean_k)


@pytest.mark.parametrize(("field", "value", "message"), [
    ("k", (1, 4), "k=4 of a filter is outside 0 to 3"),
    ("k", (1, -1), "k=-1 of a filter is outside 0 to 3"),
    ("k", (1,), "1 values of k for 2 filters"),
    ("format", "int3", "format 'int3' is unknown: choose one of full, fp4, shift"),
    ("kernel_shape", (3, 3, 2), "kernel_shape"),
    ("kernel_shape", (3, 0, 4, 2), "kernel_shape"),
    ("accumulator_bits", 0, "must be at least 1"),
    ("stride", 0, "must be at least 1"),
])  # fmt: skip
def test_bad_layers(field, value, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(LAYER, **{field: value})


def test_only_shifts_have_k():
    with pytest.raises(ValueError, match="k=2 of a filter is outside 1 to 1"):
        dataclasses.replace(LAYER, format="fp4")


def test_bad_networks():
    with pytest.raises(ValueError, match="scheme 'lightnn3' is unknown: choose one of full, fp4"):
        from_network("net1", "lightnn3")
    with pytest.raises(ValueError, match="its k is learned"):
        from_network("net1", "flightnn")
    with pytest.raises(ValueError, match="the scheme lightnn1 fixes them"):
        from_network("net1", "lightnn1", mean_k=1.0)
    with pytest.raises(ValueError, match="1 rows of k for 7 layers"):
        from_network("net1", "flightnn", k=[[1] * 16])
    with pytest.raises(ValueError, match="conv1: k=3 of a filter is outside"):
        dataclasses.replace(LAYER, format="fp4", k=(3, 1))
    with pytest.raises(ValueError, match="none: no layer has weights"):
        Workload("none", "lightnn1", ())


def test_every_kind_of_weights_has_a_row():
    for scheme in schemes.SCHEMES:
        bits = scheme.weights.bits if scheme.weights else 32
        assert arithmetic.of(scheme.weights).bits in (bits, None)
    for kind, weights in weights_of_integers.KINDS.items():
        assert arithmetic.of_integers(weights.kind).integers == kind
    with pytest.raises(ValueError, match=r"kind='fixed', bits=3.*fixed of 4 bits.*add a row"):
        arithmetic.of(schemes.Weights("fixed", 3))
    with pytest.raises(ValueError, match="kind 'table': hardware models know integer, shift"):
        arithmetic.of_integers("table")


def test_every_layer_has_its_own_format():
    four = dataclasses.replace(LAYER, name="conv2", format="fp4", k=(1, 1))
    work, board = Workload("two", "mixed", (LAYER, four)), named("XC7Z045")
    for style in ("engine", "hardwired"):
        both = estimate.estimate(work, board, style)
        for layer, cost in zip(work.layers, both.layers, strict=True):
            alone = Workload("one", "mixed", (layer,))
            (own,) = estimate.estimate(alone, board, style).layers
            assert own.energy_nj == cost.energy_nj
            if style == "hardwired":
                assert own == cost
                assert own.resources["DSP"].value == 2  # of affine maps
    # One multiplies in the affine map; of 4-bit weights each lane has another.
    built = estimate.estimate(work, board, "engine", design=Design(4, 1, (1, 1)))
    assert [cost.resources["DSP"].value for cost in built.layers] == [1, 1 + 2]
    message = r"two: layers in the formats \['fp4', 'shift'\]; the paper's arrays have elements"
    with pytest.raises(ValueError, match=message):
        estimate.estimate(work, board)


def test_strides_reach_the_records():
    layers = {x.name: x for x in from_network("net8", "lightnn1").layers}
    assert layers["conv1"].stride == layers["block2_first"].stride == 2
    assert layers["block2_second"].stride == layers["dense"].stride == 1
    for name, layer in layers.items():
        if len(layer.kernel_shape) == 4:
            sides = zip(layer.input_shape[:2], layer.output_shape[:2], strict=True)
            assert all(-(-a // layer.stride) == b for a, b in sides), name
    assert not set(itertools.chain(*(x.k for x in layers.values()))) - {1}


def uniform(network, k):
    """The network with k terms in every filter: ones without a shift, certified anew."""
    layers = []
    for layer in network.layers:
        if isinstance(layer, Average | MaxPool):
            layers.append(layer)
            continue
        shape = (k, *layer.weights.shape)
        weights = dataclasses.replace(
            layer.weights,
            sign=np.ones(shape, np.int8),
            shift=np.zeros(shape, np.uint8),
            k=np.full(shape[-1], k, np.uint8),
        )
        layers.append(dataclasses.replace(layer, weights=weights))
    return certificate.certified(dataclasses.replace(network, layers=tuple(layers)))


@pytest.mark.parametrize("weights", WEIGHTS)
def test_artefacts_bring_shapes_k_and_widths(weights):
    network = random_network(1, "resnet", weights, size=16)
    work = from_integers(network)
    by_hand = {  # kernel, stride, input, output; the stem halves, then a pool, then block 2
        "conv1": ((7, 7, 3, 4), 2, (16, 16, 3), (8, 8, 4)),
        "block1_first": ((3, 3, 4, 4), 1, (4, 4, 4), (4, 4, 4)),
        "block1_second": ((3, 3, 4, 4), 1, (4, 4, 4), (4, 4, 4)),
        "block2_first": ((3, 3, 4, 8), 2, (4, 4, 4), (2, 2, 8)),
        "block2_second": ((3, 3, 8, 8), 1, (2, 2, 8), (2, 2, 8)),
        "block2_shortcut": ((1, 1, 4, 8), 2, (4, 4, 4), (2, 2, 8)),
        "dense": ((8, 5), 1, (8,), (5,)),
    }
    assert [layer.name for layer in work.layers] == list(by_hand)
    stored = {layer.name: layer for layer in network.layers}
    for layer in work.layers:
        shapes = (layer.kernel_shape, layer.stride, layer.input_shape, layer.output_shape)
        assert shapes == by_hand[layer.name]
        own = stored[layer.name].weights
        if weights == "integer":
            assert (layer.format, set(layer.k)) == ("fp4", {1})
            sizes = np.abs(own.value.astype(int))
        else:
            assert layer.format == "shift"
            assert list(layer.k) == [int(k) for k in own.k]
            terms = np.abs(own.sign.astype(int)) * 2 ** own.shift.astype(int)
            sizes = terms.sum(axis=0)
        # The widest filter's partial sums as two's complement holds them: at most its magnitudes
        # times 128, and less where the layers before do not reach as far.
        most = stored[layer.name].certificate[:, 2].max()
        assert layer.accumulator_bits == int(most).bit_length() + 1
        assert most <= 128 * sizes.reshape(-1, layer.filters).sum(axis=0).max()
        worst = layer.arithmetic.accumulator_bits(layer.taps, max(layer.k))
        assert layer.accumulator_bits <= worst
    assert work.name == "random_resnet"
    assert work.scheme == ("fp4" if weights == "integer" else "flightnn")


def test_a_table_of_levels_is_stored_too():
    network = random_network(1, "vgg", "codebook")
    for layer, stored in zip(from_integers(network).layers, network.weighted, strict=True):
        levels = len(stored.weights.levels)
        bits = max(1, math.ceil(math.log2(levels)))
        assert layer.weight_bits == bits * stored.weights.index.size + 8 * levels
    planned = from_network("net4", "table40").layers
    assert {(layer.bits, layer.shared_bits) for layer in planned} == {(3, 40)}
    assert [layer.activations for layer in planned] == [(-128, 127), (0, 7), (0, 7), (0, 7)]


@pytest.mark.parametrize(("k", "scheme"), [(1, "lightnn1"), (2, "lightnn2"), (3, "flightnn")])
def test_the_scheme_is_read_off_the_weights(k, scheme):
    work = from_integers(uniform(random_network(weights="shift1"), k))
    assert (work.scheme, work.mean_k) == (scheme, k)


def test_artefacts_are_costed_as_networks_are():
    artefact = from_integers(uniform(random_network(weights="shift1"), 1))
    board = named("XC7Z045")
    planned = Workload("x", "lightnn1", tuple(
        dataclasses.replace(x, accumulator_bits=20) for x in artefact.layers
    ))  # fmt: skip
    for style in ("array", "engine", "hardwired"):
        costs, other = (estimate.estimate(w, board, style) for w in (artefact, planned))
        assert costs.cycles.value == other.cycles.value
    assert estimate.as_lightnn1(artefact).layers[0].k == (1,) * 4


def test_certificates_that_do_not_check():
    network = random_network()
    assert from_integers(network).layers
    wrong = network.layers[0].certificate.copy()
    wrong[2, 3] -= 1
    message = r"conv1: the certificate says acc_width=\d+ of filter 2, .*: make it anew with"
    with pytest.raises(IntegerNetworkError, match=message):
        from_integers(with_layer(network, "conv1", certificate=wrong))
    heavier = network.layers[0].weights
    heavier = dataclasses.replace(heavier, shift=np.where(heavier.sign != 0, 7, 0).astype(np.uint8))
    with pytest.raises(IntegerNetworkError, match="the certificate says"):
        from_integers(with_layer(network, "conv1", weights=heavier))


def test_artefacts_without_weights_or_of_two_kinds():
    network = random_network()
    bare = dataclasses.replace(
        network,
        layers=(Average("average", "image", None, -9),),
        labels=("red", "green", "blue"),
    )
    with pytest.raises(ValueError, match="random_vgg: no layer has weights"):
        from_integers(bare)
    shifts, integers = (random_network(2, "resnet", weights=w) for w in ("shift1", "integer"))
    layers = [
        other if isinstance(other, Dense) else layer
        for layer, other in zip(shifts.layers, integers.layers, strict=True)
    ]
    mixed = certificate.certified(dataclasses.replace(shifts, layers=tuple(layers)))
    work = from_integers(mixed)
    assert work.scheme == "mixed"
    assert [layer.format for layer in work.layers] == ["shift"] * (len(work.layers) - 1) + ["fp4"]
