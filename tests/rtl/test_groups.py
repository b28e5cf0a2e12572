"""Verilog of groups, padding, any pools and flat inputs: every integer is that of the checker."""

import numpy as np
import pytest

from flightnn_jax import rtl
from flightnn_jax.hardware import wires, workload
from flightnn_jax.hardware.styles import engine
from flightnn_jax.rtl import certify, folding, graph, orders, resources, wiring
from flightnn_jax.rtl.architecture import Convolve, WindowPool, Wired
from flightnn_jax.rtl.modules import GROUPS
from tests.rtl import machines
from tests.rtl.layers import needs
from tests.support.networks_at_random import (
    of_linear,
    random_network,
    random_windows,
    with_layer,
)

SLOW = pytest.mark.slow  # Icarus runs each for seconds


@pytest.mark.whole(3)
@needs("iverilog")
@pytest.mark.parametrize(
    ("seed", "whole"),
    [(1, False), *(pytest.param(i, i % 3 == 0, marks=SLOW) for i in range(2, 14))],
)
def test_every_layer_is_equal(seed, whole, tmp_path):
    network = of_linear(random_windows(seed)) if seed % 2 else random_windows(seed)
    machine = rtl.machine_of(network, machines.folds(network, None if whole else seed))
    assert any(isinstance(stage, WindowPool) for stage in machine.stages)
    machines.assert_equal(network, machine, tmp_path, machines.images(network, 2))


@needs("iverilog")
@pytest.mark.slow
def test_levels_are_looked_up_in_groups(tmp_path):
    network = random_windows(2, (3, 3, 4), weights="codebook")
    machine = rtl.machine_of(network)
    machines.assert_equal(network, machine, tmp_path, machines.images(network, 1))


@pytest.mark.exhaustive
@needs("iverilog")  # whose compiler takes a sixth of Verilator's time
@pytest.mark.slow
def test_a_residual_network_of_groups(tmp_path):
    network = random_network(3, "mobile", "shift2", width=2)
    machine = rtl.machine_of(network, machines.folds(network, 3))
    machines.assert_equal(network, machine, tmp_path, machines.images(network, 2))


@pytest.mark.whole(2)
@needs("iverilog")
@pytest.mark.parametrize("seed", [5, *(pytest.param(i, marks=SLOW) for i in (6, 7, 8))])
def test_every_layer_is_equal_whose_weights_are_wires(seed, tmp_path):
    network = random_windows(seed, own_padding=False)
    network = of_linear(network) if seed % 2 else network
    wired = ["conv2", "conv3"]
    machine = rtl.machine_of(network, machines.folds(network, seed), wired)
    assert sum(isinstance(stage, Wired) for stage in machine.stages) == 2
    machines.assert_equal(network, machine, tmp_path, machines.images(network, 2))


@needs("yosys")
@pytest.mark.slow
def test_wires_of_groups_are_proven_from_their_files(tmp_path):
    network = random_windows(5, own_padding=False)
    machine = rtl.machine_of(network, wired=["conv2", "conv3"])
    rtl.write(network, machine, tmp_path)
    assert {name for name, _ in certify.prove_layers(network, machine, tmp_path)} == {
        "conv2",
        "conv3",
    }


def test_machines_without_groups_have_none_of_their_modules():
    network = random_network(3, "vgg", "shift2", width=2)
    files = rtl.generate.files(network, rtl.machine_of(network))
    assert not [name for name in files if GROUPS in name]
    plain = random_windows(1)
    files = rtl.generate.files(plain, rtl.machine_of(plain))
    assert len([name for name in files if GROUPS in name]) == 3


def test_a_depthwise_layer_keeps_the_order_of_its_channels():
    network = random_windows(2)
    depthwise = next(x for x in network.weighted if x.name == "conv2")
    assert orders.has_own(depthwise)
    found = orders.orders(network, machines.folds(network))
    np.testing.assert_array_equal(found["conv1"], found["conv2"])
    np.testing.assert_array_equal(found["conv3"], np.arange(4))


@pytest.mark.parametrize(
    ("name", "fold", "message"),
    [
        ("conv3", rtl.Fold(lanes=2, inputs=2), r"inputs=2 must divide 3, the channels of a group"),
        ("conv3", rtl.Fold(lanes=3), r"lanes=3 must be from 1 to 2|lanes=3 must divide 2"),
        ("conv2", rtl.Fold(lanes=7), r"lanes=7 must be from 1 to 6"),
    ],
)
def test_a_pass_and_a_word_are_of_one_group(name, fold, message):
    with pytest.raises(rtl.FoldError, match=message):
        rtl.machine_of(random_windows(2), {name: fold})


def test_padding_of_its_own_is_no_matter_of_wires():
    network = random_windows(5, own_padding=False)
    size = next(x for x in network.weighted if x.name == "conv1").weights.shape[0]
    network = with_layer(network, "conv1", padding=(size // 2 + 1) % size)
    with pytest.raises(rtl.FoldError, match=r"conv1: no wires compute .* leave the layer"):
        rtl.machine_of(network, wired=["conv1"])


def test_folds_that_meet_a_target():
    network = random_windows(3)
    fastest = folding.fastest(network)
    for target in (fastest, 2 * fastest, 9 * fastest):
        folds = folding.cheapest(network, target)
        machine = rtl.machine_of(network, folds)
        assert folding.interval(machine) <= target
        for stage in machine.stages:
            if isinstance(stage, Convolve) and stage.groups > 1:
                assert stage.part * stage.groups in (stage.source.beats, stage.groups)


def test_costs_of_groups_are_those_of_the_machine():
    """What `estimate` says of an engine and of wires, beside the stages that are generated."""
    network = random_windows(3)  # of one term, for a depthwise layer is not sorted by k
    work = {layer.name: layer for layer in workload.from_integers(network).layers}
    for name, fewest in (("conv2", 1), ("conv3", 2)):
        lanes = engine.lanes(work[name], fewest)
        assert fewest in engine.foldings(work[name])
        machine = rtl.machine_of(network, {name: rtl.Fold(lanes)})
        stage = next(x for x in machine.stages if x.output.name == f"{name}_sums")
        assert engine.cycles(work[name], fewest) == max(
            folding.engine(stage), stage.source.pixels * len(stage.source.order)
        )
        made = engine.engine(work[name], lanes, in_dsp=False)
        assert resources.of_instance(made).ff == pytest.approx(resources.of(stage).ff, rel=0.1)
        built = wiring.built(wiring.of_layer(network, name))
        assert wires.adders(work[name]).cost.lut == graph.cost(built, wiring.EVERY).lut
    with pytest.raises(ValueError, match=r"folding=1 is outside 2 \(all filters of a group"):
        engine.lanes(work["conv3"], 1)
