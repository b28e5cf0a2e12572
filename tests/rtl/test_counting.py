"""Wires of signs that are counted: the sums of the weights, proven, and no wrong one."""

import collections
import itertools
import shutil

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from flightnn_jax import rtl
from flightnn_jax.integer import certificate
from flightnn_jax.integer.certificate import Range
from flightnn_jax.rtl import affine, certify, counting, hardwired, netlist, wiring
from flightnn_jax.rtl import graph as graphs
from flightnn_jax.rtl.architecture import Wired
from tests.rtl import machines, mutants
from tests.rtl.layers import needs
from tests.support.networks_at_random import of_signs, of_two_signs, random_network

BITS = 12
SHAPES = [(3, 2, 5), (3, 4, 9), (1, 13, 4), (5, 1, 3), (3, 1, 1)]  # window, channels, filters


def weights_of(size, channels, filters, seed=0):
    """[taps, filters] of -1, 1 and some 0; the last of several filters is empty."""
    rng = np.random.default_rng((seed, size, channels))
    weights = rng.choice([-1, -1, -1, 1, 1, 1, 0], (size**2 * channels, filters))
    weights[:, -1] *= filters == 1
    return weights


def integers_of(size, channels, filters):
    """[taps, filters] of 4 bits, those of a filter even and of one 0."""
    rng = np.random.default_rng(7)
    weights = rng.integers(-8, 8, (size**2 * channels, filters))
    weights[:, 0] &= -2
    weights[:, -1] *= filters == 1
    return weights


def windows(size, channels, seed=0):
    """[windows, size, size, channels] of maps of 1x1 to 5x4 pixels of -1 and 1, zeros around."""
    rng = np.random.default_rng(seed)
    half, found = size // 2, []
    for height, width in [(1, 1), (2, 1), (1, 3), (3, 2), (5, 4), (4, 5)]:
        signs = rng.choice([-1, 1], (height, width, channels))
        padded = np.pad(signs, ((half, half), (half, half), (0, 0)))
        found += [
            padded[y : y + size, x : x + size]
            for y, x in itertools.product(range(height), range(width))
        ]
    return rng.permutation(np.array(found))


def numbers(signs):
    """[windows] of the places: a bit for each row but the middle one, and above for each column."""
    size = signs.shape[1]
    half = size // 2
    rows, columns = (np.delete(x, half, 1) for x in (signs[:, :, half, 0], signs[:, half, :, 0]))
    inside = np.concatenate([rows, columns], axis=1) != 0
    return inside @ (1 << np.arange(inside.shape[1]))


def words(signs):
    """[windows, bits of x]: of each pixel whether it is there, and its signs."""
    there = signs[..., :1] != 0
    return np.concatenate([there, signs < 0], axis=-1).reshape(len(signs), -1).astype(np.uint8)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("block", [2, 3, 5, None])
def test_a_graph_gives_the_sums_at_the_border_and_inside(shape, block, monkeypatch):
    size, channels, _ = shape
    monkeypatch.setattr(counting, "_BLOCKS", (block,))
    weights, signs = (weights_of if block else integers_of)(*shape), windows(size, channels)
    graph = wiring.build(weights, Range(*(np.full(len(weights), n) for n in (-1, 1))), size)
    negative = (signs < 0).reshape(len(signs), -1)
    looked = graph.looked.tables[:, numbers(signs)].T
    given = graphs.evaluate(graph, np.concatenate([negative, looked], axis=1))
    assert_array_equal(given, signs.reshape(len(signs), -1) @ weights)
    most = np.abs(weights).sum(axis=0)
    for output, limit in zip(graph.outputs, most, strict=True):
        assert (output is None) == (limit == 0)
        assert output is None or graph.width(output.value) <= 1 + int(limit).bit_length()


def test_only_layers_that_never_hand_on_zero_are_counted():
    network = of_two_signs(random_network(3, "vgg", "binary", width=2, slope=1))
    assert certificate.two_valued(network) == {"conv1", "pool1", "conv2", "conv3"}
    counted = {x.name: wiring.of_layer(network, x.name).counted for x in network.weighted}
    assert counted == {"conv1": 0, "conv2": 5, "conv3": 1}
    assert not certificate.two_valued(of_signs(network))  # these are 0 as well


@pytest.fixture(scope="module")
def parsed():
    """Weights and the netlist of a layer of windows of 3x3."""
    if shutil.which("yosys") is None:
        pytest.skip("yosys is not installed")
    weights = weights_of(3, 2, 6, 1)
    graph = counting.build(weights, 3)
    text = hardwired.verilog(graph, "wired", 2, BITS)
    return weights, netlist.from_verilog(text, "wired"), graph


def prove(read, weights, size=3):
    ends = Range(*(np.full(len(weights), n) for n in (-1, 1)))
    return affine.prove(read, weights, ends, size)


def simulated(read, signs):
    """[windows, filters] of which the first ones are not there yet."""
    bits = netlist.simulate(read, words(signs)).reshape(len(signs), -1, BITS).astype(np.int64)
    value = (bits << np.arange(BITS)).sum(axis=-1)
    return value - (value >> (BITS - 1) << BITS)


def test_a_layer_is_proven_and_its_netlist_gives_the_sums(parsed):
    weights, read, graph = parsed
    proof = prove(read, weights)
    assert proof.latency == graphs.schedule(graph, 2).latency
    assert proof.adders == len(graph.adders)
    signs = windows(3, 2)
    expected = signs.reshape(len(signs), -1) @ weights
    assert_array_equal(simulated(read, signs)[proof.latency :], expected[: -proof.latency])


@needs("yosys")
@pytest.mark.parametrize(
    ("shape", "draw"),
    [((1, 13, 4), weights_of), ((5, 1, 3), weights_of), ((3, 2, 4), integers_of)],
)
def test_other_windows_and_weights_are_proven(shape, draw):
    weights = draw(*shape)
    text = hardwired.verilog(counting.build(weights, shape[0]), "wired", 1, BITS)
    read = netlist.from_verilog(text, "wired")
    prove(read, weights, shape[0])
    weights[4, 1] -= 1
    with pytest.raises(affine.NotProvenError, match="filter 1: the weight of tap 4 is"):
        prove(read, weights, shape[0])


def changed(rng, read, kind):
    """The netlist with a fault in what is counted or looked up."""
    cells = [i for i, cell in enumerate(read.cells) if cell.kind == kind]
    place = int(rng.choice(cells))
    cell = read.cells[place]
    if kind == netlist.OFFSET and rng.random() < 0.7:
        bits = (1 << len(cell.ports["place"])) * len(cell.outputs)
        table = cell.parameters["TABLE"] ^ (1 << int(rng.integers(bits)))
        wrong = cell._replace(parameters={**cell.parameters, "TABLE": table})
        return mutants.with_cell(read, place, wrong)
    port = "bits" if kind == netlist.COUNT else "place"
    bits, i = list(cell.ports[port]), int(rng.integers(len(cell.ports[port])))
    others = [*read.ports["x"], "0", "1"]
    bits[i] = others[int(rng.integers(len(others)))]
    wrong = cell._replace(ports={**cell.ports, port: tuple(bits)})
    return mutants.with_cell(read, place, wrong)


@pytest.mark.quick(0)
def test_faults_are_found(parsed):
    weights, read, _ = parsed
    signs = np.concatenate([windows(3, 2, seed) for seed in range(30)])
    latency = prove(read, weights).latency
    expected = (signs.reshape(len(signs), -1) @ weights)[:-latency]
    rng = np.random.default_rng(3)
    seen = collections.Counter()
    kinds = [netlist.COUNT, netlist.OFFSET, *mutants.KINDS] * 6
    for kind in kinds:
        if kind in mutants.KINDS:
            wrong = mutants.mutant(rng, read, kind)
        else:
            wrong = changed(rng, read, kind)
        if wrong is None:
            continue
        try:
            same = np.array_equal(simulated(wrong, signs)[latency:], expected)
        except ValueError:  # a loop
            same = False
        if not same:
            seen[kind] += 1
            with pytest.raises(affine.NotProvenError):
                prove(wrong, weights)
    assert {netlist.COUNT, netlist.OFFSET} <= set(seen)
    assert seen.total() >= 40


def test_a_wrong_constant_is_told_with_its_place(parsed):
    weights, read, _ = parsed
    place = next(i for i, cell in enumerate(read.cells) if cell.kind == netlist.OFFSET)
    cell = read.cells[place]
    table = cell.parameters["TABLE"] ^ 2
    wrong = cell._replace(parameters={**cell.parameters, "TABLE": table})
    with pytest.raises(affine.NotProvenError, match=r"the weight of place 0 is|and needs more"):
        prove(mutants.with_cell(read, place, wrong), weights)


@pytest.mark.quick(0)
@pytest.mark.whole(2)
@needs("iverilog")
@needs("yosys")
@pytest.mark.parametrize(
    ("kind", "weights", "wired", "out", "gaps"),
    [
        ("vgg", "binary", ["conv2", "conv3"], 1, 60),
        ("vgg", "integer", ["conv2", "conv3"], 1, 0),
        pytest.param(
            "resnet",
            "binary",
            ["block1_first", "block1_second", "block2_second"],
            2,
            0,
            marks=pytest.mark.slow,  # another network, which Icarus runs for seconds
        ),
    ],
)
def test_every_layer_is_equal_and_proven(kind, weights, wired, out, gaps, tmp_path):
    network = of_two_signs(random_network(3, kind, weights, width=2, slope=1))
    folds = machines.folds(network, 1) | {name: rtl.Fold(out=out) for name in wired}
    machine = rtl.machine_of(network, folds, wired)
    stages = [stage for stage in machine.stages if isinstance(stage, Wired)]
    assert all(stage.graph.looked for stage in stages)
    assert [stage.layer for stage in stages] == wired
    ends = rtl.Ends(gaps=gaps, stalls=gaps, seed=2) if gaps else None
    machines.assert_equal(network, machine, tmp_path, machines.images(network, 2), ends=ends)
    assert dict(certify.prove_layers(network, machine, tmp_path)).keys() == set(wired)
