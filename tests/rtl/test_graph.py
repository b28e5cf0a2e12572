"""Graphs of adders give the sums that the weights say, with costs a pencil can redo."""

import itertools

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from flightnn_jax.integer import certificate
from flightnn_jax.integer.certificate import Range
from flightnn_jax.rtl import graph as graphs
from flightnn_jax.rtl import sharing, wiring
from tests.rtl.layers import KINDS, any_of, weights_of
from tests.support import networks_at_random


def test_digits_are_the_weights_and_as_few_as_can_be():
    weights = np.arange(-1200, 1201)
    digits = sharing.digits(weights)
    places = np.arange(len(digits))[:, None]
    assert_array_equal((digits.astype(np.int64) << places).sum(axis=0), weights)
    assert not np.any(digits[1:] & digits[:-1])  # -1 and 1 are both odd
    # The fewest: no number is a sum of fewer powers of two.
    powers = [sign << i for i in range(12) for sign in (-1, 1)]
    two = {a + b for a, b in itertools.combinations_with_replacement(powers, 2)}
    count = np.abs(digits).sum(axis=0)
    assert_array_equal(weights[count == 1], sorted(p for p in powers if abs(p) <= 1200))
    assert set(weights[count == 2]) == (two - set(powers) - {0}) & set(weights)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [False, True])
def test_a_graph_gives_the_sums(kind, share):
    for seed, shape in enumerate([(1, 1), (9, 4), (27, 6), (5, 11)]):
        weights = weights_of(kind, shape, seed)
        inputs = any_of(shape[0], seed)
        graph = wiring.build(weights, inputs, share=share)
        x = np.random.default_rng(seed).integers(inputs.low, inputs.high + 1, (40, shape[0]))
        assert_array_equal(graphs.evaluate(graph, x), x @ weights)
        check(graph)


def check(graph):
    """The invariants that the records name."""
    read = [term for term in graph.outputs if term]
    for value, adder in enumerate(graph.adders, graph.taps):
        assert all(term.value < value for term in adder.terms)
        assert adder.level == 1 + max(graph.level(term.value) for term in adder.terms)
        negative = [term.negative for term in adder.terms]
        assert adder.terms[0].shift == 0
        assert negative == [True] or (len(negative) == 2 and sum(negative) < 2)
        read += adder.terms
    assert {term.value for term in read} >= set(range(graph.taps, len(graph.ranges.low)))
    assert len(set(graph.adders)) == len(graph.adders)
    assert not any(term.negative for term in graph.outputs if term)


def test_ranges_are_what_values_can_be():
    # the last two never change
    inputs = Range(np.array([-128, -3, 0, -128, 127]), np.array([127, 5, 100, -128, 127]))
    weights = weights_of("integer", (5, 6), 3)
    weights[:, 0] = 0, 0, 0, -1, -1
    graph = wiring.build(weights, inputs)
    corners = np.array(list(itertools.product(*zip(*inputs, strict=True))))
    every = graphs.Graph(
        graph.ranges, graph.adders, tuple(map(whole, range(5, 5 + len(graph.adders))))
    )
    values = np.concatenate([corners, graphs.evaluate(every, corners)], axis=1)
    assert_array_equal(graph.ranges.low, values.min(axis=0))
    assert_array_equal(graph.ranges.high, values.max(axis=0))
    for value, (low, high) in enumerate(zip(*graph.ranges, strict=True)):
        sign, bits = graph.signed(value), graph.width(value)
        fewest = next(n for n in range(1, 20) if -(sign << n >> 1) <= low and high < 1 << n - sign)
        assert (sign, bits) == (low < 0, fewest)


def whole(value):
    return graphs.Term(value, 0, False)


def test_sums_that_filters_share_are_there_once():
    inputs = Range(np.full(3, -128), np.full(3, 127))
    # x0 + 2 x1 stands in all three, once with a factor of 4 and once turned round; without
    # sharing the second filter adds its terms in the order of their shifts
    weights = np.array([[1, 4, -1], [2, 8, -2], [0, 1, 8]])
    shared, plain = (wiring.build(weights, inputs, share=share) for share in (True, False))
    assert (len(shared.adders), len(plain.adders)) == (3, 4)
    assert shared.outputs[0] == whole(3)


@pytest.mark.parametrize("kind", KINDS)
def test_sharing_saves_adders_in_groups_too(kind):
    weights, inputs = weights_of(kind, (36, 12), 0), any_of(36, 0)
    counts = [
        len(wiring.build(weights, inputs, share=share, max_pairs=pairs).adders)
        for share, pairs in ((True, 1 << 20), (True, 1 << 10), (False, 1))
    ]
    assert counts[0] < counts[1] < counts[2]


def test_pairs_of_one_input_with_itself_end():
    # 1 + 4 + 16 of one input: two pairs of the same kind, which share a term
    inputs = Range(np.array([-128, -128]), np.array([127, 127]))
    graph = wiring.build(np.array([[21], [1]]), inputs)
    x = np.array([[1, 2], [-128, 127]])
    assert_array_equal(graphs.evaluate(graph, x), x @ [[21], [1]])
    assert len(graph.adders) == 3


def test_a_sum_of_subtractions_is_negated_in_place():
    inputs = Range(np.full(4, -128), np.full(4, 127))
    weights = np.array([[-1, -1], [-1, 1], [-2, -2], [-4, -4]])
    graph = wiring.build(weights, inputs, share=False)
    negations = [adder for adder in graph.adders if len(adder.terms) == 1]
    assert len(negations) == 1  # of the first filter, which adds nothing
    assert len(graph.adders) == 6  # x2 + 2 x3 is in both
    x = np.array([[1, 2, 3, 4], [-128, 127, 5, -7]])
    assert_array_equal(graphs.evaluate(graph, x), x @ weights)


def layer(column, low=-128, high=127):
    column = np.array(column)[:, None]
    return wiring.build(column, Range(np.full(len(column), low), np.full(len(column), high)))


@pytest.mark.parametrize(
    ("column", "low", "lut", "ff"),
    [
        # 8 bits each; the ninth of the sum adds both signs once more: no table of its own
        ([1, 1], -128, 8, 9),
        # the lowest bit of x0 is a wire; x1 ends one above the sign of x0
        ([1, 2], -128, 8, 10),
        # x1 stands above x0, whose sign goes on
        ([1, 256], -128, 8, 16 + 1),
        # without signs nothing goes on: the high bits are those of x1
        ([1, 128], 0, 0, 14),
        ([1, -1], -128, 8, 9),
        # two inverters less: the lowest bits of x0 are wires
        ([1, -4], -128, 8, 11),
        # eight inverters
        ([-1], -128, 8, 9),
        ([1], -128, 0, 8),
        ([0], -128, 0, 0),
    ],
)
def test_costs_by_pencil(column, low, lut, ff):
    assert graphs.cost(layer(column, low)) == (lut, ff, 0)


def test_registers_behind_every_level_or_some():
    # three levels, 10 to 11 bits: x0 waits for two levels of the others
    graph = layer([1, 1, 1, 1, 1])
    assert graph.depth == 3
    assert [graphs.schedule(graph, every).latency for every in (0, 1, 2, 3)] == [0, 3, 2, 1]
    # 9 + 9 behind the first level, 10 behind the second, 11 behind the third; 8 twice
    assert graphs.cost(graph) == graphs.Cost(8 + 8 + 9 + 10, 9 + 9 + 10 + 11 + 2 * 8, 0)
    assert graphs.cost(graph, 0).ff == 0
    assert graphs.cost(graph, 3).ff == 11
    with pytest.raises(ValueError, match="every=-1 levels: give 1 or more"):
        graphs.schedule(graph, -1)


def test_long_waits_become_tables():
    graph = layer([1] * 9)
    with_tables, without = graphs.cost(graph), graphs.cost(graph, shift_registers=False)
    assert with_tables.srl == 8  # the ninth input waits for three levels
    assert without == (with_tables.lut, with_tables.ff + 3 * 8, 0)


def test_the_wires_of_layers_are_their_weights_and_the_ranges_before_them():
    network = networks_at_random.random_network(3, "resnet", "shift2")
    bounds = certificate.bounds(network)
    wires = wiring.of_layer(network, "block1_first")
    weights = {layer.name: layer.weights for layer in network.weighted}["block1_first"].integers()
    low, high = bounds["pool1"].output
    for row, column, channel in np.ndindex(*weights.shape[:3]):
        tap = (row * weights.shape[1] + column) * weights.shape[2] + channel
        assert_array_equal(wires.weights[tap], weights[row, column, channel])
        ends = wires.inputs.low[tap], wires.inputs.high[tap]
        assert ends == (min(low[channel], 0), max(high[channel], 0))
    graph = wiring.build(*wires)
    ends = [(graph.ranges.low[t.value] << t.shift, graph.ranges.high[t.value] << t.shift)
            if t else (0, 0) for t in graph.outputs]  # fmt: skip
    assert_array_equal(np.transpose(ends), bounds["block1_first"].accumulators)
    # a single pixel has nothing around it
    assert_array_equal(wiring.of_layer(network, "dense").inputs, bounds["average"].output)
    with pytest.raises(ValueError, match=r"layer 'pool1' has no weights: choose one of conv1, "):
        wiring.of_layer(network, "pool1")
