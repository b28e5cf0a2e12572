"""What a machine is made of: codes of every filter, orders, folds, names, queues, times, files."""

import json

import numpy as np
import pytest

from flightnn_jax import integer, rtl
from flightnn_jax.rtl import constants, folding, generate, orders, queues, timing, verilog
from flightnn_jax.rtl.architecture import Convolve, Queue, Requantize
from flightnn_jax.rtl.plan import plan
from tests.rtl import machines
from tests.support.networks_at_random import random_chain, random_network


def sums_of(stage, kind):
    """[filters, taps, channels] what an engine multiplies with, of its codes, step by step."""
    filters, channels = stage.output.shape[2], stage.source.shape[2]
    words = stage.source.beats
    found = np.zeros((len(stage.passes) * stage.fold.lanes, stage.size**2 * words), object)
    found = np.zeros((*found.shape, stage.fold.inputs), np.int64)
    step, a_pass = 0, -1
    for turn, steps in enumerate(stage.turns):
        a_pass += bool(stage.first[turn])
        for place in range(steps):
            for lane in range(stage.fold.lanes):
                codes = stage.codes[step, lane].astype(np.int64)
                value = codes - 16 * (codes > 7)
                if kind != "integer":
                    value = (1 - 2 * (codes & 1)) << (codes >> 1)
                total = (value * stage.mask[turn, lane]).sum(axis=-1)
                found[a_pass * stage.fold.lanes + lane, place] += total
            step += 1
    assert step == len(stage.codes)
    found = found.reshape(len(found), stage.size**2, -1)
    assert not found[filters:].any()
    return found[:filters, :, :channels]


@pytest.mark.parametrize("weights", ["shift2", "shift3", "integer", "binary"])
@pytest.mark.parametrize("seed", [None, 0, 1])
def test_codes_are_the_weights(weights, seed):
    network = random_network(6, "resnet", weights, width=3)
    machine = rtl.machine_of(network, machines.folds(network, seed))
    engines = [stage for stage in machine.stages if isinstance(stage, Convolve)]
    for layer, stage in zip(network.weighted, engines, strict=True):
        given = layer.weights.integers()
        given = given.reshape(-1, *given.shape[-2:])[:, stage.source.order]
        found = sums_of(stage, layer.weights.kind)
        np.testing.assert_array_equal(found, given[:, :, stage.output.order].transpose(2, 0, 1))


def test_filters_with_many_terms_are_together():
    network = random_network(0, "vgg", "shift2", width=4)
    machine = rtl.machine_of(network, {"conv2": rtl.Fold(lanes=2)})
    k = network.layers[2].weights.k
    order = machine.layers["conv2"].order
    assert sorted(order) == list(range(8))
    assert np.all(np.diff(k[order].astype(int)) <= 0)
    np.testing.assert_array_equal(machine.logits.order, range(5))  # undone at the end
    np.testing.assert_array_equal(machine.layers["pool1"].order, machine.layers["conv1"].order)


def test_what_an_addition_ties_has_one_order():
    network = random_network(0, "resnet", "shift2", width=4)
    found = orders.orders(network, machines.folds(network, 3))
    np.testing.assert_array_equal(found["block1_second"], found["pool1"])
    np.testing.assert_array_equal(found["block2"], found["block2_first"])
    np.testing.assert_array_equal(found["image"], range(3))


def test_multipliers_in_fewest_signed_powers():
    values = np.array([0, 1, -1, 7, 12, -77, 1 << 31, -(1 << 31), 0x55555555])
    there, minus, shift = np.moveaxis(constants.signed_digits(values), 2, 0)
    np.testing.assert_array_equal((there * (1 - 2 * minus) << shift).sum(axis=0), values)
    np.testing.assert_array_equal(there.sum(axis=0), [0, 1, 1, 2, 2, 4, 1, 1, 16])


def test_no_multiplication_where_affine_maps_are_shifts():
    for terms in (1, 2):
        network = random_network(3, "resnet", "shift2", terms, width=2)
        stages = [s for s in rtl.machine_of(network).stages if isinstance(s, Requantize)]
        assert all(verilog.instance(stage).parameters["FACTOR"] != 1 for stage in stages)
    network = random_network(3, "resnet", "shift2", None, width=2)
    stages = [s for s in rtl.machine_of(network).stages if isinstance(s, Requantize)]
    assert any(verilog.instance(stage).parameters["FACTOR"] == 1 for stage in stages)


@pytest.mark.parametrize(
    ("folds", "message"),
    [
        ({"conv9": rtl.Fold()}, "fold of conv9: there is no such layer with weights; choose of"),
        ({"conv1": rtl.Fold(lanes=5)}, "fold of conv1: lanes=5 must be from 1 to 4"),
        ({"conv1": rtl.Fold(inputs=0)}, "fold of conv1: inputs=0 must be from 1 to 3"),
        ({"conv2": rtl.Fold(terms=3)}, "fold of conv2: terms=3 must be from 1 to 2"),
        ({"conv1": rtl.Fold(4, 1, 1, 3)}, "fold of conv1: out=3 must divide 4, the lanes"),
        ({"image": rtl.Fold(out=2)}, "fold of image: out=2 must divide 3, the channels"),
    ],
)
def test_folds_that_cannot_be(folds, message):
    with pytest.raises(rtl.FoldError, match=message):
        rtl.machine_of(random_network(0, "vgg", "shift2"), folds)


@pytest.mark.quick(0)
@pytest.mark.parametrize("seed", range(0, 16, 2))
def test_queues_are_as_deep_as_they_must_be(seed):
    """The model stops with one place less; that it is the Verilog's is tested by simulation."""
    network = random_chain(seed, (8, 6, 2), windows=(1, 3))
    if seed % 4 == 0:
        network = random_network(seed, "resnet", "shift2", width=2)
    machine = rtl.machine_of(network, machines.folds(network, seed), least=True)
    assert len(timing.predict(machine, 2).cycles) == 2
    for queue in (stage for stage in machine.stages if isinstance(stage, Queue)):
        if queue.depth > 1:
            shorter = machines.with_depth(machine, queue.name, queue.depth - 1)
            assert len(timing.predict(shorter, 2).cycles) < 2, queue.name


def test_queues_hold_nothing_up():
    network = random_chain(11, (8, 8, 2), windows=(3,))
    free, tight = (rtl.machine_of(network, {}, least=least) for least in (False, True))
    assert timing.predict(free).interval == folding.interval(free) == 576
    assert timing.predict(tight).interval == 916  # layers wait for each other
    depths = [[s.depth for s in m.stages if isinstance(s, Queue)] for m in (free, tight)]
    assert np.all(np.greater_equal(*depths))


def test_a_skip_past_two_convolutions_keeps_three_rows():
    """lead W C: a row, and one more for each row of padding on the way."""
    network = random_network(8, "resnet", "shift2", size=32, width=2)
    queue = next(s for s in plan(network).stages if isinstance(s, Queue) and "pool1_1" in s.name)
    depth = queues.depths(plan(network), least=True)[queue.name]
    assert depth == (1 + 1 + 1) * 8 * 2


def test_the_cheapest_fold_is_the_cheapest_of_all():
    network = random_network(1, "vgg", "shift2", width=3)
    layer = network.layers[2]
    pixels = 4
    for target in (40, 100, 333, 1000):
        found = folding.cheapest(network, 64 * 3 * 3 + target)["conv2"]
        units = [
            lanes * inputs * terms
            for lanes in range(1, 7)
            for inputs in range(1, 4)
            for terms in (1, 2)
            for order in (np.argsort(-layer.weights.k.astype(int), kind="stable"),)
            if pixels * orders.cycles(layer, rtl.Fold(lanes, inputs, terms, lanes), order)
            <= 64 * 3 * 3 + target
        ]
        assert found.lanes * found.inputs * found.terms == min(units)


def test_a_target_out_of_reach_is_told():
    network = random_network(1, "vgg", "shift2", width=3)
    best = folding.interval(rtl.machine_of(network, machines.folds(network)))
    with pytest.raises(folding.TargetError, match=f"takes {best}; ask for no fewer"):
        folding.cheapest(network, best - 1)
    folds = folding.cheapest(network, best)
    assert timing.predict(rtl.machine_of(network, folds)).interval == best


def test_the_files_of_a_machine(tmp_path):
    network = random_network(2, "vgg", "shift1", width=2)
    machine = rtl.machine_of(network)
    rtl.write(network, machine, tmp_path, {"digest": "abc"})
    about = json.loads((tmp_path / "info.json").read_text())
    assert about["digest"] == "abc"
    assert about["streams"]["conv1"] == {
        "shape": [8, 8, 2],
        "bits": 8,
        "values": 1,
        "order": machine.layers["conv1"].order.tolist(),
    }
    made = generate.files(network, machine)
    assert {"top.v", "Makefile", "modules/bench.cc", "modules/fl_conv.v"} < set(made)
    for name, data in made.items():
        assert (tmp_path / name).read_bytes() == data


def test_layers_may_be_called_like_words_of_verilog():
    layers = (
        integer.MaxPool("module", "image"),
        integer.MaxPool("reg", "module"),
        integer.Average("reg_sums", "reg", 1, -7),
        integer.Dense(
            "dense",
            "reg_sums",
            integer.IntegerWeights(np.array([[1, -1]], np.int8)),
            -8,
            np.zeros(2, np.int32),
            np.zeros((2, 10), np.int32),
        ),
    )
    network = integer.certified(
        integer.IntegerNetwork("odd", (4, 4, 1), layers, 3, None, -15, ("a", "b"), {}, None)
    )
    machine = rtl.machine_of(network)
    names = [out.name for stage in machine.stages for out in stage.outputs]
    assert len(set(names)) == len(names)
    text = verilog.top(machine)
    assert "wire valid_module, ready_module;" in text
    assert ") stage_reg (" in text
