"""Generated Verilog, simulated: every integer of every layer is that of the checker."""

import dataclasses

import numpy as np
import pytest

from flightnn_jax import rtl
from flightnn_jax.rtl import simulate
from flightnn_jax.rtl.architecture import Queue
from tests.rtl import machines
from tests.rtl.layers import needs
from tests.support.networks_at_random import random_network

pytestmark = needs("iverilog")


@pytest.mark.parametrize(
    ("kind", "weights", "terms", "extreme", "seed"),
    [
        ("vgg", "shift2", None, False, None),
        ("vgg", "integer", None, True, 1),
        ("resnet", "shift3", 2, False, 2),
        ("resnet", "shift1", None, True, None),
    ],
)
def test_every_layer_is_equal(kind, weights, terms, extreme, seed, tmp_path):
    network = random_network(3, kind, weights, terms, extreme, width=2)
    machine = rtl.machine_of(network, machines.folds(network, seed))
    given = machines.images(network, 2)
    machines.assert_equal(network, machine, tmp_path, given)


def test_stalls_at_both_ends_change_nothing(tmp_path):
    network = random_network(4, "resnet", "shift2", width=2)
    machine = rtl.machine_of(network, machines.folds(network))
    ends = rtl.Ends(gaps=100, stalls=200, seed=7)
    machines.assert_equal(network, machine, tmp_path, machines.images(network, 2), ends=ends)


def test_a_queue_that_is_too_short_stops_the_machine(tmp_path):
    network = random_network(4, "resnet", "shift2", width=2)
    machine = rtl.machine_of(network, machines.folds(network))
    queue = next(stage for stage in machine.stages if isinstance(stage, Queue))
    assert queue.depth == 4  # a map of 2x2, which the two convolutions need as a whole
    shorter = dataclasses.replace(queue, depth=queue.depth - 1)
    stages = tuple(shorter if stage is queue else stage for stage in machine.stages)
    machine = dataclasses.replace(machine, stages=stages)
    rtl.write(network, machine, tmp_path)
    with pytest.raises(rtl.StoppedError, match="0 of 5 logits"):
        simulate.run(
            tmp_path, machine, machines.images(network, 1), "icarus", rtl.Ends(patience=2000)
        )


def test_the_bench_of_the_files_compares_logits(tmp_path):
    network = random_network(5, "vgg", "shift1", width=2)
    rtl.write(network, rtl.machine_of(network, machines.folds(network)), tmp_path)
    assert (tmp_path / "logits.hex").read_text() == ""  # no golden images, no vectors
    assert np.fromfile(tmp_path / "images.bin", np.uint8).size == 0
