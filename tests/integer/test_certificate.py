"""Proven bounds against brute force and numbers by hand."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from flightnn_jax.integer import (
    Add,
    Affine,
    Average,
    Convolution,
    Dense,
    Flatten,
    IntegerNetwork,
    IntegerNetworkError,
    IntegerWeights,
    MaxPool,
    ShiftWeights,
    certificate,
    digests,
    shapes,
)
from tests.support import brute_force
from tests.support.networks_at_random import (
    random_images,
    random_network,
    random_networks,
    with_layer,
)

NETWORKS = dict(random_networks())
NETWORKS["mobile"] = random_network(1, "mobile", "shift2", width=2)
COLUMN = {name: i for i, name in enumerate(certificate.COLUMNS)}


def widest(low, high):
    """The least n with low and high in -2**(n-1) .. 2**(n-1) - 1, by trying."""
    return next(n for n in range(1, 99) if -(2 ** (n - 1)) <= low and high <= 2 ** (n - 1) - 1)


def even(v, n):
    return round(Fraction(v, 2**n)) if n >= 0 else v * 2**-n


def ranges_by_hand(network):
    """The least and the largest output of each layer's channels, from the stored v of its rows."""
    full = (-128, 127)
    ranges = {"image": [full] * network.input_shape[-1]}
    shape_of = shapes.outputs(network)
    for layer in network.layers:
        if isinstance(layer, MaxPool):
            ranges[layer.name] = ranges[layer.input]
        elif isinstance(layer, Flatten):
            height, width, _ = shape_of[layer.input].shape
            ranges[layer.name] = list(ranges[layer.input]) * (height * width)
        elif isinstance(layer, Average):
            height, width, _ = shape_of[layer.input].shape
            ends = [[height * width * n for n in pair] for pair in ranges[layer.input]]
            if layer.shift is not None:
                ends = [[min(max(even(n, layer.shift), -128), 127) for n in pair] for pair in ends]
            ranges[layer.name] = ends
        else:
            at = 0 if isinstance(layer, Add) else 4
            ends = layer.certificate[:, at : at + 2].tolist()
            shift = getattr(layer, "shift", None)
            if shift is not None:
                ends = [
                    [min(max(even(n, int(s) + network.slope * (n < 0)), -128), 127) for n in pair]
                    for pair, s in zip(ends, shift, strict=True)
                ]
            ranges[layer.name] = ends
    return ranges


def by_hand(layer, given):
    """The rows of a layer with weights, filter by filter, in Python's own integers."""
    weights = layer.weights
    if isinstance(layer, Convolution) and layer.around > 0:
        given = [(min(low, 0), max(high, 0)) for low, high in given]
    own, groups = weights.shape[-2], getattr(layer, "groups", 1)
    for o in range(weights.shape[-1]):
        first = o * groups // weights.shape[-1] * own
        spans = [tuple(given[first + i % own]) for i in range(math.prod(weights.shape[:-1]))]
        if isinstance(weights, ShiftWeights):
            terms = [
                [
                    int(s) << int(e)
                    for s, e in zip(weights.sign[j, ..., o].flat, shifts.flat, strict=True)
                ]
                for j, shifts in enumerate(weights.shift[..., o])
            ]
            used = [
                int(weights.shift[at])
                for at in zip(*np.nonzero(weights.sign), strict=True)
                if at[-1] == o
            ]
        else:
            terms, used = [[int(w) for w in weights.value[..., o].flat]], []
        sums = [sum(column) for column in zip(*terms, strict=True)]
        acc = [
            sum(pick(low * w, high * w) for w, (low, high) in zip(sums, spans, strict=True))
            for pick in (min, max)
        ]
        pairs = [
            (term * low, term * high)
            for row in terms
            for term, (low, high) in zip(row, spans, strict=True)
        ]
        partial = max(sum(max(0, *pair) for pair in pairs), -sum(min(0, *pair) for pair in pairs))
        if isinstance(layer, Convolution):
            low, high, m, b = (
                int(x[o])
                for x in (
                    layer.affine.low,
                    layer.affine.high,
                    layer.affine.multiplier,
                    layer.affine.bias,
                )
            )
            v = [min(max(end, low), high) * m + b for end in acc]
        else:
            v = [end + int(layer.bias[o]) for end in acc]
        v = [min(v), max(v)]
        yield [
            *acc,
            partial,
            widest(-partial, partial),
            *v,
            widest(*v),
            int(partial < 2**24),
            min(used, default=0),
            max(used, default=0),
        ]


@pytest.mark.parametrize("name", NETWORKS)
def test_every_column_by_hand(name):
    network = NETWORKS[name]
    tables, ranges = certificate.tables(network), ranges_by_hand(network)
    kinds = set()
    for layer in network.layers:
        if isinstance(layer, Convolution | Dense):
            assert_array_equal(tables[layer.name], list(by_hand(layer, ranges[layer.input])))
            assert_array_equal(layer.certificate, tables[layer.name])
            kinds.add(type(layer))
    assert kinds == ({Convolution} if "vgg" in name else {Convolution, Dense})


def test_the_bounds_are_reached_and_never_passed():
    """All inputs of -128, 0 and 127 of a small filter, all orders of its terms."""
    weights = ShiftWeights(
        np.array([[[1], [-1], [1]], [[-1], [-1], [1]]], np.int8),
        np.array([[[7], [2], [0]], [[1], [3], [0]]], np.uint8),
        np.array([2], np.uint8),
    )
    bias = np.array([-5], np.int32)
    (row,) = certificate.of_dense(weights, bias)
    w = [2**7 - 2**1, -(2**2) - 2**3, 1 + 1]
    assert weights.integers().ravel().tolist() == w
    sums = [np.dot(w, x) for x in itertools.product((-128, 0, 127), repeat=3)]
    assert (row[COLUMN["acc_min"]], row[COLUMN["acc_max"]]) == (min(sums), max(sums))
    assert (row[COLUMN["v_min"]], row[COLUMN["v_max"]]) == (min(sums) - 5, max(sums) - 5)
    terms = [2**7, -(2**1), -(2**2), -(2**3), 1, 1]
    partials = {
        abs(sum(t * x for t, x in zip(order, (-128,) * 6, strict=True)))
        for n in range(7)
        for order in itertools.combinations([abs(t) for t in terms], n)
        for order in [list(order) + [0] * (6 - n)]
    }
    assert row[COLUMN["partial"]] == max(partials)
    assert (row[COLUMN["shift_min"]], row[COLUMN["shift_max"]]) == (0, 7)


@pytest.mark.parametrize(
    ("low", "high"),
    [(0, 0), (-1, 0), (0, 1), (-2, 1), (-128, 127), (-129, 0), (0, 128), (-(2**31), 2**31 - 1)],
)
def test_widths(low, high):
    widths = certificate.width(certificate.Range(np.array([low]), np.array([high])))
    assert widths.tolist() == [widest(low, high)]


def test_float_exactness_ends_at_two_to_the_24():
    exact, not_exact = (IntegerWeights(np.array([[-8]] * 16383 + [[w]], np.int8)) for w in (-7, -8))
    column = COLUMN["float_exact"]
    assert certificate.of_dense(exact, np.zeros(1, np.int32))[0, column] == 1
    assert certificate.partial_sums(not_exact).tolist() == [2**24]
    assert certificate.of_dense(not_exact, np.zeros(1, np.int32))[0, column] == 0


def test_a_clip_narrows_v():
    weights = IntegerWeights(np.full((1, 1, 1, 2), 7, np.int8))
    fields = [[10, -10], [3, 3], [-100, -100], [50, 50]]
    affine = Affine(*(np.array(field, np.int32) for field in fields))
    table = certificate.of_convolution(weights, affine)
    v = [COLUMN["v_min"], COLUMN["v_max"]]
    assert table[:, v].tolist() == [[-997, 503], [-497, 1003]]
    assert table[:, :2].tolist() == [[-896, 889]] * 2


@pytest.mark.parametrize("name", [name for name in NETWORKS if "resnet" in name])
def test_adds_by_hand(name):
    network = NETWORKS[name]
    ranges = ranges_by_hand(network)
    for layer in network.layers:
        if not isinstance(layer, Add):
            continue
        for o, row in enumerate(layer.certificate.tolist()):
            low = high = 0
            for source, lift in zip(layer.inputs, layer.lift, strict=True):
                ends = ranges[source][o]
                shift = 0 if lift is None else int(lift[o])
                low, high = low + (ends[0] << shift), high + (ends[1] << shift)
            assert row == [low, high, widest(low, high)]


def test_what_does_not_fit_cannot_be_certified():
    network = random_network()
    affine = network.layers[0].affine
    huge = Affine(np.full_like(affine.bias, 1 << 30), affine.bias, affine.low, affine.high)
    with pytest.raises(
        IntegerNetworkError, match=r"conv1: its certificate goes from .* 32 bits hold"
    ):
        certificate.certified(with_layer(network, "conv1", affine=huge))


def test_bounds_are_of_what_comes_before():
    """A filter whose input is 0 to 127 in one channel, and 5 in the other: by hand."""
    first, second = (IntegerWeights(np.array(w, np.int8)) for w in ([[[[1, 0]]]], [[[[3], [-2]]]]))
    parts = [np.array(part, np.int32) for part in ([1, 1], [0, 5], [0, 0], [127, 0])]
    one, none = np.ones(1, np.int32), np.zeros((2, 10), np.int32)
    through = Affine(one, 0 * one, -9999 * one, 9999 * one)
    layers = (
        Convolution("first", "image", 1, first, 0, Affine(*parts), np.zeros(2, np.uint8), 0, none),
        Convolution("second", "first", 1, second, 0, through, None, 0, none[:1]),
        Add(
            "twice", ("first", "first"), (np.ones(2, np.uint8),) * 2, np.ones(2, np.uint8), 0, none
        ),
        Average("average", "twice", None, 0),
    )
    network = IntegerNetwork("by_hand", (2, 2, 1), layers, 3, None, 0, ("a", "b"), {}, None)
    deep = {name: proven.table.tolist() for name, proven in certificate.bounds(network).items()}
    assert deep["first"][0][:7] == [-128, 127, 128, 9, 0, 127, 8]
    assert deep["second"] == [[-10, 371, 381, 10, -10, 371, 10, 1, 0, 0]]
    assert deep["twice"] == [[0, 508, 10], [20, 20, 6]]
    assert deep["average"] == [[0, 508, 10], [40, 40, 7]]
    shallow = certificate.bounds(network, version=1)
    assert shallow["second"].table.tolist() == [[-638, 637, 640, 11, -638, 637, 11, 1, 0, 0]]
    assert shallow["twice"].table.tolist() == [[-512, 508, 10]] * 2
    assert shallow["average"].table.tolist() == [[-512, 508, 10]] * 2


@pytest.mark.parametrize("name", NETWORKS)
def test_no_image_passes_the_bounds(name):
    """Of noise and extremes: every output, and every v that an output is made of."""
    network = digests.with_sums(NETWORKS[name])
    proven = certificate.bounds(network)
    for layer, values in brute_force.layer_outputs(network, random_images(network, 4)).items():
        low, high = proven[layer].output
        assert np.all(low <= values), layer
        assert np.all(values <= high), layer
    shallow = certificate.tables(network, version=1)
    for layer, table in certificate.tables(network).items():
        at = certificate.COLUMNS.index("partial") if table.shape[1] == 10 else 2
        assert np.all(table[:, at] <= shallow[layer][:, at])
